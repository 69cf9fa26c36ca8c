"""What can go wrong in the extent store. The faces translate: NBD to errno, the data plane to Azure's codes."""

from __future__ import annotations

__all__ = ["DiskStoreError", "OutOfRange", "ReadOnly", "StoreLocked", "VolumeExists", "VolumeNotFound"]


class DiskStoreError(Exception):
    """Base of all errors of the extent store."""


class VolumeNotFound(DiskStoreError):
    """No volume has this id."""


class VolumeExists(DiskStoreError):
    """The id is taken."""


class ReadOnly(DiskStoreError):
    """A snapshot or a published image cannot be written."""


class OutOfRange(DiskStoreError):
    """Offset or length is negative, not a multiple of 512, or beyond the end of the volume."""


class StoreLocked(DiskStoreError):
    """Another process has this store open."""
