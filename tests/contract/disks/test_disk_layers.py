"""Disks in layers made by qemu-img: what an overlay changed is what is copied, and no file is read that was not named
plainly by the user's own images."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.disks.errors import DiskUsage, HostileImage
from holdfast.disks.jobs import CopyJob, run_copy
from holdfast.disks.layers import find_layers
from holdfast.disks.model.locator import Locator
from holdfast.disks.model.report import Report

MIB = 1 << 20
SIZE = 24 * MIB
pytestmark = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-utils are not installed")


def qemu_io(image: Path, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, str(image)], check=True, stdout=subprocess.DEVNULL)


def layered(folder: Path, base: Path, name: str, *, format_: str = "raw", size: int | None = None) -> Path:
    path = folder / name
    words = [str(path)] if size is None else [str(path), str(size)]
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base.name, "-F", format_, *words], check=True, cwd=folder
    )
    return path


def base_disk(folder: Path) -> Path:
    rng = random.Random(3)
    path = folder / "base.raw"
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for at in (0, 5 * MIB, 11 * MIB, SIZE - MIB):
            file.seek(at)
            file.write(rng.randbytes(MIB))
    return path


def content(image: Path, folder: Path) -> bytes:
    flat = folder / "flat.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(flat)], check=True)
    return flat.read_bytes()


def replicate(source: Path, folder: Path, *, trust: bool = True, **more: object) -> Report:
    target, digests = folder / "t.raw", str(folder / "L")
    chosen = {"base": digests} if Path(digests).exists() else {"digests": digests}
    return run_copy(
        CopyJob(Locator(str(source)), Locator(str(target)), trust_backing=trust, **chosen, **more)  # type: ignore[arg-type]
    )


def test_each_layer_over_the_state_of_the_list_is_copied_by_what_it_allocated(tmp_path: Path) -> None:
    base = base_disk(tmp_path)
    replicate(base, tmp_path, trust=False)
    first = layered(tmp_path, base, "one.qcow2")
    qemu_io(first, "write -P 7 1M 100k", "write -z 5M 1M", "write -P 8 23M 64k")
    one = replicate(first, tmp_path)
    copied_one = (tmp_path / "t.raw").read_bytes()
    second = layered(tmp_path, first, "two.qcow2", format_="qcow2")
    qemu_io(second, "write -P 9 11M 64k")
    two = replicate(second, tmp_path)

    assert copied_one == content(first, tmp_path)
    assert (tmp_path / "t.raw").read_bytes() == content(second, tmp_path)
    assert "qcow2 layer" in one.why
    assert "qcow2 layer" in two.why
    assert one.read_bytes <= MIB
    assert one.zeroed_bytes >= MIB
    assert two.read_bytes == two.written_bytes == 65536
    assert [note for note in two.notes if "base.raw (raw)" in note]


def test_layer_that_makes_the_disk_longer_is_followed(tmp_path: Path) -> None:
    base = base_disk(tmp_path)
    replicate(base, tmp_path, trust=False)
    longer = layered(tmp_path, base, "longer.qcow2", size=SIZE + 5 * MIB + 4096)
    qemu_io(longer, f"write -P 5 {SIZE + 2 * MIB} 64k")
    report = replicate(longer, tmp_path)

    assert (tmp_path / "t.raw").read_bytes() == content(longer, tmp_path)
    assert report.read_bytes < SIZE


@pytest.mark.parametrize("what", ["the base was written", "another base", "a layer is missing from the list"])
def test_layer_over_another_state_than_the_lists_is_compared_by_digests_and_said(tmp_path: Path, what: str) -> None:
    base = base_disk(tmp_path)
    replicate(base, tmp_path, trust=False)
    top = layered(tmp_path, base, "top.qcow2")
    qemu_io(top, "write -P 7 1M 64k")
    if what == "the base was written":
        with open(base, "r+b") as file:
            file.seek(12 * MIB)
            file.write(b"changed under the layer")
    elif what == "another base":
        other = tmp_path / "other.raw"
        shutil.copyfile(base, other)
        with open(other, "r+b") as file:
            file.seek(12 * MIB)
            file.write(b"another")
        other.replace(base)
    else:
        above = layered(tmp_path, top, "above.qcow2", format_="qcow2")
        qemu_io(above, "write -P 6 2M 64k")
        top = above
    report = replicate(top, tmp_path)

    assert (tmp_path / "t.raw").read_bytes() == content(top, tmp_path)
    assert "digests" in report.why
    assert any("chain is broken" in note for note in report.notes)


def test_base_that_was_renamed_under_its_overlay_is_still_the_state_of_the_list(tmp_path: Path) -> None:
    disk = base_disk(tmp_path)
    replicate(disk, tmp_path, trust=False)
    base = disk.rename(tmp_path / "frozen.raw")
    base.chmod(0o400)
    top = layered(tmp_path, base, "disk.qcow2")
    qemu_io(top, "write -P 7 1M 64k")

    assert "qcow2 layer" in replicate(top, tmp_path).why
    assert (tmp_path / "t.raw").read_bytes() == content(top, tmp_path)


def test_raw_bytes_of_an_image_are_not_taken_for_its_disk(tmp_path: Path) -> None:
    base = base_disk(tmp_path)
    image = tmp_path / "i.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(base), str(image)], check=True)
    run_copy(CopyJob(Locator(str(image), "raw"), Locator(str(tmp_path / "t.raw")), digests=str(tmp_path / "L")))
    top = layered(tmp_path, image, "top.qcow2", format_="qcow2")
    (tmp_path / "t.raw").unlink()
    shutil.copyfile(image, tmp_path / "t.raw")
    report = replicate(top, tmp_path)

    assert "digests" in report.why
    assert (tmp_path / "t.raw").read_bytes() == content(top, tmp_path)


def test_random_layers_are_followed_for_many_rounds(tmp_path: Path) -> None:
    rng = random.Random(11)
    top, format_ = base_disk(tmp_path), "raw"
    replicate(top, tmp_path, trust=False)
    for number in range(6):
        top, format_ = layered(tmp_path, top, f"l{number}.qcow2", format_=format_), "qcow2"
        commands = []
        for _ in range(rng.randrange(1, 8)):
            at, count = rng.randrange(SIZE // 512) * 512, rng.randrange(1, 400) * 512
            count = min(count, SIZE - at)
            words = rng.choice([f"write -P {rng.randrange(1, 250)}", "write -z", "write -z -u", "discard"])
            commands.append(f"{words} {at} {count}")
        qemu_io(top, *commands)
        report = replicate(top, tmp_path)

        assert "qcow2 layer" in report.why
        assert (tmp_path / "t.raw").read_bytes() == content(top, tmp_path), f"round {number}: {commands}"


def test_backing_files_are_not_read_unless_that_is_asked_for(tmp_path: Path) -> None:
    top = layered(tmp_path, base_disk(tmp_path), "top.qcow2")

    with pytest.raises(HostileImage, match="backing-file"):
        run_copy(CopyJob(Locator(str(top)), Locator(str(tmp_path / "t.raw"))))
    with pytest.raises(DiskUsage, match="backing files"):
        run_copy(CopyJob(Locator(str(tmp_path / "base.raw")), Locator(str(tmp_path / "t.raw")), trust_backing=True))
    assert not (tmp_path / "t.raw").exists()


def _named(folder: Path, name: str, *, format_: str | None = "raw") -> Path:
    """An overlay whose header names `name`, whatever that is."""
    path = folder / "evil.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(SIZE)], check=True)
    words = ["-F", format_] if format_ else []
    subprocess.run(
        ["qemu-img", "rebase", "-u", "-q", "-f", "qcow2", "-b", name, *words, str(path)],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return path


def _circle(folder: Path) -> Path:
    return _named(folder, "evil.qcow2", format_="qcow2")


def _hostile_base(folder: Path) -> Path:
    below = folder / "below.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(below), "1M"], check=True)
    with open(below, "r+b") as file:  # a first table outside the file
        file.seek(40)
        file.write((1 << 40).to_bytes(8, "big"))
    return _named(folder, "below.qcow2", format_="qcow2")


def _lying_format(folder: Path) -> Path:
    (folder / "below.img").write_bytes(bytes(MIB))
    return _named(folder, "below.img", format_="qcow2")


def _without_format(folder: Path) -> Path:
    base_disk(folder)
    path = _named(folder, "base.raw")
    raw = path.read_bytes()
    at = raw.index(bytes.fromhex("e2792aca"))
    with open(path, "r+b") as file:  # the extension becomes one that nobody knows
        file.seek(at)
        file.write(bytes.fromhex("00001234"))
    return path


HOSTILE: dict[str, Callable[[Path], Path]] = {
    "a tree of nodes": lambda folder: _named(folder, 'json:{"driver":"raw","file.filename":"/etc/passwd"}'),
    "a server": lambda folder: _named(folder, "nbd:localhost:10809"),
    "a device": lambda folder: _named(folder, "/dev/zero"),
    "a folder": lambda folder: _named(folder, "/etc"),
    "a circle": _circle,
    "a base that lies": _hostile_base,
    "a base of another format": _lying_format,
    "no declared format": _without_format,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_backing_that_is_not_plain_is_refused_even_when_trusted(tmp_path: Path, what: str) -> None:
    top = HOSTILE[what](tmp_path)

    with pytest.raises(Exception, match=r"refused|is not|declared") as refused:
        run_copy(CopyJob(Locator(str(top)), Locator(str(tmp_path / "t.raw")), trust_backing=True))
    assert getattr(refused.value, "exit_code", None) == 4
    assert not (tmp_path / "t.raw").exists()


def test_layers_are_told_top_first(tmp_path: Path) -> None:
    base = base_disk(tmp_path)
    one = layered(tmp_path, base, "one.qcow2")
    two = layered(tmp_path, one, "two.qcow2", format_="qcow2")

    assert [(Path(layer.path).name, layer.format) for layer in find_layers(str(two))] == [
        ("two.qcow2", "qcow2"),
        ("one.qcow2", "qcow2"),
        ("base.raw", "raw"),
    ]


def test_command_line_copies_a_layer(tmp_path: Path) -> None:
    import sys

    base = base_disk(tmp_path)
    replicate(base, tmp_path, trust=False)
    top = layered(tmp_path, base, "top.qcow2")
    qemu_io(top, "write -P 7 1M 64k")
    words = ["disk", "copy", str(top), str(tmp_path / "t.raw"), "--base", str(tmp_path / "L")]
    code = "from holdfast.cli.main import main; main()"
    env = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--trust-backing", "--json"], capture_output=True, text=True, env=env
    )

    assert done.returncode == 0, done.stderr + done.stdout
    assert "qcow2 layer" in json.loads(done.stdout)["why"]
