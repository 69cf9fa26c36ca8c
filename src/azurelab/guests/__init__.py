"""Guests: what runs inside azurelab's machines.

Here live the two hypervisors (`none`: power states only; `qemu`: real guests) behind one protocol (`hypervisor`), the
guest image and its builder (`image`; the guest's own files in `land/`), and the metadata service. Nothing here knows
ARM: `compute` hands over a GuestSpec, disks come as NBD exports, public addresses as loopback addresses.
"""
