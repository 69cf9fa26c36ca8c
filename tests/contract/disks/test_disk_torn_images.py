"""Images that were cut, or that QEMU refuses, are refused; what QEMU writes is not; no lost byte becomes a zero."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.units import MIB
from holdfast.disks.converting import run_convert
from holdfast.disks.describing import describe
from holdfast.disks.errors import DiskUsage, HostileImage, NoSpaceLeft, ReadFailed, ToolMissing, WriteFailed
from holdfast.disks.formats.facts import ImageFacts
from holdfast.disks.formats.qcow2_header import Qcow2Header
from holdfast.disks.formats.qcow2_tables import HostClusters, check_data
from holdfast.disks.intake import server_folders
from holdfast.disks.intake.inspecting import inspect_file
from holdfast.disks.model.locator import Locator
from holdfast.disks.nbd import servers
from holdfast.disks.nbd.servers import ImageServer, create_image
from holdfast.disks.readers.qcow2file import open_plain_qcow2

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def disk(path: Path, size: int, tail: int = 200_000) -> Path:
    """Some data, a hole, and bytes that do not compress, up to the disk's end."""
    rng = random.Random(size)
    with open(path, "wb") as file:
        file.write(b"plain text " * 9000)
        file.truncate(size)
        file.seek(size - tail)
        file.write(rng.randbytes(tail - 100) + b"t" * 100)
    return path


def image(folder: Path, options: str, size: int = 4 * MIB) -> Path:
    """`options`: of qemu-img convert, the format first."""
    raw = disk(folder / "disk.raw", size)
    path = folder / f"image.{options.split()[0]}"
    run("qemu-img", "convert", "-f", "raw", "-O", *options.split(), raw, path)
    return path


def truncated(path: Path, count: int) -> Path:
    os.truncate(path, path.stat().st_size - count)
    return path


def kind_of(path: Path) -> str:
    return {"vpc": "vhd"}.get(path.suffix[1:], path.suffix[1:])


def converted(path: Path) -> bytes:
    out = path.parent / "converted.raw"
    run_convert(Locator(str(path), kind_of(path)), Locator(str(out)), "raw", overwrite=True)
    return out.read_bytes()


# -- what QEMU writes ------------------------------------------------------------------------------------------------

OF_QEMU = [
    "qcow2",
    "qcow2 -c",
    "qcow2 -c -o compression_type=zstd",
    "qcow2 -c -o cluster_size=512",
    "qcow2 -c -o cluster_size=2M",
    "qcow2 -c -W -m 8",
    "qcow2 -S 0",
    "qcow2 -o preallocation=metadata",
    "qcow2 -o preallocation=falloc",
    "qcow2 -o preallocation=full",
    "qcow2 -o cluster_size=512",
    "qcow2 -o cluster_size=4k",
    "qcow2 -o cluster_size=2M",
    "qcow2 -o extended_l2=on,cluster_size=128k",
    "qcow2 -c -o extended_l2=on,cluster_size=64k",
    "qcow2 -o lazy_refcounts=on",
    "qcow2 -o compat=0.10",
    "vmdk",
    "vmdk -o subformat=streamOptimized",
    "vdi",
    "vdi -o static=on",
    "vpc",
    "vpc -o force_size=on",
    "vhdx",
    "vhdx -o block_size=1M",
]


@pytest.mark.parametrize("options", OF_QEMU)
@pytest.mark.parametrize("size", [4 * MIB, 4 * MIB + 512, 4 * MIB - 1536])
def test_what_qemu_writes_is_not_refused(tmp_path: Path, options: str, size: int) -> None:
    path = image(tmp_path, options, size)

    facts = inspect_file(str(path))

    assert facts.suspicions == []
    assert facts.unchecked == []


