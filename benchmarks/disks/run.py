"""The disk engine against its peers.

    python benchmarks/disks/run.py [--folder FOLDER] [--rounds 5] [--only NAME,NAME] [--gib 8 --data-mib 2900]

Results go to `benchmarks/disks/results.json` (one entry per case, replaced when a case is run again);
`report.py` makes `docs/benchmarks/disks.md` from it. Scratch data: about four times the input's data.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import inputs  # noqa: E402
from harness import Contender, Outcome, against, against_fastest, compare, limits, run  # noqa: E402

from holdfast.disks.system import linux  # noqa: E402
from holdfast.disks.system.holes import hole_map  # noqa: E402

RESULTS = HERE / "results.json"
PYTHON = sys.executable
HOLDFAST = f"{Path(PYTHON).parent}/holdfast disk"
BARE = f"{PYTHON} {HERE}/peers/bareloop.py"
_DEVICE, _TAGGED = "direct reads and writes, no digests", "bare loop with tags, told what has changed"
CORIOLIS = f"{PYTHON} {HERE}/peers/coriolis_alike.py"


class Bench:
    """Inputs, scratch folders and the record of results."""

    def __init__(self, folder: Path, rounds: int, gib: float, data_mib: int) -> None:
        self.input, self.disk, self.rounds = folder / "in", folder / "work", rounds
        self.memory = Path(tempfile.mkdtemp(prefix="holdfast-bench-", dir="/dev/shm"))
        if not (self.input / "changed.json").exists():
            # In a process of its own: what we hold when a contender is forked counts as the contender's resident size.
            made = [sys.executable, inputs.__file__, str(self.input), "--gib", str(gib), "--data-mib", str(data_mib)]
            subprocess.run(made, check=True)
        self.disk.mkdir(parents=True, exist_ok=True)
        self.idle = Path(tempfile.mkdtemp(prefix="holdfast-idle-", dir="/dev/shm"))
        (self.idle / "empty.raw").write_bytes(bytes(4096))
        self.startup = f"{HOLDFAST} copy {self.idle}/empty.raw {self.idle}/copy.raw --overwrite --digests {self.idle}/L"
        self._compile(folder / "bytecode")
        self.v1, self.v2 = self.input / "v1.raw", self.input / "v2.raw"

    def large(self) -> Path:
        """A disk with 6 GiB of data, made when asked for; whoever asked deletes it."""
        folder = self.input / "large"
        made = [sys.executable, inputs.__file__, str(folder), "--gib", "16", "--data-mib", "6300", "--first-only"]
        subprocess.run(made, check=True)
        return folder / "v1.raw"

    def _compile(self, folder: Path) -> None:
        """Python programs run from bytecode, as installed ones do, also where this machine keeps none."""
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
        package = Path(linux.__file__).parents[2]
        subprocess.run(
            [PYTHON, "-m", "compileall", "-q", package / "disks", package / "cli", package / "core"], check=True
        )
        run(self.startup)

    def ours(self, name: str, command: str, before: Callable[[], None]) -> Contender:
        return Contender(name, command, before, self.startup)

    def close(self) -> None:
        shutil.rmtree(self.memory, ignore_errors=True)
        shutil.rmtree(self.idle, ignore_errors=True)
        shutil.rmtree(self.disk, ignore_errors=True)

    def warm(self, *paths: Path) -> None:
        """Into the cache, and waits until it is there; holes are not read."""
        buffer = bytearray(1 << 20)
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            for extent in hole_map(fd, 0, os.fstat(fd).st_size):
                at = extent.start
                while at < extent.end:
                    at += os.preadv(fd, [buffer], at)
            os.close(fd)

    def cold(self, *paths: Path) -> None:
        for path in paths:
            fd = os.open(path, os.O_RDONLY)
            os.fdatasync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    def clear(self, folder: Path, *warm: Path) -> Callable[[], None]:
        """Before a run: nothing in the folder, the inputs in the cache."""

        def before() -> None:
            for path in folder.iterdir():
                path.unlink()
            os.sync()
            self.warm(*warm)

        return before


def first_sync(b: Bench, folder: Path) -> dict[str, object]:
    t = folder / "t.raw"
    before = b.clear(folder, b.v1)
    found = compare(
        [
            b.ours("holdfast, digests", f"{HOLDFAST} copy {b.v1} {t} --digests {folder}/L", before),
            Contender("nbdcopy", f"nbdcopy {b.v1} {t} && sync {t}", before),
            Contender("qemu-img -m16 -W", f"qemu-img convert -f raw -O raw -m16 -W {b.v1} {t} && sync {t}", before),
            Contender("qemu-img", f"qemu-img convert -f raw -O raw {b.v1} {t} && sync {t}", before),
            Contender("cp --sparse=always", f"cp --sparse=always {b.v1} {t} && sync {t}", before),
        ],
        b.rounds,
    )
    peers = [name for name in found if not name.startswith("holdfast")]
    return {"outcomes": found, **against_fastest(found, "holdfast, digests", peers)}


def first_sync_ext4(b: Bench) -> dict[str, object]:
    """First sync raw → raw with digests, ext4, source cached; peers + sync FILE. Must: ≤ 1.0"""
    return first_sync(b, b.disk)


def first_sync_tmpfs(b: Bench) -> dict[str, object]:
    """First sync raw → raw with digests, tmpfs. Must: ≤ 1.15"""
    return first_sync(b, b.memory)


def first_sync_evicted(b: Bench) -> dict[str, object]:
    """First sync of 6 GiB in 1.5 GiB of memory, source evicted, ext4, + sync FILE. Must: ≤ 0.8, cache < 256 MiB"""
    group = Path("/sys/fs/cgroup/memory") / f"holdfast-bench-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(1536 << 20))
    except OSError as exc:
        return {"skipped": f"no memory cgroup can be made here: {exc}"}
    t, inside = b.disk / "t.raw", f"echo $BASHPID > {group}/cgroup.procs; "
    clear, source = b.clear(b.disk), b.large()

    def before() -> None:
        clear()
        b.cold(source)

    try:
        found = compare(
            [
                b.ours("holdfast, digests", f"{inside}{HOLDFAST} copy {source} {t} --digests {b.disk}/L", before),
                Contender("nbdcopy", f"{inside}nbdcopy {source} {t} && sync {t}", before),
                Contender(
                    "qemu-img -m16 -W",
                    f"{inside}qemu-img convert -O raw -m16 -W -f raw {source} {t} && sync {t}",
                    before,
                ),
                Contender("cp --sparse=always", f"{inside}cp --sparse=always {source} {t} && sync {t}", before),
                Contender(_DEVICE, f"{inside}{BARE} device {source} {t}", before),
            ],
            b.rounds,
        )
        before()
        run(f"{HOLDFAST} copy {source} {t} --digests {b.disk}/L")
        growth = _cached_mib(source) + _cached_mib(t)
    finally:
        os.sync()
        (group / "memory.force_empty").write_text("0")
        group.rmdir()
        source.unlink()
    peers = [name for name in found if not name.startswith("holdfast") and name != _DEVICE]
    ratios = against_fastest(found, "holdfast, digests", peers)
    return {
        "outcomes": found,
        **ratios,
        "direct I/O by the fastest peer": round(found[_DEVICE].ratio_to(found[str(ratios["against"])]), 2),
        "by direct I/O": round(found["holdfast, digests"].ratio_to(found[_DEVICE]), 2),
        "MiB of source and target left in the page cache": growth,
    }


def _cached_mib(path: Path) -> int:
    fd, size = os.open(path, os.O_RDONLY), path.stat().st_size
    try:
        return round((linux.cached_share(fd, 0, size) or 0) * size / (1 << 20))
    finally:
        os.close(fd)


@contextmanager
def exported(image: Path, format_: str, socket: Path, *more: str) -> Iterator[str]:
    child = subprocess.Popen(
        [
            "qemu-nbd",
            "--persistent",
            "--shared=16",
            f"--socket={socket}",
            "-f",
            format_,
            "--discard=unmap",
            *more,
            str(image),
        ]
    )
    while not socket.exists():
        if child.poll() is not None:
            raise RuntimeError("qemu-nbd ended")
    try:
        yield f"nbd+unix:///?socket={socket}"
    finally:
        child.terminate()
        child.wait()
        socket.unlink(missing_ok=True)


def into_export(b: Bench) -> dict[str, object]:
    """First sync into an NBD export (new qcow2 behind qemu-nbd, tmpfs). Must: ≤ 0.9"""
    image, socket = b.memory / "t.qcow2", b.memory / "s"
    serve = (
        f"rm -f {image} {socket}; qemu-img create -q -f qcow2 {image} {b.v1.stat().st_size}; "
        f"qemu-nbd --shared=16 --persistent --fork --pid-file={b.memory}/pid --socket={socket} "
        f"-f qcow2 --discard=unmap {image}"
    )

    def before() -> None:
        _stop(b.memory / "pid")
        subprocess.run(["bash", "-c", serve], check=True)
        b.warm(b.v1)

    url = f"nbd+unix:///?socket={socket}"
    found = compare(
        [
            b.ours(
                "holdfast, digests",
                f"rm -f {b.memory}/L; {HOLDFAST} copy {b.v1} '{url}' --digests {b.memory}/L",
                before,
            ),
            Contender("nbdcopy --flush", f"nbdcopy --flush --destination-is-zero {b.v1} '{url}'", before),
            Contender("qemu-img -n -m16 -W", f"qemu-img convert -n -m16 -W -f raw -O raw {b.v1} '{url}'", before),
        ],
        b.rounds,
    )
    _stop(b.memory / "pid")
    _empty(b.memory)
    return {
        "outcomes": found,
        **against_fastest(found, "holdfast, digests", ["nbdcopy --flush", "qemu-img -n -m16 -W"]),
    }


def _stop(pid_file: Path) -> None:
    if pid_file.exists():
        pid = int(pid_file.read_text())
        os.kill(pid, 15)
        while Path(f"/proc/{pid}").exists():
            pass
        pid_file.unlink(missing_ok=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def qcow2_to_qcow2(b: Bench) -> dict[str, object]:
    """qcow2 file → qcow2 file with digests, tmpfs. Must: ≤ 1.25"""
    source, t = b.disk / "s.qcow2", b.memory / "t.qcow2"
    run(f"qemu-img convert -f raw -O qcow2 -m16 -W {b.v1} {source}")
    before = b.clear(b.memory, source)
    found = compare(
        [
            b.ours("holdfast, digests", f"{HOLDFAST} copy {source} {t} --digests {b.memory}/L", before),
            Contender(
                "qemu-img -m16 -W", f"qemu-img convert -f qcow2 -O qcow2 -m16 -W {source} {t} && sync {t}", before
            ),
        ],
        b.rounds,
    )
    _empty(b.memory)
    source.unlink()
    return {"outcomes": found, **against_fastest(found, "holdfast, digests", ["qemu-img -m16 -W"])}


def nbd_to_nbd(b: Bench) -> dict[str, object]:
    """NBD on both sides (qcow2 behind qemu-nbd → new qcow2 behind qemu-nbd). Must: ≤ 0.9 × nbdcopy"""
    source, image, socket = b.disk / "s.qcow2", b.memory / "t.qcow2", b.memory / "s"
    run(f"qemu-img convert -f raw -O qcow2 -m16 -W {b.v1} {source}")
    serve = (
        f"rm -f {image} {socket}; qemu-img create -q -f qcow2 {image} {b.v1.stat().st_size}; "
        f"qemu-nbd --shared=16 --persistent --fork --pid-file={b.memory}/pid --socket={socket} "
        f"-f qcow2 --discard=unmap {image}"
    )

    def before() -> None:
        _stop(b.memory / "pid")
        subprocess.run(["bash", "-c", serve], check=True)
        b.warm(source)

    url = f"nbd+unix:///?socket={socket}"
    with exported(source, "qcow2", Path(tempfile.gettempdir()) / f"hfb{os.getpid()}", "--read-only") as from_url:
        found = compare(
            [
                b.ours(
                    "holdfast, digests",
                    f"rm -f {b.memory}/L; {HOLDFAST} copy '{from_url}' '{url}' --digests {b.memory}/L",
                    before,
                ),
                Contender("nbdcopy --flush", f"nbdcopy --flush --destination-is-zero '{from_url}' '{url}'", before),
            ],
            b.rounds,
        )
    _stop(b.memory / "pid")
    _empty(b.memory)
    source.unlink()
    return {"outcomes": found, **against_fastest(found, "holdfast, digests", ["nbdcopy --flush"])}


def _replica(b: Bench, folder: Path) -> None:
    _empty(folder)
    run(f"cp --sparse=always {b.v1} {folder}/base.raw")
    run(f"{HOLDFAST} digest {folder}/base.raw {folder}/baseL --chain v1")
    run(f"{BARE} table {folder}/base.raw {folder}/base.table")
    run(f"{CORIOLIS} list {folder}/base.raw {folder}/base.list")


def _reset(b: Bench, folder: Path, *names: tuple[str, str]) -> Callable[[], None]:
    """Before a run: the target holds version 1 again, by writing back only what differs."""

    def before() -> None:
        run(f"{BARE} tracked {folder}/base.raw {folder}/t.raw {b.input}/changed.json")
        for base, name in names:
            shutil.copyfile(folder / base, folder / name)
        b.warm(b.v2)

    return before


def incremental(b: Bench) -> dict[str, object]:
    """Incremental without change tracking, tmpfs; the list has hints. Must: ≤ 1.25 × bare loop, ≤ 1.8 × only reading;
    peers 9 ×, 15 ×"""
    f = b.memory
    _replica(b, f)
    run(f"cp --sparse=always {f}/base.raw {f}/t.raw")
    t, lists = f / "t.raw", (("baseL", "L"), ("baseL.hints", "L.hints"))
    found = compare(
        [
            b.ours("holdfast", f"{HOLDFAST} copy {b.v2} {t} --base {f}/L", _reset(b, f, *lists)),
            Contender("bare loop", f"{BARE} incremental {b.v2} {t} {f}/table", _reset(b, f, ("base.table", "table"))),
            Contender(_TAGGED, f"{BARE} tagged {b.v2} {t} {b.input}/changed.json", _reset(b, f)),
            Contender("only reading", f"{BARE} read {b.v2}", lambda: b.warm(b.v2)),
            Contender(
                "work-alike of Coriolis", f"{CORIOLIS} sync {b.v2} {t} {f}/list", _reset(b, f, ("base.list", "list"))
            ),
        ],
        b.rounds,
    )
    rsync = compare(
        [
            b.ours("holdfast", f"{HOLDFAST} copy {b.v2} {t} --base {f}/L", _reset(b, f, *lists)),
            Contender("rsync", f"rsync --inplace --no-whole-file -I {b.v2} {t}", _reset(b, f)),
        ],
        min(2, b.rounds),
    )
    found["rsync"] = rsync["rsync"]
    _empty(f)
    ours = found["holdfast"]
    return {
        "outcomes": found,
        **against(found, "holdfast", "bare loop"),
        "by reading": round(ours.ratio_to(found["only reading"]), 2),
        "bare loop with tags, by reading": round(found[_TAGGED].ratio_to(found["only reading"]), 2),
        "Coriolis by ours": round(1 / ours.ratio_to(found["work-alike of Coriolis"]), 1),
        "Coriolis by ours, CPU": round(1 / ours.cpu_ratio_to(found["work-alike of Coriolis"]), 1),
        "rsync by ours": round(1 / rsync["holdfast"].ratio_to(rsync["rsync"]), 1),
        "rsync by ours, CPU": round(1 / rsync["holdfast"].cpu_ratio_to(rsync["rsync"]), 1),
    }


def tracked(b: Bench) -> dict[str, object]:
    """Incremental with change tracking, ext4. Must: ≤ 1.25 × bare loop with fdatasync"""
    f = b.disk
    _empty(f)
    run(f"cp --sparse=always {b.v1} {f}/base.raw")
    run(f"{HOLDFAST} digest {f}/base.raw {f}/baseL --chain v1")
    run(f"cp --sparse=always {f}/base.raw {f}/t.raw")
    changed = b.input / "changed.json"
    found = compare(
        [
            b.ours(
                "holdfast",
                f"{HOLDFAST} copy {b.v2} {f}/t.raw --base {f}/L --changed {changed}",
                _reset(b, f, ("baseL", "L")),
            ),
            Contender("bare loop", f"{BARE} tracked {b.v2} {f}/t.raw {changed}", _reset(b, f)),
        ],
        b.rounds,
    )
    _empty(f)
    return {"outcomes": found, **against(found, "holdfast", "bare loop")}


def startup(b: Bench) -> dict[str, object]:
    """Start-up of the CLI: copy of an empty disk. Must: ≤ 0.3 s"""
    empty = b.disk / "empty.raw"
    empty.write_bytes(bytes(4096))
    found = compare([Contender("holdfast", f"{HOLDFAST} copy {empty} {b.disk}/e.raw --overwrite")], max(5, b.rounds))
    return {"outcomes": found, "start-up s": round(found["holdfast"].median_s, 2)}


def huge_disk(b: Bench) -> dict[str, object]:
    """1 TiB sparse with 1 GiB changed against 64 GiB with 1 GiB changed, change tracking. Must: ≤ 1.10; RSS < 200 MB"""
    f = b.disk
    _empty(f)
    sizes = {"64 GiB": 64 << 30, "1 TiB": 1 << 40}
    contenders = []
    for name, size in sizes.items():
        s, t, stem = f / f"s{size}.raw", f / f"t{size}.raw", f / f"L{size}"
        extents = []
        with open(s, "wb") as file:
            file.truncate(size)
            for n in range(1024):
                at = (size // 1024 * n) // 65536 * 65536
                file.seek(at)
                file.write(os.urandom(1 << 20))
                extents.append({"start": at, "end": at + (1 << 20)})
        with open(t, "wb") as file:
            file.truncate(size)
        run(f"{HOLDFAST} digest {t} {stem}.base --chain a")
        (f / f"c{size}.json").write_text(json.dumps({"since": "a", "now": "b", "extents": extents}))

        def before(stem: Path = stem, s: Path = s, t: Path = t, size: int = size) -> None:
            run(f"cp --sparse=always {stem}.base {stem}")
            with open(t, "wb") as file:
                file.truncate(size)
            os.sync()
            b.warm(s)

        contenders.append(Contender(name, f"{HOLDFAST} copy {s} {t} --base {stem} --changed {f}/c{size}.json", before))
    found = compare(contenders, b.rounds)
    rss = max(o.rss_mb for o in found.values())
    listed = (f / f"L{1 << 40}").stat().st_size
    _empty(f)
    return {
        "outcomes": found,
        **against(found, "1 TiB", "64 GiB"),
        "largest resident MB": round(rss),
        "list of 1 TiB, MB": round(listed / 1e6),
    }


def vhd_file(b: Bench) -> dict[str, object]:
    """Fixed VHD into a file against our raw copy, tmpfs. Must: ≤ 1.05"""
    before = b.clear(b.memory, b.v1)
    found = compare(
        [
            b.ours("fixed VHD", f"{HOLDFAST} convert {b.v1} {b.memory}/t.vhd --format vhd-fixed", before),
            Contender("raw copy", f"{HOLDFAST} convert {b.v1} {b.memory}/t.raw --format raw", before),
        ],
        b.rounds,
    )
    _empty(b.memory)
    return {"outcomes": found, **against_fastest(found, "fixed VHD", ["raw copy"])}


def vhd_pipe(b: Bench) -> dict[str, object]:
    """Fixed VHD into a pipe against cat of the raw file into it. Must: ≤ 1.05"""
    found = compare(
        [
            Contender(
                "fixed VHD", f"{HOLDFAST} convert {b.v1} - --format vhd-fixed | cat >/dev/null", lambda: b.warm(b.v1)
            ),
            Contender("cat", f"cat {b.v1} | cat >/dev/null", lambda: b.warm(b.v1)),
        ],
        b.rounds,
    )
    return {"outcomes": found, **against_fastest(found, "fixed VHD", ["cat"])}


def _packed(b: Bench, ours: str, ours_name: str, peer: str, peer_name: str, rounds: int) -> dict[str, object]:
    before = b.clear(b.memory, b.v1)
    sizes: dict[str, int] = {}
    found: dict[str, Outcome] = {}
    for _ in range(rounds):
        for name, command, out in ((ours_name, ours, b.memory / "o"), (peer_name, peer, b.memory / "p")):
            before()
            wall_s, cpu_s, rss_mb = run(command)
            outcome = found.setdefault(name, Outcome(name))
            outcome.wall_s.append(wall_s)
            outcome.cpu_s.append(cpu_s)
            outcome.rss_mb = max(outcome.rss_mb, rss_mb)
            made = next(b.memory.glob(out.name + ".*"))
            sizes[name] = made.stat().st_size
            if name == ours_name:
                run(f"qemu-img compare -f raw {b.v1} {made}")
                run(f"qemu-img check {made}")
    _empty(b.memory)
    return {
        "outcomes": found,
        "times faster": round(1 / found[ours_name].ratio_to(found[peer_name]), 1),
        "against": peer_name,
        "size ratio": round(sizes[ours_name] / sizes[peer_name], 3),
    }


def vmdk(b: Bench) -> dict[str, object]:
    """Stream-optimized VMDK, tmpfs; checked and compared by qemu-img. Must: ≥ 8 × at ≤ 1.05 of the size"""
    return _packed(
        b,
        f"{HOLDFAST} convert {b.v1} {b.memory}/o.vmdk --format vmdk-stream",
        "holdfast",
        f"qemu-img convert -f raw -O vmdk -o subformat=streamOptimized {b.v1} {b.memory}/p.vmdk",
        "qemu-img",
        max(1, b.rounds // 2),
    )


def qcow2_zlib(b: Bench) -> dict[str, object]:
    """Compressed qcow2, zlib, tmpfs. Must: ≥ 4 × at ≤ 1.08 of the size"""
    return _packed(
        b,
        f"{HOLDFAST} convert {b.v1} {b.memory}/o.qcow2 --compress zlib",
        "holdfast",
        f"qemu-img convert -c -m16 -W -f raw -O qcow2 {b.v1} {b.memory}/p.qcow2",
        "qemu-img -c -m16 -W",
        max(1, b.rounds // 2),
    )


def qcow2_zstd(b: Bench) -> dict[str, object]:
    """Compressed qcow2, zstd, tmpfs. Must: ≥ 2 × at ≤ 1.08 of the size"""
    return _packed(
        b,
        f"{HOLDFAST} convert {b.v1} {b.memory}/o.qcow2 --compress zstd",
        "holdfast",
        f"qemu-img convert -c -m16 -W -f raw -O qcow2 -o compression_type=zstd {b.v1} {b.memory}/p.qcow2",
        "qemu-img -c -m16 -W",
        b.rounds,
    )


def azure(b: Bench) -> dict[str, object]:
    """Down from and up to azurelab SAS against azure-storage-blob at its best concurrency. Must: ≥ 0.8"""
    import azure_peer

    return azure_peer.measure(b.disk, HOLDFAST, b.rounds)


_ORDER = (
    "startup first_sync_ext4 first_sync_tmpfs first_sync_evicted into_export qcow2_to_qcow2 nbd_to_nbd "
    "incremental tracked huge_disk vhd_file vhd_pipe vmdk qcow2_zlib qcow2_zstd azure"
)
CASES: dict[str, Callable[[Bench], dict[str, object]]] = {name: globals()[name] for name in _ORDER.split()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "holdfast-bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--gib", type=float, default=8)
    parser.add_argument("--data-mib", type=int, default=2900)
    told = parser.parse_args()
    bench = Bench(told.folder, told.rounds, told.gib, told.data_mib)
    try:
        for name in told.only.split(","):
            case = CASES[name]
            found = case(bench)
            outcomes = found.pop("outcomes", {})
            assert isinstance(outcomes, dict)
            results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}  # others may have added theirs
            results[name] = {
                "what": " ".join((case.__doc__ or "").split()),
                "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
                "machine": f"{limits()}, Linux {platform.release()}, Python {platform.python_version()}",
                "load": round(os.getloadavg()[0], 1),
                "rounds": max((len(o.wall_s) for o in outcomes.values()), default=0),
                "seconds": {o.name: round(o.median_s, 2) for o in outcomes.values()},
                "cpu_s": {o.name: round(statistics.median(o.cpu_s), 2) for o in outcomes.values()},
                "rss_mb": {o.name: round(o.rss_mb) for o in outcomes.values()},
                **found,
            }
            print(name, json.dumps(results[name], indent=1), flush=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        bench.close()


if __name__ == "__main__":
    main()
