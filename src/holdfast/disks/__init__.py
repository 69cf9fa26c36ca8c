"""Everything that reads or writes disk bytes: copy, diff, verify and convert virtual disks.

Start with `model/extents.py` (the words), then `copying.py` (the story). The rooms:

model/    pure values: extents, chunks and digests, locators, the report of a run
readers/  where bytes come from: a file each         writers/  where bytes go: a file each
formats/  VHD, VMDK, qcow2, OVA layouts, as bytes    intake/   images from outside: inspect, refuse, read in a cage
digests/  the digest list, its tree, its journal     nbd/ http/ the two wire clients
system/   what Linux offers below Python (holes, page cache, locks, child processes)

Nothing here knows a cloud: an Azure disk is a page-blob URL, a hypervisor's disk an NBD export.
"""
