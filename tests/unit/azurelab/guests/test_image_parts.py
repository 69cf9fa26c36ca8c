"""The pure parts of building the guest image: closure of packages, ELF, load order, boot sector."""

from __future__ import annotations

import io
import struct
import sys
import tarfile
from pathlib import Path

import pytest

from azurelab.guests import bootloader
from azurelab.guests.elf import libraries_for, needed
from azurelab.guests.image import LAND, find, main, recipe
from azurelab.guests.modules import load_order, modinfo
from azurelab.guests.packages import ImageError, closure, kernel_package, parse_depends

DEPENDS = """\
tool
  PreDepends: libc6
  Depends: libglib
 |Depends: libalternative
  Depends: perl-base
  Suggests: libnever
libc6
  Depends: libgcc-s1
libgcc-s1
libglib
  Depends: libglib-bin
  Depends: <virtual>
libglib-bin
libalternative
perl-base
"""


def test_the_closure_follows_libraries_only() -> None:
    depends = parse_depends(DEPENDS)
    assert closure(depends, ["tool"]) == ["libalternative", "libc6", "libgcc-s1", "libglib", "tool"]


def test_the_kernel_is_what_the_meta_package_depends_on() -> None:
    show = "Package: linux-image-cloud-amd64\nDepends: linux-image-6.12.1-cloud-amd64 (= 6.12.1-1)\n"
    assert kernel_package(show) == "linux-image-6.12.1-cloud-amd64"
    with pytest.raises(ImageError, match="no kernel package"):
        kernel_package("")


def test_the_libraries_of_this_python_are_found() -> None:
    program = Path(sys.executable).resolve().read_bytes()
    assert any(name.startswith("libc.so") for name in needed(program))
    assert needed(b"#!/bin/sh\n") == []


def test_a_library_that_no_package_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python.* needs lib"):
        libraries_for([Path(sys.executable).resolve()], tmp_path)


def module(depends: str) -> bytes:
    return b"\x7fELF.modinfo\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"


def test_modules_come_after_what_they_depend_on_and_built_in_ones_not_at_all(tmp_path: Path) -> None:
    for name, depends in {"virtio_net": "net-failover,virtio", "net_failover": "failover", "failover": ""}.items():
        (tmp_path / f"{name.replace('_', '-')}.ko").write_bytes(module(depends))
    (tmp_path / "modules.builtin").write_text("kernel/drivers/virtio/virtio.ko\n")

    assert [name for name, _ in load_order(tmp_path, ["virtio_net"])] == ["failover", "net_failover", "virtio_net"]
    with pytest.raises(KeyError, match="no module nowhere"):
        load_order(tmp_path, ["nowhere"])
    assert modinfo(module(""), "license") == "GPL"


def kernel(setup_sectors: int = 4, needs: int = 0x2000000) -> bytes:
    image = bytearray(20 * 512)
    image[0x1F1] = setup_sectors
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<QI", image, 0x258, 0x1000000, needs)
    return bytes(image)


def test_the_setup_code_carries_initrd_and_command_line() -> None:
    setup, rest_at = bootloader.patched_setup(kernel(), 1234, "quiet")

    assert rest_at == 5 * 512
    assert struct.unpack_from("<II", setup, 0x218) == (bootloader.INITRD_ADDRESS, 1234)
    (at,) = struct.unpack_from("<I", setup, 0x228)
    assert setup[at - bootloader.SETUP_ADDRESS :].startswith(b"quiet\0")
    assert setup[0x210] == 0xFF
    with pytest.raises(ImageError, match="not a bzImage"):
        bootloader.patched_setup(bytes(1024), 0, "")
    with pytest.raises(ImageError, match="too large"):
        bootloader.patched_setup(kernel(needs=0x6000000), 0, "")


def test_the_disk_has_boot_sector_kernel_initrd_and_partition_where_the_sector_says(tmp_path: Path) -> None:
    partition, disk = tmp_path / "partition", tmp_path / "disk"
    partition.write_bytes(b"\x11" * 65536 + bytes(65536) + b"\x22" * 65536)
    initrd = b"INITRD" * 1000

    bootloader.assemble(LAND, kernel(), initrd, partition, disk)

    raw = disk.read_bytes()
    assert raw[510:512] == b"\x55\xaa"
    boot, lba, sectors = raw[446], *struct.unpack_from("<II", raw, 454)
    assert (boot, lba, sectors) == (0x80, bootloader.PARTITION_LBA, 384)
    assert raw[lba * 512 :] == partition.read_bytes()
    (setup_sectors,) = struct.unpack_from("<H", raw, bootloader.DAP_COUNT)
    chunks, kernel_lba, address = struct.unpack_from("<HII", raw, bootloader.TABLE)
    assert (chunks, kernel_lba, address) == (1, 1 + setup_sectors, bootloader.KERNEL_ADDRESS)
    assert raw[kernel_lba * 512 :].startswith(kernel()[5 * 512 :])
    _, initrd_lba, address = struct.unpack_from("<HII", raw, bootloader.TABLE + 10)
    assert raw[initrd_lba * 512 :].startswith(initrd)
    assert address == bootloader.INITRD_ADDRESS
    assert struct.unpack_from("<H", raw, bootloader.TABLE + 20) == (0,)


def test_the_recipe_names_every_file_that_decides_the_image(tmp_path: Path) -> None:
    assert recipe() == recipe()
    assert find(tmp_path) is None


def test_a_machine_without_qemu_is_told_the_command_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["--cache", str(tmp_path)]) == 3

    said = capsys.readouterr().out
    assert "sudo apt-get update && sudo apt-get install -y --no-install-recommends" in said
    assert "qemu-system-x86 qemu-utils" in said


def test_unpacking_lays_old_and_new_layouts_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azurelab.guests import packages

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("./lib/x/a.so", "./usr/lib/x/b.so", "./usr/share/doc", "./../escape"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"1"))
        link = tarfile.TarInfo("./lib/x/c.so")
        link.type, link.linkname = tarfile.SYMTYPE, "a.so"
        tar.addfile(link)
    (tmp_path / "x.tar").write_bytes(buffer.getvalue())
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "dpkg-deb").write_text(f"#!/bin/sh\ncat {tmp_path}/x.tar\n")
    (fake / "dpkg-deb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:/usr/bin:/bin")

    packages.unpack(Path("x.deb"), tmp_path / "out", lambda path: not path.startswith("usr/share"))

    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if not p.is_dir())
    assert found == ["usr/lib/x/a.so", "usr/lib/x/b.so", "usr/lib/x/c.so"]
    assert not (tmp_path / "escape").exists()