@pytest.mark.parametrize("options", ["", "extended_l2=on,cluster_size=128k", "cluster_size=4k", "compat=0.10"])
def test_a_life_under_qemu_leads_to_no_refusal(tmp_path: Path, options: str) -> None:
    """Writes, discards, zeros, snapshots made and applied and deleted, sizes up and down, a last cluster in part."""
    path = tmp_path / "life.qcow2"
    run("qemu-img", "create", "-f", "qcow2", *(["-o", options] if options else []), path, "20971008")

    def does(*words: str | Path) -> None:
        run(*words)
        assert inspect_file(str(path)).suspicions == []

    for n in (1, 2, 3):
        does("qemu-io", "-c", f"write -P {n} {n * 3000320} 700416", "-c", f"discard {n * 2500096} 1000448", path)
        does("qemu-io", "-c", f"write -z {n * 1000448} 2000384", "-c", "write -z -u 20000256 500224", path)
        does("qemu-img", "snapshot", "-c", f"s{n}", path)
        does("qemu-io", "-c", "write -P 9 20970496 512", path)
    does("qemu-img", "snapshot", "-a", "s2", path)
    does("qemu-io", "-c", "write -P 7 1M 3M", path)
    for n in (1, 2, 3):
        does("qemu-img", "snapshot", "-d", f"s{n}", path)
    does("qemu-img", "resize", path, "300M")
    does("qemu-img", "resize", "--shrink", path, "7000064")
    does("qemu-img", "resize", path, "3G")
    does("qemu-io", "-c", "write -c -P 3 64M 128k", path)


@pytest.mark.parametrize("kind", ["zlib", "zstd"])
def test_compressed_data_are_whole_without_the_padding_of_their_last_sector(tmp_path: Path, kind: str) -> None:
    """As a backup job writes them. Without the last bytes of the data themselves they are torn."""
    raw, path = disk(tmp_path / "disk.raw", 4 * MIB, tail=30_000), tmp_path / "image.qcow2"
    options = ("-c", "-o", f"compression_type={kind}")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path)
    content = path.read_bytes()
    path.write_bytes(content.rstrip(b"\0"))
    assert path.stat().st_size % 512

    assert inspect_file(str(path)).suspicions == []
    assert converted(path) == raw.read_bytes()
    truncated(path, 12)
    assert [s.rule for s in inspect_file(str(path)).suspicions] == ["torn"]


# -- what was cut ----------------------------------------------------------------------------------------------------

# Not those with room behind their last data: padded sectors, a block that is larger than the disk.
CUT_FOR_SURE = [o for o in OF_QEMU if " -c" not in o and "streamOptimized" not in o and o != "vhdx"]


@pytest.mark.parametrize("options", CUT_FOR_SURE)
@pytest.mark.parametrize("count", [1, 70000])
def test_an_image_without_its_end_is_refused(tmp_path: Path, options: str, count: int) -> None:
    path = truncated(image(tmp_path, options), count)

    with pytest.raises(HostileImage) as caught:
        converted(path)

    assert caught.value.exit_code == 4
    assert caught.value.details["rule"] in ("torn", "qemu-refused")
    assert not (tmp_path / "converted.raw").exists()


@pytest.mark.parametrize("options", OF_QEMU)
@pytest.mark.parametrize("count", [1, 512, 65536, 100_000])
def test_no_cut_gives_other_bytes(tmp_path: Path, options: str, count: int) -> None:
    """Where a cut takes padding only, the disk is whole; else it is refused."""
    path = truncated(image(tmp_path, options, 4 * MIB + 512), count)

    try:
        told = converted(path)
    except HostileImage:
        return

    assert told[: 4 * MIB + 512] == (tmp_path / "disk.raw").read_bytes()


def test_a_cut_image_is_told_to_be_refused(tmp_path: Path) -> None:
    path = truncated(image(tmp_path, "qcow2"), 1)

    assert describe(Locator(str(path), "qcow2"))["refused"]


def test_an_image_that_is_cut_while_it_is_read_gives_an_error_and_no_zeros(tmp_path: Path) -> None:
    path = image(tmp_path, "qcow2")
    reader = open_plain_qcow2(str(path))
    assert reader is not None
    truncated(path, 1)
    last = max(extent.end for extent in reader.extents(0, reader.size_bytes))

    with pytest.raises(ReadFailed, match="ended early"):
        reader.read_into(4 * MIB - 65536, memoryview(bytearray(65536)))

    reader.close()
    assert last == 4 * MIB


