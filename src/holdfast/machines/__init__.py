"""What all features do to machines: refuse what cannot be done, keep the ledger, claim, prove, retain, clean up.

The ledger lists every resource that an operation made, keeps or may delete; nothing is deleted that is not in it.
"""
