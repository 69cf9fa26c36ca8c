"""What we know of a disk's content: the digest list, its tree, the journal of a run, and the book that joins them.

Why it is crash-safe is argued in `docs/decisions/0020-digest-list.md`.
"""
