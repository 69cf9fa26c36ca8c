"""All of a home's disks in one object: the store, who may open what, and the two ways to the bytes (NBD, SAS)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from azurelab.disks.blob.grants import Grants
from azurelab.disks.blob.page_blob import UploadFooters
from azurelab.disks.blob.routes import DataPlane
from azurelab.disks.nbd.server import NbdServer, socket_path
from azurelab.disks.store import DiskStore
from azurelab.disks.vhd import check_footer
from azurelab.disks.volume import Volume

__all__ = ["IMAGE_PREFIX", "DiskService"]

# Volumes of marketplace images; never swept, as no ARM resource names them.
IMAGE_PREFIX = "image:"


class DiskService:
    """Open from construction; `start` makes the NBD socket answer. Volumes are named by their disk's uniqueId."""

    def __init__(self, home: Path, now: Callable[[], float]) -> None:
        self.store = DiskStore(home / "disks", now=now)
        self.grants = Grants(self.store.catalogue, now)
        self.footers = UploadFooters(self.store.catalogue)
        self.nbd = NbdServer(socket_path(home), self.store.find, self.store.ids)
        self.data_plane = DataPlane(self.store, self.grants, self.footers)

    def start(self) -> None:
        self.nbd.start()

    def close(self) -> None:
        self.nbd.close()
        self.store.close()

    def sweep(self, named: Collection[str]) -> list[str]:
        """Delete volumes that no resource names: left by a kill between two records. Call before anything runs."""
        orphans = [i for i in self.store.ids() if i not in named and not i.startswith(IMAGE_PREFIX)]
        for volume_id in orphans:
            self.store.delete(volume_id)
        return orphans

    # Every verb may be repeated: an effect runs again after a kill.

    def ensure_empty(self, volume_id: str, size_bytes: int) -> Volume:
        return self.store.find(volume_id) or self.store.create(volume_id, size_bytes)

    def ensure_clone(self, source_id: str, volume_id: str, size_bytes: int) -> Volume:
        return self.store.find(volume_id) or self.store.clone(source_id, volume_id, size_bytes)

    def ensure_snapshot(self, source_id: str, volume_id: str) -> Volume:
        return self.store.find(volume_id) or self.store.snapshot(source_id, volume_id)

    def ensure_size(self, volume_id: str, size_bytes: int) -> None:
        """Grow to this size; already as large is success."""
        if self.store.get(volume_id).size_bytes < size_bytes:
            self.store.resize(volume_id, size_bytes)

    def ensure_image(self, name: str, path: Path) -> Volume:
        """The volume of a raw image file, imported once per file content (`name` must change with it)."""
        volume_id = IMAGE_PREFIX + name
        return self.store.find(volume_id) or self.store.import_raw(volume_id, path)

    def delete(self, volume_id: str) -> None:
        self.grants.close(volume_id)
        self.nbd.drop(volume_id)
        self.store.delete(volume_id)

    def seal_upload(self, volume_id: str) -> None:
        """End an upload. A footer that was written must end a fixed VHD of this size, else `FooterInvalid`.

        A footer that was never written is made up: Azure documents no refusal, and its own recordings end uploads that
        never began.
        """
        volume = self.store.get(volume_id)
        with volume.lock:  # so that a write on its way either lands before the check or is refused
            footer = self.footers.get(volume_id)
            if footer is not None and any(footer):
                check_footer(footer, volume.size_bytes)
            self.grants.close(volume_id)
            self.footers.drop(volume_id)
