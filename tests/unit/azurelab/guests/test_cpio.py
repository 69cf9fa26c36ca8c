from __future__ import annotations

import gzip
import shutil
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azurelab.guests.cpio import Entry, archive, compressed

NAMES = st.text(alphabet="abcdefghij", min_size=1, max_size=20)


def read(raw: bytes) -> list[tuple[str, int, bytes]]:
    """An independent reader of newc: (name, mode, data) up to the trailer."""
    found, at = [], 0
    while True:
        assert raw[at : at + 6] == b"070701"
        fields = [int(raw[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = raw[at + 110 : at + 110 + fields[11] - 1].decode()
        at += 110 + fields[11]
        at += -at % 4
        data = raw[at : at + fields[6]]
        at += fields[6]
        at += -at % 4
        if name == "TRAILER!!!":
            return found
        found.append((name, fields[1], data))


@given(st.lists(st.tuples(NAMES, st.binary(max_size=50))))
def test_what_is_written_is_read_back_in_order(files: list[tuple[str, bytes]]) -> None:
    entries = [Entry.file(name, data) for name, data in files]
    assert read(archive(entries)) == [(name, stat.S_IFREG | 0o644, data) for name, data in files]


def test_equal_entries_give_equal_bytes() -> None:
    entries = [Entry.folder("dev"), Entry.character_device("dev/console", 5, 1), Entry.link("a", "b")]
    assert compressed(entries) == compressed(list(entries))
    assert gzip.decompress(compressed(entries)) == archive(entries)


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed here")
def test_the_archive_is_readable_by_cpio() -> None:
    raw = archive([Entry.folder("d"), Entry.file("d/f", b"x", 0o755), Entry.link("l", "d/f")])
    listed = subprocess.run(["cpio", "-t"], input=raw, capture_output=True, check=True).stdout
    assert listed.split() == [b"d", b"d/f", b"l"]
