"""Disks: the bytes behind managed disks and snapshots, and the ways to reach them.

Here live the copy-on-write extent store (`store`), change lists (`changes`), the NBD server for guests (`nbd`), the
page-blob data plane for SAS URLs (`blob`) and the control routes (`control`). Nothing here knows ARM types, power
states or the network: `compute` decides who may attach, open or delete, and calls in.
"""
