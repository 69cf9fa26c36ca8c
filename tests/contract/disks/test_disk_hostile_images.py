"""Images made to harm are refused with a rule, never opened by QEMU, and give no byte of another file."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.core.units import MIB
from holdfast.disks.converting import run_convert
from holdfast.disks.errors import FormatMismatch, HostileImage, ReadFailed, WireBroken
from holdfast.disks.formats import vmdk_stream
from holdfast.disks.formats.vhd import fixed_footer
from holdfast.disks.intake.inspecting import inspect_file, require_safe
from holdfast.disks.jobs import CopyJob, run_copy
from holdfast.disks.model.locator import Locator
from holdfast.disks.nbd import servers
from holdfast.disks.nbd.servers import ImageServer
from holdfast.disks.readers.nbd import NbdReader

pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")

SECRET = b"SECRET-of-another-file-" * 4000
SIZE = 4 * MIB


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def qcow2(folder: Path, name: str = "i.qcow2") -> Path:
    path = folder / name
    raw = folder / "plain.raw"
    raw.write_bytes(b"plain data " * 10000)
    with open(raw, "r+b") as file:
        file.truncate(SIZE)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))
    return path


def poke(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def secret(folder: Path) -> Path:
    path = folder / "secret.raw"
    path.write_bytes(SECRET)
    return path


def backed(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = qcow2(folder)
        named = name.format(secret=secret(folder)).encode()
        poke(path, 8, struct.pack(">QI", 4096, len(named)))
        poke(path, 4096, named)
        return path

    return make


def with_data_file(folder: Path) -> Path:
    path = folder / "d.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={folder / 'out.raw'},data_file_raw=on", str(path), "1M")
    (folder / "out.raw").write_bytes(SECRET)
    return path


def data_file_name_only(folder: Path) -> Path:
    path = qcow2(folder)
    name = str(secret(folder)).encode()
    header = path.read_bytes()[:112]
    at = struct.unpack(">I", header[100:104])[0]
    poke(path, at, struct.pack(">II", 0x44415441, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0") + bytes(8))
    return path


def huge_l1(folder: Path) -> Path:
    path = qcow2(folder)
    poke(path, 36, struct.pack(">I", 0x40000000))
    return path


def short_l1(folder: Path) -> Path:
    path = qcow2(folder)
    poke(path, 24, struct.pack(">Q", 1 << 45))
    return path


def cyclic_tables(folder: Path) -> Path:
    path = folder / "c.qcow2"
    raw = folder / "c.raw"
    with open(raw, "wb") as file:
        file.truncate(1200 * MIB)
        file.write(b"x" * 65536)
        file.seek(600 * MIB)
        file.write(b"y" * 65536)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))
    l1 = struct.unpack(">Q", path.read_bytes()[40:48])[0]
    entry = path.read_bytes()[l1 : l1 + 8]
    poke(path, l1 + 8, entry)
    return path


def table_that_is_its_own_child(folder: Path) -> Path:
    path = qcow2(folder)
    l1 = struct.unpack(">Q", path.read_bytes()[40:48])[0]
    poke(path, l1, struct.pack(">Q", 1 << 63 | l1))
    return path


def pointer_out_of_file(folder: Path) -> Path:
    path = qcow2(folder)
    l1 = struct.unpack(">Q", path.read_bytes()[40:48])[0]
    poke(path, l1, struct.pack(">Q", 1 << 63 | 1 << 40))
    return path


def poked_qcow2(offset: int, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = qcow2(folder)
        poke(path, offset, data)
        return path

    return make


def truncated(folder: Path) -> Path:
    path = qcow2(folder)
    with open(path, "r+b") as file:
        file.truncate(70000)
    return path


def l2_offset(path: Path) -> int:
    """Of the first table of the second level."""
    data = path.read_bytes()
    l1 = int(struct.unpack(">Q", data[40:48])[0])
    return int(struct.unpack(">Q", data[l1 : l1 + 8])[0]) & (1 << 63) - 1


def poked_entry(make_entry: Callable[[Path, int], int], index: int = 1) -> Callable[[Path], Path]:
    """An entry of the second level that is another: made from the image and the first entry."""

    def make(folder: Path) -> Path:
        path = qcow2(folder)
        l2 = l2_offset(path)
        first = struct.unpack(">Q", path.read_bytes()[l2 : l2 + 8])[0]
        poke(path, l2 + 8 * index, struct.pack(">Q", make_entry(path, first)))
        return path

    return make


def entry_on(field: int) -> Callable[[Path, int], int]:
    """A data cluster on what the header names at `field`."""
    return lambda path, _: 1 << 63 | struct.unpack(">Q", path.read_bytes()[field : field + 8])[0]


def entry_on_refcounts(path: Path, _: int) -> int:
    data = path.read_bytes()
    table = struct.unpack(">Q", data[48:56])[0]
    return 1 << 63 | int(struct.unpack(">Q", data[table : table + 8])[0])


def packed_over_the_end(path: Path, _: int) -> int:
    """Compressed data of four sectors, of which the file has one."""
    return 1 << 62 | 3 << 54 | path.stat().st_size - 100


def refcounts_out_of_file(folder: Path) -> Path:
    path = qcow2(folder)
    poke(path, struct.unpack(">Q", path.read_bytes()[48:56])[0], struct.pack(">Q", 1 << 45))
    return path


def zeros_in_version_2(folder: Path) -> Path:
    path = poked_entry(lambda _, first: 1)(folder)
    poke(path, 4, struct.pack(">I", 2))
    return path


def vmdk_descriptor(kind: str, extent: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "v.vmdk"
        path.write_text(
            "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
            f'createType="{kind}"\n{extent.format(secret=secret(folder))}\n'
        )
        return path

    return make


def embedded_flat_descriptor(folder: Path) -> Path:
    path = folder / "v.vmdk"
    head = bytearray(vmdk_stream.head(SIZE, "v.vmdk", 1))
    text = f'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 100 FLAT "{secret(folder)}" 0\n'.encode()
    head[512 : 512 + 20 * 512] = text.ljust(20 * 512, b"\0")
    tables = vmdk_stream.StreamTables(SIZE)
    path.write_bytes(bytes(head) + tables.tail(len(head) // 512))
    return path


def vmdk_of_no_capacity(folder: Path) -> Path:
    path = embedded_flat_descriptor(folder)
    poke(path, 12, struct.pack("<Q", 0))
    return path


def vmdk_with_parent(folder: Path) -> Path:
    path = folder / "v.vmdk"
    head = vmdk_stream.head(SIZE, "v.vmdk", 1).replace(b"parentCID=ffffffff", b"parentCID=11111111")
    path.write_bytes(head + vmdk_stream.StreamTables(SIZE).tail(len(head) // 512))
    return path


def vmdk_without_footer(folder: Path) -> Path:
    path = folder / "v.vmdk"
    path.write_bytes(vmdk_stream.head(SIZE, "v.vmdk", 1))
    return path


def differencing_vhd(folder: Path) -> Path:
    path = folder / "d.vhd"
    footer = bytearray(fixed_footer(SIZE))
    footer[60:64] = struct.pack(">I", 4)
    footer[64:68] = bytes(4)
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    path.write_bytes(bytes(SIZE) + bytes(footer))
    return path


def vhd_that_lies(folder: Path) -> Path:
    path = folder / "l.vhd"
    path.write_bytes(bytes(MIB) + fixed_footer(64 * MIB))
    return path


def vhd_with_a_wrong_checksum(folder: Path) -> Path:
    path = folder / "w.vhd"
    footer = bytearray(fixed_footer(SIZE))
    footer[100] ^= 1
    path.write_bytes(bytes(SIZE) + bytes(footer))
    return path


def dynamic_vhd(change: Callable[[bytearray], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path, raw = folder / "y.vhd", folder / "y.raw"
        raw.write_bytes(b"x" * (8 * MIB))
        qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on", str(raw), str(path))
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(bytes(data))
        return path

    return make


def shared_vhd_block(data: bytearray) -> None:
    bat = struct.unpack(">Q", data[512 + 16 : 512 + 24])[0]
    data[bat + 4 : bat + 8] = data[bat : bat + 4]


def vhd_bomb(data: bytearray) -> None:
    head = data[512:1536]
    head[28:32] = struct.pack(">I", 0x7FFFFFFF)
    head[36:40] = bytes(4)
    head[36:40] = struct.pack(">I", ~sum(head) & 0xFFFFFFFF)
    data[512:1536] = head


def vhdx_with_parent(folder: Path) -> Path:
    path = folder / "p.vhdx"
    qemu_img("create", "-f", "vhdx", str(path), "16M")
    data = bytearray(path.read_bytes())
    at = data.index(b"metadata")
    guid = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
    entry = data.index(guid, at)
    offset = struct.unpack("<I", data[entry + 16 : entry + 20])[0]
    data[at + offset + 4] |= 2
    path.write_bytes(bytes(data))
    return path


def vdi_with_parent(folder: Path) -> Path:
    path = folder / "p.vdi"
    qemu_img("create", "-f", "vdi", str(path), "16M")
    poke(path, 440, b"\x01" * 16)
    return path


def vdi_bomb(folder: Path) -> Path:
    path = folder / "b.vdi"
    qemu_img("create", "-f", "vdi", str(path), "16M")
    poke(path, 384, struct.pack("<I", 0xFFFFFFFF))
    return path


def poked_vdi_block(folder: Path) -> Path:
    path, raw = folder / "o.vdi", folder / "o.raw"
    raw.write_bytes(b"x" * (4 * MIB))
    qemu_img("convert", "-f", "raw", "-O", "vdi", str(raw), str(path))
    at = struct.unpack("<I", path.read_bytes()[340:344])[0]
    poke(path, at + 4, struct.pack("<I", 4))
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "backing file to a host path": (backed("{secret}"), "backing-file"),
    "backing file to the password file": (backed("/etc/passwd"), "backing-file"),
    "json backing name": (backed('json:{{"driver":"raw","file.filename":"{secret}"}}'), "backing-file"),
    "nbd backing name": (backed("nbd://127.0.0.1:1/x"), "backing-file"),
    "itself as backing file": (backed("i.qcow2"), "backing-file"),
    "external data file": (with_data_file, "data-file"),
    "data file named in an extension": (data_file_name_only, "data-file"),
    "first table of a billion entries": (huge_l1, "sizes"),
    "first table too short for the disk": (short_l1, "torn"),
    "one second-level table used twice": (cyclic_tables, "cycle"),
    "a table that is its own child": (table_that_is_its_own_child, "cycle"),
    "a pointer out of the file": (pointer_out_of_file, "torn"),
    "clusters of 2^31 bytes": (poked_qcow2(20, struct.pack(">I", 31)), "sizes"),
    "unknown features": (poked_qcow2(72, struct.pack(">Q", 1 << 40)), "version"),
    "marked corrupt": (poked_qcow2(72, struct.pack(">Q", 2)), "torn"),
    "version 9": (poked_qcow2(4, struct.pack(">I", 9)), "version"),
    "a disk of 8 EiB": (poked_qcow2(24, struct.pack(">Q", 1 << 63)), "torn"),
    "refcounts inside the header": (poked_qcow2(48, struct.pack(">Q", 0)), "torn"),
    "cut in half": (truncated, "torn"),
    "data at 2^45": (poked_entry(lambda _, first: 1 << 63 | 1 << 45), "torn"),
    "data behind the end": (poked_entry(lambda path, _: 1 << 63 | path.stat().st_size), "torn"),
    "data between clusters": (poked_entry(lambda _, first: first + 512), "torn"),
    "compressed data at 2^45": (poked_entry(lambda *_: 1 << 62 | 1 << 45), "torn"),
    "compressed data that end outside": (poked_entry(packed_over_the_end), "torn"),
    "two parts of the disk in one place": (poked_entry(lambda _, first: first), "cycle"),
    "two parts far apart in one place": (poked_entry(lambda _, first: first, 63), "cycle"),
    "data on the first table": (poked_entry(entry_on(40), 20), "cycle"),
    "data on the refcount table": (poked_entry(entry_on(48), 20), "cycle"),
    "data on a block of refcounts": (poked_entry(entry_on_refcounts, 20), "cycle"),
    "data on their own table": (poked_entry(lambda path, _: 1 << 63 | l2_offset(path), 20), "cycle"),
    "a block of refcounts at 2^45": (refcounts_out_of_file, "torn"),
    "zeros that version 2 does not know": (zeros_in_version_2, "torn"),
    "encrypted": (poked_qcow2(32, struct.pack(">I", 2)), "encryption"),
    "flat descriptor": (vmdk_descriptor("monolithicFlat", 'RW 100 FLAT "{secret}" 0'), "vmdk-descriptor"),
    "device descriptor": (vmdk_descriptor("fullDevice", 'RW 100 FLAT "/dev/vda" 0'), "vmdk-descriptor"),
    "flat descriptor inside a sparse file": (embedded_flat_descriptor, "vmdk-descriptor"),
    "sparse file of no capacity": (vmdk_of_no_capacity, "vmdk-descriptor"),
    "vmdk with a parent": (vmdk_with_parent, "backing-file"),
    "stream without its footer": (vmdk_without_footer, "torn"),
    "differencing vhd": (differencing_vhd, "backing-file"),
    "fixed vhd that lies about its size": (vhd_that_lies, "sizes"),
    "vhd with a wrong checksum": (vhd_with_a_wrong_checksum, "torn"),
    "two vhd blocks in one place": (dynamic_vhd(shared_vhd_block), "cycle"),
    "vhd of two billion blocks": (dynamic_vhd(vhd_bomb), "sizes"),
    "vhdx with a parent": (vhdx_with_parent, "backing-file"),
    "vdi with a parent": (vdi_with_parent, "backing-file"),
    "vdi block behind the end": (poked_vdi_block, "torn"),
    "vdi of four billion blocks": (vdi_bomb, "sizes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_image_is_refused_by_rule_before_anything_opens_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, rule = HOSTILE[name]
    image = make(tmp_path)
    monkeypatch.setattr(servers, "ImageServer", _must_not_start)

    for action in (
        lambda: run_copy(CopyJob(Locator(str(image)), Locator(str(tmp_path / "out.img")))),
        lambda: run_convert(Locator(str(image)), Locator(str(tmp_path / "out.img")), "raw"),
    ):
        with pytest.raises(HostileImage) as caught:
            action()

        assert rule in {s["rule"] for s in caught.value.details["suspicions"]}
        assert caught.value.exit_code == 4
    assert not list(tmp_path.glob("out.img*"))


def _must_not_start(*_: object, **__: object) -> None:
    raise AssertionError("QEMU was asked to open a hostile image")


def test_hostile_zoo_is_large_enough() -> None:
    assert len(HOSTILE) >= 20


@pytest.mark.parametrize(
    ("suffix", "found"), [("qcow2", "raw"), ("vmdk", "qcow2"), ("vhd", "raw"), ("vhdx", "qcow2"), ("vdi", "raw")]
)
def test_declared_format_must_be_what_the_bytes_say(tmp_path: Path, suffix: str, found: str) -> None:
    path = tmp_path / f"x.{suffix}"
    if found == "qcow2":
        shutil.move(qcow2(tmp_path), path)
    else:
        path.write_bytes(b"\0" * MIB)

    with pytest.raises(FormatMismatch) as caught:
        require_safe(str(path), suffix)

    assert caught.value.exit_code == 4
    assert found in caught.value.message


def test_declared_raw_stays_raw_whatever_its_bytes_say(tmp_path: Path) -> None:
    hostile = backed("{secret}")(tmp_path)
    image = tmp_path / "guest-wrote-this.img"
    shutil.copy(hostile, image)

    run_copy(CopyJob(Locator(str(image)), Locator(str(tmp_path / "out.raw"))))

    assert (tmp_path / "out.raw").read_bytes() == image.read_bytes()


@pytest.mark.parametrize("name", ["backing file to a host path", "json backing name"])
def test_cage_alone_keeps_other_files_out(tmp_path: Path, name: str) -> None:
    """The second line: even an image that inspection would refuse gives QEMU nothing but itself."""
    image = HOSTILE[name][0](tmp_path)
    server = ImageServer(str(image), "qcow2", writable=False)
    reader = NbdReader(server.url, "caged", on_close=server.stop)
    buffer = memoryview(bytearray(reader.size_bytes))

    reader.read_into(0, buffer)
    reader.close()

    assert b"SECRET" not in bytes(buffer)


def test_cage_without_a_working_inspection_still_reads_no_descriptor_target(tmp_path: Path) -> None:
    image = HOSTILE["flat descriptor"][0](tmp_path)

    with pytest.raises(ReadFailed):
        ImageServer(str(image), "vmdk", writable=False)


@pytest.mark.parametrize("format_", ["qcow2", "vpc", "vhdx", "vdi", "vmdk"])
def test_images_made_by_qemu_are_not_suspected(tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"fine.{format_}"
    (tmp_path / "r.raw").write_bytes(b"data" * 300000 + bytes(-(4 * 300000) % 512))
    qemu_img("convert", "-f", "raw", "-O", format_, str(tmp_path / "r.raw"), str(path))

    facts = inspect_file(str(path))

    assert facts.suspicions == []
    assert facts.format == {"vpc": "vhd"}.get(format_, format_)


def test_inspection_of_random_damage_never_fails_in_another_way(tmp_path: Path) -> None:
    import random

    rng = random.Random(6)
    makers = [make for make, _ in HOSTILE.values()]
    for number in range(120):
        folder = tmp_path / str(number % 12)
        folder.mkdir(exist_ok=True)
        if number < 12:
            image = makers[rng.randrange(len(makers))](folder)
            (folder / "kept").write_text(image.name)
        image = folder / (folder / "kept").read_text()
        data = bytearray(image.read_bytes()[: 2 * MIB])
        for _ in range(20):
            data[rng.randrange(min(len(data), 70000))] = rng.randrange(256)
        broken = folder / "broken"
        broken.write_bytes(bytes(data))

        facts = inspect_file(str(broken))

        assert facts.format in ("raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi")
        json.dumps([s.problem for s in facts.suspicions])


def test_deflate_bomb_costs_bounded_memory_and_gives_zeros(tmp_path: Path) -> None:
    """A grain that inflates past its 64 KiB must not overrun: QEMU refuses it, in its cage."""
    size = 64 * 1024
    head = vmdk_stream.head(size, "b.vmdk", 1)
    tables = vmdk_stream.StreamTables(size)
    grain = vmdk_stream.grain(0, zlib.compress(bytes(64 * MIB)))
    tables.turn_to(0, len(head) // 512)
    tables.place(0, len(head) // 512)
    (tmp_path / "b.vmdk").write_bytes(head + grain + tables.tail((len(head) + len(grain)) // 512))

    with pytest.raises((ReadFailed, WireBroken)):
        run_copy(CopyJob(Locator(str(tmp_path / "b.vmdk")), Locator(str(tmp_path / "o.raw"))))

    assert not (tmp_path / "o.raw").exists()
