"""The page-blob data plane: a disk or snapshot as Azure serves it behind a SAS URL.

`grants` says who may open what, `page_blob` is the blob (the disk's bytes and a VHD footer), `ranges` and `pagelist`
are the wire's words, `routes` the HTTP face. Spoken: Get Blob, Get Blob Properties, Get Page Ranges with and without a
previous snapshot, Put Page (update, clear) and Put Page From URL from a blob of the same lab. Everything else is
refused as Azure refuses it for managed disks: AuthorizationPermissionMismatch.
"""
