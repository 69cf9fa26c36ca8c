"""Whole commands on real files, formats and servers: equality for every pair, kills, refusals, exit codes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fakes.processes import end
from holdfast.cli.disk import app
from holdfast.disks.jobs import diff
from holdfast.disks.model.locator import Locator
from holdfast.disks.moving import Move, move

MIB = 1 << 20
needs_qemu = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-utils are not installed")


def disk(*words: object, expect: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == expect, result.output + repr(result.exception)
    return json.loads(result.output.splitlines()[-1]) if result.output.strip() else {}


def write_disk(path: Path, size: int, pieces: list[tuple[int, bytes]]) -> Path:
    with open(path, "wb") as file:
        file.truncate(size)
        for at, data in pieces:
            file.seek(at)
            file.write(data[: size - at])
    return path


def shapes(folder: Path) -> dict[str, Path]:
    rng = random.Random(7)
    size = 33 * MIB
    scattered = [(rng.randrange(size), rng.randbytes(rng.choice([1, 511, 4096, 70000, MIB]))) for _ in range(12)]
    return {
        "holes": write_disk(folder / "holes.raw", size, scattered),
        "odd size": write_disk(folder / "odd.raw", 5 * MIB + 12345, [(MIB, rng.randbytes(MIB)), (6 * MIB - 9, b"x")]),
        "data at the very end": write_disk(folder / "end.raw", 40 * MIB, [(40 * MIB - 1, b"e")]),
        "all zero": write_disk(folder / "zero.raw", 17 * MIB, []),
        "written zeros": write_disk(folder / "wzero.raw", 3 * MIB, [(0, bytes(3 * MIB))]),
        "one byte": write_disk(folder / "one.raw", 1, [(0, b"1")]),
    }


SHAPES = ["holes", "odd size", "data at the very end", "all zero", "written zeros", "one byte"]


@pytest.mark.parametrize("shape", SHAPES)
def test_raw_copy_is_equal_to_the_byte_and_verify_finds_one_changed_byte(tmp_path: Path, shape: str) -> None:
    source, target, listed = shapes(tmp_path)[shape], tmp_path / "t.raw", tmp_path / "L"

    disk("copy", source, target, "--digests", listed, "--verify", "full")

    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks <= source.stat().st_blocks + 256
    assert disk("verify", target, "--digests", listed)["equal"]
    at = random.Random(1).randrange(target.stat().st_size)
    with open(target, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    found = disk("verify", target, "--digests", listed, expect=1)["extents"]
    assert len(found) == 1
    assert found[0]["start"] <= at < found[0]["end"]
    assert disk("diff", source, target, expect=1)["extents"] == found


@needs_qemu
@pytest.mark.parametrize(
    ("to", "shape"),
    [
        ("qcow2", "holes"),
        ("qcow2", "odd size"),
        ("qcow2", "all zero"),
        ("vhd-fixed", "odd size"),
        ("vhd", "holes"),
        ("vhdx", "odd size"),
        ("vdi", "holes"),
        *(pytest.param(to, shape, marks=pytest.mark.slow) for to in ("vhd", "vhdx", "vdi") for shape in SHAPES),
    ],
)
def test_every_format_is_written_updated_and_read_back_equal(tmp_path: Path, shape: str, to: str) -> None:
    source, target, listed = shapes(tmp_path)[shape], tmp_path / f"t.{to.split('-')[0]}", tmp_path / "L"
    grown = source.stat().st_size

    disk("copy", source, target, "--to", to, "--digests", listed)
    assert diff(Locator(str(source)), Locator(str(target))).equal
    with open(source, "r+b") as file:
        file.seek(grown // 2)
        file.write(b"changed"[: max(1, grown - grown // 2)])
        file.seek(0)
        file.write(bytes(min(grown, 300000)))
    report = disk("copy", source, target, "--to", to, "--base", listed, "--verify", "full")

    assert report["changed_bytes"] <= 6 * 65536
    assert diff(Locator(str(source)), Locator(str(target))).equal
    qemu = {"vhd-fixed": "vpc", "vhd": "vpc"}.get(to, to)
    size = grown // 512 * 512
    if size == grown:
        subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", qemu, str(source), str(target)], check=True)
    back = tmp_path / "back.raw"
    disk("copy", target, back, "--from", to)
    assert back.read_bytes()[:grown] == source.read_bytes()
    assert not any(back.read_bytes()[grown:])


@needs_qemu
@pytest.mark.parametrize("shape", ["odd size", pytest.param("all zero", marks=pytest.mark.slow), "holes"])
@pytest.mark.parametrize(
    "words",
    [
        ("o.vmdk", "--format", "vmdk-stream"),
        ("o.qcow2", "--compress", "zlib"),
        ("o.qcow2", "--compress", "zstd"),
        ("o.vhd", "--format", "vhd-fixed"),
        ("o.ova",),
    ],
    ids=lambda w: " ".join(w),
)
def test_conversions_are_equal_and_clean(tmp_path: Path, shape: str, words: tuple[str, ...]) -> None:
    source, target = shapes(tmp_path)[shape], tmp_path / words[0]

    disk("convert", source, target, *words[1:])

    if target.suffix == ".ova":
        subprocess.run(["tar", "xf", str(target), "-C", str(tmp_path)], check=True)
        manifest = dict(
            line[7:].split(")= ") for line in (tmp_path / "o.mf").read_text().splitlines() if line.startswith("SHA256(")
        )
        for name, told in manifest.items():
            actual = subprocess.run(["sha256sum", str(tmp_path / name)], capture_output=True, text=True, check=True)
            assert actual.stdout.split()[0] == told
        target = tmp_path / "o.vmdk"
    assert diff(Locator(str(source)), Locator(str(target))).equal
    kind = {".vmdk": "vmdk", ".qcow2": "qcow2"}.get(target.suffix)
    if kind:
        subprocess.run(["qemu-img", "check", "-f", kind, str(target)], check=True, capture_output=True)


def test_streams_through_pipes_are_equal(tmp_path: Path) -> None:
    source = shapes(tmp_path)["holes"]
    command = [sys.executable, "-m", "holdfast.cli.main", "disk", "convert"]
    out = subprocess.run([*command, str(source), "-", "--format", "vhd-fixed"], capture_output=True, check=True).stdout
    assert out[: 33 * MIB] == source.read_bytes()
    assert out[33 * MIB :][:8] == b"conectix"
    assert len(out) == 33 * MIB + 512

    subprocess.run([*command, "-", str(tmp_path / "in.raw")], input=source.read_bytes(), check=True)

    assert (tmp_path / "in.raw").read_bytes() == source.read_bytes()
    assert (tmp_path / "in.raw").stat().st_blocks <= source.stat().st_blocks + 2048


def test_a_tib_of_holes_costs_little(tmp_path: Path) -> None:
    source = write_disk(tmp_path / "big.raw", 1 << 40, [(500 << 30, b"middle" * 1000), ((1 << 40) - 5, b"end!!")])
    target, listed = tmp_path / "t.raw", tmp_path / "L"

    began = time.monotonic()
    disk("copy", source, target, "--digests", listed)
    with open(source, "r+b") as file:
        file.seek(700 << 30)
        file.write(b"new")
    report = disk("copy", source, target, "--base", listed)

    assert report["written_bytes"] == 65536
    assert disk("diff", source, target)["equal"]
    assert target.stat().st_blocks * 512 < MIB
    assert listed.stat().st_blocks * 512 < MIB
    assert time.monotonic() - began < 20


def test_grown_and_shrunk_sources_are_followed(tmp_path: Path) -> None:
    source, target, listed = shapes(tmp_path)["odd size"], tmp_path / "t.raw", tmp_path / "L"
    disk("copy", source, target, "--digests", listed)
    for size in (9 * MIB + 77, 3 * MIB + 5, 20 * MIB):
        with open(source, "r+b") as file:
            file.truncate(size)
            file.seek(size - 3)
            file.write(b"end")

        disk("copy", source, target, "--base", listed)

        assert target.read_bytes() == source.read_bytes()
        assert disk("verify", target, "--digests", listed)["equal"]


def test_changed_extents_file_is_believed_only_for_its_own_chain(tmp_path: Path) -> None:
    source, target, listed = shapes(tmp_path)["holes"], tmp_path / "t.raw", tmp_path / "L"
    disk("copy", source, target, "--digests", listed, "--chain", "s1")
    with open(source, "r+b") as file:
        file.seek(5 * MIB)
        file.write(b"five")
    told = tmp_path / "changed.json"
    told.write_text(json.dumps({"since": "s1", "now": "s2", "extents": [{"start": 5 * MIB, "end": 5 * MIB + 4}]}))

    report = disk("copy", source, target, "--base", listed, "--changed", told)
    assert target.read_bytes() == source.read_bytes()
    assert report["read_bytes"] == 65536
    again = disk("copy", source, target, "--base", listed, "--changed", told)

    assert any("chain is broken" in note for note in again["notes"])
    assert again["changed_bytes"] == 0


def test_refusals_have_exit_code_4_and_change_nothing(tmp_path: Path) -> None:
    source = shapes(tmp_path)["holes"]
    target = write_disk(tmp_path / "t.raw", MIB, [(0, b"precious")])
    before = target.read_bytes()

    assert disk("copy", source, target, expect=4)["error"]["code"] == "disk.target_has_content"
    assert disk("copy", source, target, "--digests", tmp_path / "L", expect=4)["error"]["code"] == (
        "disk.target_has_content"
    )
    assert disk("copy", source, source, expect=4)["error"]["code"] == "disk.same_disk"
    os.link(source, tmp_path / "link.raw")
    assert disk("copy", source, tmp_path / "link.raw", expect=4)["error"]["code"] == "disk.same_disk"
    assert disk("copy", tmp_path / "none.raw", target, expect=3)["error"]["code"] == "disk.not_found"
    assert disk("copy", source, tmp_path / "what.ever", expect=2)["error"]["code"] == "disk.usage"
    assert target.read_bytes() == before
    assert not (tmp_path / "L").exists()


def test_overwrite_replaces_also_where_the_source_is_zero(tmp_path: Path) -> None:
    source = shapes(tmp_path)["all zero"]
    target = write_disk(tmp_path / "t.raw", 20 * MIB, [(0, b"old" * MIB)])

    disk("copy", source, target, "--overwrite")

    assert target.read_bytes() == source.read_bytes()


@needs_qemu
def test_clusters_that_do_not_compress_leave_no_room_unused_between_those_that_do(tmp_path: Path) -> None:
    rng, cluster = random.Random(7), 65536
    dull = [bytes(rng.choices(b"abcdefgh", k=cluster)) for _ in range(64)]
    pieces = [(2 * n * cluster, dull[n]) for n in range(64)]
    pieces += [((2 * n + 1) * cluster, rng.randbytes(cluster)) for n in range(64)]
    source = write_disk(tmp_path / "d.raw", 16 * MIB, pieces)

    disk("convert", source, tmp_path / "o.qcow2", "--compress", "zlib")

    packed = sum(len(zlib.compress(one, 1)) for one in dull)
    assert (tmp_path / "o.qcow2").stat().st_size < 1.1 * (64 * cluster + packed) + 8 * cluster  # tables beside
    subprocess.run(["qemu-img", "check", "-q", str(tmp_path / "o.qcow2")], check=True)
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", str(source), str(tmp_path / "o.qcow2")], check=True)


@needs_qemu
def test_image_that_a_machine_has_open_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "m.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "4M"], check=True)
    server = subprocess.Popen(["qemu-nbd", "--persistent", f"--socket={tmp_path}/s", "-f", "qcow2", str(image)])
    try:
        while not (tmp_path / "s").exists():
            assert server.poll() is None
            time.sleep(0.01)

        error = disk("copy", image, tmp_path / "o.raw", expect=4)["error"]
    finally:
        end(server)
    assert error["code"] == "disk.in_use"


@needs_qemu
def test_info_tells_format_sizes_and_why_an_image_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "m.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "4M"], check=True)
    (tmp_path / "b.raw").write_bytes(b"x" * MIB)
    backed = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(tmp_path / "b.raw"), "-F", "raw"]
    subprocess.run([*backed, str(tmp_path / "o.qcow2")], check=True)

    assert disk("info", image)["size_bytes"] == 4 * MIB
    refused = disk("info", tmp_path / "o.qcow2")["refused"]

    assert len(refused) == 1
    assert refused[0].startswith("backing-file")


# -- kill -9 --------------------------------------------------------------------------------------------------------


def killed_copy(words: list[str], after_s: float) -> bool:
    """Run the command as a process and kill it. True if the kill came before its end."""
    child = subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli.main", "disk", "copy", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        child.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait()
        return True
    return False


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=[pytest.mark.chaos, pytest.mark.slow])])
@pytest.mark.timeout(1200)
def test_copier_killed_at_random_moments_then_repeated_is_equal(tmp_path: Path, kills: int) -> None:
    rng = random.Random(kills)
    source, target, listed = tmp_path / "s.raw", tmp_path / "t.raw", tmp_path / "L"
    size = 96 * MIB
    write_disk(source, size, [(0, rng.randbytes(60 * MIB)), (80 * MIB, rng.randbytes(3 * MIB))])
    done = 0
    while done < kills:
        first = not listed.exists()
        words = [str(source), str(target), "--digests" if first else "--base", str(listed)]
        slowed = first or rng.random() < 0.5  # at full rate it has helpers, and is soon done
        for _ in range(rng.randrange(1, 3)):
            done += (
                killed_copy([*words, "--limit-rate", "60M"], 0.35 + rng.random() * 0.9)
                if slowed
                else killed_copy(words, 0.08 + rng.random() * 0.2)
            )
            # killed between the names of target and list, a first copy stands there whole, and nothing else ever does
            assert not first or not target.exists() or target.read_bytes() == source.read_bytes()
            if listed.exists() and first:
                break
        first = not listed.exists()
        words = [str(source), str(target), "--digests" if first else "--base", str(listed)]
        report = disk("copy", *words)

        again = 0 if first else report["changed_bytes"]  # helpers read what they find once more
        assert report["read_bytes"] + report["skipped_bytes"] <= size + again + 16 * MIB, report
        assert target.read_bytes() == source.read_bytes()
        with open(source, "r+b") as file:
            for _ in range(rng.randrange(1, 30)):
                file.seek(rng.randrange(size - MIB))
                file.write(rng.choice([bytes(70000), rng.randbytes(MIB), b"x"]))
        if rng.random() < 0.3:
            target.unlink()
            listed.unlink()


@needs_qemu
@pytest.mark.parametrize("to", ["qcow2", "vhdx", *(pytest.param(to, marks=pytest.mark.slow) for to in ("vdi", "vhd"))])
def test_images_killed_half_written_are_gone_on_with_or_begun_again(tmp_path: Path, to: str) -> None:
    rng = random.Random(3)
    source = write_disk(tmp_path / "s.raw", 200 * MIB, [(0, rng.randbytes(90 * MIB)), (150 * MIB, rng.randbytes(MIB))])
    target, listed = tmp_path / f"t.{to}", tmp_path / "L"
    words = [str(source), str(target), "--digests", str(listed)]
    for after_s in (0.5, 1.9):
        killed_copy([*words, "--limit-rate", "15M"], after_s)  # 91 MiB: six seconds, on the fastest machine too
        assert not target.exists()

    disk("copy", *words)

    assert diff(Locator(str(source)), Locator(str(target))).equal
    assert disk("verify", target, "--digests", listed)["equal"]
    if to == "qcow2":
        check = subprocess.run(["qemu-img", "check", "-f", "qcow2", str(target)], capture_output=True, check=False)
        assert check.returncode in (0, 3)  # 3: leaked clusters, which lose space and no data


@needs_qemu
def test_refused_target_leaves_no_list_that_would_let_the_next_try_pass(tmp_path: Path) -> None:
    source = shapes(tmp_path)["holes"]
    target, listed = tmp_path / "t.qcow2", tmp_path / "L"
    disk("convert", shapes(tmp_path)["odd size"], target)
    before = target.read_bytes()

    for _ in range(2):
        assert disk("copy", source, target, "--digests", listed, expect=4)["error"]["code"] == "disk.target_has_content"

    assert target.read_bytes() == before
    assert not list(tmp_path.glob("L*"))


def test_list_and_target_of_different_sizes_are_refused(tmp_path: Path) -> None:
    source, target, listed = shapes(tmp_path)["holes"], tmp_path / "t.raw", tmp_path / "L"
    disk("copy", source, target, "--digests", listed)
    with open(target, "r+b") as file:
        file.truncate(MIB)

    assert disk("copy", source, target, "--base", listed, expect=4)["error"]["code"] == "disk.list_mismatch"


def test_vhd_that_grows_and_shrinks_keeps_no_old_footer_inside(tmp_path: Path) -> None:
    source = write_disk(tmp_path / "s.raw", 5 * MIB, [(0, b"x" * 100000)])
    target, listed = tmp_path / "t.vhd", tmp_path / "L"
    disk("copy", source, target, "--to", "vhd-fixed", "--digests", listed)
    for size in (9 * MIB, 3 * MIB + 700, 3 * MIB + 100, 12 * MIB):
        with open(source, "r+b") as file:
            file.truncate(size)

        disk("copy", source, target, "--to", "vhd-fixed", "--base", listed)

        content = target.read_bytes()
        assert content[:size] == source.read_bytes()
        assert content[size:-512] == bytes(len(content) - 512 - size)
        assert content[-512:][:8] == b"conectix"


def test_half_written_target_and_list_have_no_final_name(tmp_path: Path) -> None:
    source = write_disk(tmp_path / "s.raw", 64 * MIB, [(0, random.Random(1).randbytes(64 * MIB))])
    words = [str(source), str(tmp_path / "t.raw"), "--digests", str(tmp_path / "L"), "--limit-rate", "20M"]

    assert killed_copy(words, 1.2)

    assert not (tmp_path / "t.raw").exists()
    assert not (tmp_path / "L").exists()
    disk("copy", *words[:4])
    assert (tmp_path / "t.raw").read_bytes() == source.read_bytes()


# -- the mover ------------------------------------------------------------------------------------------------------


def test_mover_copies_many_disks_reports_extents_and_one_failure(tmp_path: Path) -> None:
    made = shapes(tmp_path)
    events: list[dict[str, Any]] = []
    moves = [
        Move(Locator(str(made[name])), Locator(str(tmp_path / f"m{n}.raw")), digests=str(tmp_path / f"L{n}"))
        for n, name in enumerate(SHAPES)
    ]

    reports = move(moves, on_event=events.append)

    assert [r.size_bytes for r in reports] == [made[name].stat().st_size for name in SHAPES]
    for n, name in enumerate(SHAPES):
        assert (tmp_path / f"m{n}.raw").read_bytes() == made[name].read_bytes()
    landed = [e for event in events if event["event"] == "extents" and event["disk"] == 0 for e in event["extents"]]
    assert sum(e[1] - e[0] for e in landed if e[2] == "data") == reports[0].written_bytes
    from holdfast.disks.errors import SameDisk

    with pytest.raises(SameDisk):
        move([Move(moves[0].source, moves[0].source), Move(moves[1].source, Locator(str(tmp_path / "again.raw")))])
    assert (tmp_path / "again.raw").read_bytes() == made["odd size"].read_bytes()


def test_mover_ends_when_its_parent_does(tmp_path: Path) -> None:
    source = write_disk(tmp_path / "s.raw", 64 * MIB, [(0, random.Random(1).randbytes(64 * MIB))])
    script = f"""
from holdfast.disks.moving import Move, move
from holdfast.disks.model.locator import Locator
import os, threading, time
threading.Timer(1.0, lambda: os._exit(9)).start()
move([Move(Locator({str(source)!r}), Locator({str(tmp_path / "t.raw")!r}))], rate_bytes_s=8 << 20)
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    assert parent.wait(timeout=30) == 9

    deadline = time.monotonic() + 10
    unfinished = tmp_path / "t.raw.unfinished"
    while writers_of(unfinished) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert writers_of(unfinished) == []
    assert not (tmp_path / "t.raw").exists()


def writers_of(path: Path) -> list[str]:
    """Processes that hold a file open."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(Path(link).readlink()) == str(path):
                found.append(link.parts[2])
        except OSError:
            continue
    return found