def test_a_disk_of_no_bytes_goes_through_qcow2(tmp_path: Path) -> None:
    empty, ours, theirs = tmp_path / "empty.raw", tmp_path / "ours.qcow2", tmp_path / "theirs.qcow2"
    empty.touch()
    run_convert(Locator(str(empty)), Locator(str(ours)), "qcow2")
    run("qemu-img", "create", "-f", "qcow2", theirs, "0")

    assert converted(ours) == converted(theirs) == b""


# -- the walk --------------------------------------------------------------------------------------------------------

CLUSTER, TABLES, FILE_CLUSTERS = 512, 3, 60
PER_TABLE = CLUSTER // 8
COUNT = TABLES * PER_TABLE


class Tables:
    """Second-level tables at 1, 2, 3; the file has 60 clusters and a half."""

    size_bytes = FILE_CLUSTERS * CLUSTER + CLUSTER // 2

    def __init__(self, entries: list[int]) -> None:
        self._bytes = bytes(CLUSTER) + struct.pack(f">{COUNT}Q", *entries)

    def at(self, offset: int, size: int) -> bytes:
        return self._bytes[offset : offset + size]


entry = st.one_of(
    st.integers(4, FILE_CLUSTERS + 2).map(lambda n: n * CLUSTER | 1 << 63),
    st.integers(4, FILE_CLUSTERS + 2).map(lambda n: n * CLUSTER | 1 << 63 | 1),
    st.integers(0, FILE_CLUSTERS * CLUSTER).map(lambda at: at | 1 << 62),
)


