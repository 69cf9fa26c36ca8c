"""Makes the disks that the benchmarks copy: sparse, with a real OS tree, text and random data, and a second version.

    python benchmarks/disks/inputs.py FOLDER [--gib 8] [--data-mib 2900] [--first-only]

`v1.raw` is the first version; `v2.raw` has about 1 % of the data changed in realistic extents: many single 4 KiB
blocks, some runs of 64 to 512 KiB, some cleared ranges. `changed.json` lists them as a change tracker would.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from holdfast.disks.system.holes import hole_map

MIB = 1024 * 1024
_TREES = ("/usr/lib", "/usr/bin", "/usr/share", "/work/main/.venv")


def os_tree(limit: int) -> Iterator[bytes]:
    """Files of this system, each padded to 4 KiB as a file system would lay them out."""
    left = limit
    while True:
        for tree in _TREES:
            for folder, _, names in os.walk(tree):
                for name in sorted(names):
                    path = Path(folder) / name
                    if path.is_symlink() or not path.is_file():
                        continue
                    data = path.read_bytes()[: min(left, 64 * MIB)]
                    data += bytes(-len(data) % 4096)
                    yield data
                    left -= len(data)
                    if left <= 0:
                        return


def text(rng: random.Random, limit: int) -> Iterator[bytes]:
    """Log-like lines that compress about as logs do."""
    words = ["started", "stopped", "disk", "error", "node", "snapshot", "eviction", "GET", "POST", "200", "404"]
    made = 0
    while made < limit:
        lines = [
            f"2026-01-05T09:{rng.randrange(60):02d}:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z "
            f"{rng.choice(words)} {rng.choice(words)} id={rng.getrandbits(48):012x} took={rng.randrange(9999)}ms\n"
            for _ in range(4000)
        ]
        block = "".join(lines).encode() * 4
        made += len(block)
        yield block


def make_first(path: Path, size: int, data_mib: int, seed: int) -> None:
    """Regions of data with holes between them, over the whole disk."""
    rng = random.Random(seed)
    with open(path, "wb") as disk:
        disk.truncate(size)
        budget = {"tree": data_mib * 55 // 100, "text": data_mib * 20 // 100, "random": data_mib * 23 // 100}
        streams: dict[str, Iterator[bytes]] = {
            "tree": os_tree(budget["tree"] * MIB),
            "text": text(rng, budget["text"] * MIB),
            "random": iter(lambda: rng.randbytes(MIB), b""),
        }
        regions = 70
        at_each = size // regions
        for region in range(regions):
            kind = ("tree", "tree", "text", "random")[region % 4]
            share = {"tree": regions // 2, "text": regions // 4, "random": regions // 4}[kind]
            wanted = min(budget[kind] * MIB // share, at_each - 4096)
            disk.seek(region * at_each // 4096 * 4096)
            written = 0
            while written < wanted:
                block = next(streams[kind], None)
                if block is None:
                    break
                block = block[: wanted - written]
                disk.write(block)
                written += len(block)
        disk.seek(size // 2 // 4096 * 4096 + 40 * MIB)
        disk.write(bytes(data_mib * MIB * 2 // 100))  # written zeros, as preallocated disks have


def make_second(first: Path, second: Path, changed_path: Path, seed: int, changed_mib: float) -> None:
    """A copy of the first with changes inside its data."""
    subprocess.run(["cp", "--sparse=always", str(first), str(second)], check=True)
    rng = random.Random(seed)
    data = _data_extents(second)
    left = int(changed_mib * MIB)
    changed = []
    with open(second, "r+b") as disk:
        while left > 0:
            start, end = rng.choice(data)
            size = rng.choice([4096] * 30 + [8192] * 10 + [65536, 262144, 524288])
            at = start + rng.randrange(max(1, (end - start - size) // 4096 or 1)) * 4096
            size = min(size, end - at)
            if size <= 0:
                continue
            zero = rng.random() < 0.05
            disk.seek(at)
            disk.write(bytes(size) if zero else rng.randbytes(size))
            changed.append({"start": at, "end": at + size, "zero": False})
            left -= size
    changed.sort(key=lambda e: (int(e["start"]), int(e["end"])))
    changed_path.write_text(json.dumps({"since": "v1", "now": "v2", "extents": changed}))


def _data_extents(path: Path) -> list[tuple[int, int]]:
    fd = os.open(path, os.O_RDONLY)
    try:
        return [(e.start, e.end) for e in hole_map(fd, 0, os.fstat(fd).st_size)]
    finally:
        os.close(fd)


def make(folder: Path, gib: float = 8, data_mib: int = 2900, seed: int = 1, *, first_only: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    make_first(folder / "v1.raw", int(gib * 1024) * MIB, data_mib, seed)
    if first_only:
        return
    make_second(folder / "v1.raw", folder / "v2.raw", folder / "changed.json", seed + 1, data_mib / 100 * 2.6)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=8)
    parser.add_argument("--data-mib", type=int, default=2900)
    parser.add_argument("--first-only", action="store_true", help="no second version")
    told = parser.parse_args()
    make(told.folder, told.gib, told.data_mib, first_only=told.first_only)
