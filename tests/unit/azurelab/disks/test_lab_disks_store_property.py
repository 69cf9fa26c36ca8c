"""Any sequence of writes, clears, snapshots, clones, growth, deletions and crashes reads like plain byte arrays."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from azurelab.disks.changes import changed_extents
from azurelab.disks.pages import PAGE, SECTOR, Kind
from azurelab.disks.store import DiskStore

SIZE = 24 * PAGE + 3 * SECTOR  # a short last page

offsets = st.integers(0, SIZE // SECTOR - 1).map(lambda n: n * SECTOR)
lengths = st.one_of(st.integers(1, 12), st.sampled_from([8, 16, 64])).map(lambda n: n * SECTOR)


class Model:
    """Bytes, and per page whether it was ever written or cleared, and when last."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self.touched: dict[int, int] = {}

    def copy(self) -> Model:
        other = Model(0)
        other.bytes = bytearray(self.bytes)
        other.touched = dict(self.touched)
        return other


class Disks(RuleBasedStateMachine):
    folder: Path
    writable = Bundle("writable")
    frozen = Bundle("frozen")

    @initialize(target=writable, tmp=st.just(None))
    def start(self, tmp: None) -> str:
        import tempfile

        self.folder = Path(tempfile.mkdtemp(prefix="disks-", dir=os.environ.get("TMPDIR", "/tmp")))
        self.store = DiskStore(self.folder, deep=2)  # so that stacks are shortened while the sequence runs
        self.models: dict[str, Model] = {}
        self.family: dict[str, list[str]] = {}
        self.count = 0
        self.step = 0
        return self._create()

    def _name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def _create(self) -> str:
        name = self._name()
        self.store.create(name, SIZE)
        self.models[name] = Model(SIZE)
        self.family[name] = []
        return name

    def _clip(self, name: str, offset: int, size: int) -> int:
        return min(size, len(self.models[name].bytes) - offset)

    @rule(name=writable, offset=offsets, size=lengths, fill=st.integers(0, 255))
    def write(self, name: str, offset: int, size: int, fill: int) -> None:
        if name not in self.models:
            return
        size = self._clip(name, offset, size)
        data = bytes((fill + i) % 256 for i in range(size)) if fill else bytes(size)
        self.store.get(name).write(offset, data)
        self.models[name].bytes[offset : offset + size] = data
        self._touch(name, offset, size)

    @rule(name=writable, offset=offsets, size=lengths)
    def clear(self, name: str, offset: int, size: int) -> None:
        if name not in self.models:
            return
        size = self._clip(name, offset, size)
        self.store.get(name).clear(offset, size)
        self.models[name].bytes[offset : offset + size] = bytes(size)
        self._touch(name, offset, size)

    def _touch(self, name: str, offset: int, size: int) -> None:
        self.step += 1
        for page in range(offset // PAGE, -(-(offset + size) // PAGE)):
            self.models[name].touched[page] = self.step

    @rule(target=frozen, name=writable)
    def snapshot(self, name: str) -> Any:
        if name not in self.models:
            return "none"
        new = self._name()
        self.store.snapshot(name, new)
        self.models[new] = self.models[name].copy()
        self.family[name].append(new)
        self.family[new] = []
        return new

    @rule(target=writable, name=st.one_of(writable, frozen), more=st.integers(0, 3))
    def clone(self, name: str, more: int) -> Any:
        if name not in self.models:
            return "none"
        new = self._name()
        size = len(self.models[name].bytes) + more * PAGE
        self.store.clone(name, new, size)
        self.models[new] = self.models[name].copy()
        self.models[new].bytes.extend(bytes(more * PAGE))
        self.family[new] = []
        return new

    @rule(name=writable, more=st.integers(1, 9))
    def grow(self, name: str, more: int) -> None:
        if name not in self.models:
            return
        self.store.resize(name, len(self.models[name].bytes) + more * SECTOR)
        self.models[name].bytes.extend(bytes(more * SECTOR))

    @rule(name=st.one_of(consumes(frozen), writable))
    def delete(self, name: str) -> None:
        if name not in self.models or len(self.models) < 3:
            return
        self.store.delete(name)
        del self.models[name]
        for members in self.family.values():
            if name in members:
                members.remove(name)

    @rule(graceful=st.booleans())
    def reopen(self, graceful: bool) -> None:
        if graceful:
            self.store.close()
        else:  # as a kill would: no sync, no close, only the descriptor of the lock goes
            self.store.settle()
            os.close(self.store._lock_fd)
        self.store = DiskStore(self.folder, deep=2)

    @invariant()
    def every_volume_reads_like_its_model(self) -> None:
        for name, model in getattr(self, "models", {}).items():
            volume = self.store.get(name)
            assert volume.size_bytes == len(model.bytes)
            assert volume.read(0, volume.size_bytes) == model.bytes
            covered = bytearray(volume.size_bytes)
            for extent in volume.data_extents():
                covered[extent.start : extent.end] = volume.read(extent.start, extent.size_bytes)
            assert covered == model.bytes

    @invariant()
    def every_diff_replayed_on_the_old_gives_the_new_and_names_only_touched_pages(self) -> None:
        for name, members in getattr(self, "family", {}).items():
            chain = [*members, name] if name in self.models else members
            for old, new in itertools.pairwise(chain):
                self._compare(old, new)
            if len(chain) > 2:
                self._compare(chain[0], chain[-1])

    def _compare(self, old: str, new: str) -> None:
        was, now = self.models[old], self.models[new]
        volume = self.store.get(new)
        replayed = bytearray(was.bytes) + bytes(len(now.bytes) - len(was.bytes))
        for extent in changed_extents(volume, self.store.get(old)):
            piece = volume.read(extent.start, extent.size_bytes)
            if extent.kind is Kind.ZERO:
                assert not any(piece)
            replayed[extent.start : extent.end] = piece
            for page in range(extent.start // PAGE, -(-extent.end // PAGE)):
                assert now.touched.get(page) != was.touched.get(page), f"page {page} was not touched since {old}"
        assert replayed == now.bytes

    def teardown(self) -> None:
        if hasattr(self, "store"):
            import shutil

            self.store.close()
            shutil.rmtree(self.folder)


TestDisks = Disks.TestCase
TestDisks.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestDisks.pytestmark = [pytest.mark.filterwarnings("default::ResourceWarning")]