@given(st.dictionaries(st.integers(0, COUNT - 1), entry, max_size=12), st.integers(1, COUNT * CLUSTER))
def test_the_walk_finds_what_a_plain_walk_finds(found: dict[int, int], size: int) -> None:
    entries = [found.get(n, 0) for n in range(COUNT)]
    header = Qcow2Header(3, 0, 0, 9, size, 0, TABLES, CLUSTER, 0, 0, 0, 0, 4, 104)
    used, facts = HostClusters(Tables.size_bytes, 9), ImageFacts("qcow2")

    whole = check_data(Tables(entries), header, [n * CLUSTER for n in range(1, 4)], used, facts)

    walked = {n: e for n, e in found.items() if n < -(-size // (PER_TABLE * CLUSTER)) * PER_TABLE}
    plain = {n: e & (1 << 62) - 1 for n, e in walked.items() if e >> 63 and not e & 1}
    packed_fits = all(
        (e & (1 << 61) - 1) // 512 * 512 + 512 <= Tables.size_bytes for e in walked.values() if not e >> 63
    )
    fits = all(
        at + max(0, min(CLUSTER, size - n * CLUSTER)) <= Tables.size_bytes or n * CLUSTER >= size
        for n, at in plain.items()
    )
    inside = [at for at in plain.values() if at < Tables.size_bytes]
    assert whole == (fits and packed_fits)
    if whole:
        assert used.used_twice() == len(inside) - len(set(inside))


def test_a_file_of_too_many_clusters_is_not_counted() -> None:
    used = HostClusters(1 << 40, 9)
    used.claim([5, 5])

    assert used.used_twice() is None


# -- what QEMU refuses -----------------------------------------------------------------------------------------------


def test_an_image_that_qemu_refuses_is_refused_in_its_words(tmp_path: Path) -> None:
    path = image(tmp_path, "vhdx")
    with open(path, "r+b") as file:
        file.seek(64 * 1024 + 100)
        file.write(b"damage")
        file.seek(128 * 1024 + 100)
        file.write(b"damage")

    with pytest.raises(HostileImage) as caught:
        converted(path)

    assert caught.value.exit_code == 4
    assert caught.value.details["rule"] == "qemu-refused"
    assert "VHDX header" in caught.value.message
    assert "json:" not in caught.value.message


def test_a_server_that_does_not_come_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "qemu-nbd"
    program.write_text("#!/bin/sh\necho crashed >&2\nkill -SEGV $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(servers, "tool", lambda *_: str(program))

    with pytest.raises(ReadFailed):
        ImageServer(str(image(tmp_path, "vdi")), "vdi", writable=False)


def test_an_image_that_cannot_be_made_is_a_failed_write(tmp_path: Path) -> None:
    with pytest.raises(WriteFailed, match=r"Writing .*absent/x.vdi") as caught:
        create_image(str(tmp_path / "absent" / "x.vdi"), "vdi", MIB)
    with pytest.raises(NoSpaceLeft):
        create_image("/dev/full", "vhdx", MIB)

    assert "No such file" in caught.value.message


@pytest.mark.parametrize("name", ["a:b.vdi", "json:{}.vdi", "-x.vdi"])
def test_no_name_of_a_target_is_an_option_or_a_protocol(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    create_image(name, "vdi", MIB)

    assert inspect_file(str(tmp_path / name)).format == "vdi"


# -- folders of servers ----------------------------------------------------------------------------------------------


def served(path: Path) -> ImageServer:
    return ImageServer(str(path), "vdi", writable=False)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(server_folders.tempfile, "tempdir", str(folder))
    return folder


def test_a_long_name_for_temporary_files_is_got_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("d" * 100)
    long.mkdir()
    monkeypatch.setattr(server_folders.tempfile, "tempdir", str(long))

    server = served(image(tmp_path, "vdi"))

    server.stop()
    assert len(server.socket_path) <= 107
    assert not Path(server.socket_path).parent.exists()


def test_without_any_short_folder_the_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_folders.tempfile, "tempdir", str(tmp_path / ("d" * 100)))
    monkeypatch.setattr(server_folders.os, "access", lambda *_: False)

    with pytest.raises(DiskUsage, match="TMPDIR"):
        server_folders.make_server_folder()


def test_a_missing_tool_leaves_no_folder(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image(tmp_path, "vdi")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolMissing):
        served(path)

    assert not list(temporary.iterdir())


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path: Path, temporary: Path) -> None:
    path = image(tmp_path, "vdi")
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[2]\n"
        "from holdfast.disks.nbd.servers import ImageServer\n"
        "s = ImageServer(sys.argv[1], 'vdi', writable=False); print(s.socket_path, flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(path), str(temporary)]
    killed, alive = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        assert killed.stdout is not None
        assert alive.stdout is not None
        left, kept = (Path(p.stdout.readline().strip()).parent for p in (killed, alive) if p.stdout)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.exists()

        server = served(path)

        assert not left.exists()
        assert kept.exists()
        server.stop()
    finally:
        for process in (killed, alive):
            process.kill()
            process.communicate()


def test_no_other_folder_is_touched(temporary: Path, tmp_path: Path) -> None:
    """Without an owner, of another boot or container, of a living process, by a link, or whose owner file is one."""
    me = server_folders._process(os.getpid())
    assert me is not None
    gone = me | {"pid": 2**22 - 1, "started": "1"}
    owners = {
        "bare": None,
        "words": "not json",
        "list": "[]",
        "boot": json.dumps(gone | {"boot": "x"}),
        "container": json.dumps(gone | {"namespace": "x"}),
        "alive": json.dumps(me),
        "odd": json.dumps(gone | {"pid": "1"}),
    }
    for name, told in owners.items():
        (temporary / f"holdfast-nbd-{name}").mkdir()
        if told is not None:
            (temporary / f"holdfast-nbd-{name}" / "owner").write_text(told)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "owner").write_text(json.dumps(gone))
    (temporary / "holdfast-nbd-link").symlink_to(outside)
    (temporary / "holdfast-nbd-file").mkdir()
    (temporary / "holdfast-nbd-file" / "owner").symlink_to(outside / "owner")
    (temporary / "else").mkdir()
    (temporary / "else" / "owner").write_text(json.dumps(gone))
    (temporary / "holdfast-nbd-stale").mkdir()
    (temporary / "holdfast-nbd-stale" / "owner").write_text(json.dumps(gone))

    made = Path(server_folders.make_server_folder())

    left = {path.name.removeprefix("holdfast-nbd-") for path in temporary.iterdir()} - {made.name[13:]}
    assert left == {*owners, "link", "file", "else"}
    assert (outside / "owner").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_a_folder_of_another_user_is_not_touched(temporary: Path) -> None:
    me = server_folders._process(os.getpid())
    assert me is not None
    folder = temporary / "holdfast-nbd-theirs"
    folder.mkdir()
    (folder / "owner").write_text(json.dumps(me | {"pid": 2**22 - 1, "started": "1"}))
    os.chown(folder, 65534, 65534)

    server_folders.make_server_folder()

    assert folder.exists()
