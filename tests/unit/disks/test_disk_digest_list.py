"""The digest list file, its tree, its journal and the book's crash rules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.disks.digests.book import Book
from holdfast.disks.digests.journal import Journal
from holdfast.disks.digests.listfile import DigestList
from holdfast.disks.digests.names import journal_path, require_own_files, unfinished_path
from holdfast.disks.digests.tree import Layout, node_of, root_of
from holdfast.disks.errors import ListDamaged
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, ENTRY_BYTES, PAGE_BYTES, UNKNOWN, Geometry, digest_of
from holdfast.disks.model.diff import changed_chunks, changed_extents, sampled_chunks
from holdfast.disks.model.extents import Extent, Kind

GEOMETRY = Geometry(300 * 16 * 1024 * 1024 + 777)  # three levels of tree
SOURCE = {"kind": "file", "inode": 1, "mtime_ns": 5}


def page_with(**entries: bytes) -> bytes:
    page = bytearray(PAGE_BYTES)
    for key, entry in entries.items():
        at = int(key[1:]) * ENTRY_BYTES
        page[at : at + ENTRY_BYTES] = entry
    return bytes(page)


def made(tmp_path: Path, pages: dict[int, bytes]) -> str:
    path = str(tmp_path / "list")
    book = Book.begin(path, GEOMETRY, SOURCE)
    book.record(pages)
    book.settle("chain-1")
    return path


def whole_root(digests: DigestList) -> str:
    """The root computed anew from all leaves, as a check of the incremental one."""
    level = [digests.page(w) for w in range(GEOMETRY.windows)]
    while True:
        nodes = [node_of(page) for page in level]
        level = [b"".join(nodes[i : i + 128]).ljust(PAGE_BYTES, b"\0") for i in range(0, len(nodes), 128)]
        if len(level) == 1:
            return root_of(GEOMETRY, node_of(level[0])).hex()


def test_list_appears_under_its_name_only_when_complete(tmp_path: Path) -> None:
    path = str(tmp_path / "list")
    book = Book.begin(path, GEOMETRY, SOURCE)
    book.record({0: page_with(e1=digest_of(b"x"))})

    assert not Path(path).exists()
    assert Path(unfinished_path(path)).exists()
    book.settle(None)

    assert Path(path).exists()
    assert not Path(unfinished_path(path)).exists()
    assert not Path(journal_path(path)).exists()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4)), min_size=1, max_size=12))
def test_root_after_updates_equals_the_root_of_all_leaves(
    tmp_path_factory: pytest.TempPathFactory, updates: list[tuple[int, bytes]]
) -> None:
    path = made(tmp_path_factory.mktemp("list"), {0: page_with(e0=digest_of(b"a")), 200: page_with(e9=digest_of(b"b"))})
    book = Book.continue_from(path, GEOMETRY, SOURCE)
    for window, data in updates:
        book.mark({window: [3]})
        book.record({window: page_with(e3=digest_of(data))})
    root = book.settle("chain-2")

    again = DigestList.open(path)
    assert again.header.root == root == whole_root(again)
    assert again.header.chain == "chain-2"
    again.close()


def test_root_tells_sizes_and_single_chunks_apart() -> None:
    top = node_of(page_with(e0=digest_of(b"a")))

    roots = {
        root_of(GEOMETRY, top),
        root_of(Geometry(5), top),
        root_of(GEOMETRY, node_of(page_with(e1=digest_of(b"a")))),
    }

    assert len(roots) == 3


def test_marked_chunks_stay_unknown_after_a_crash_even_without_the_journal(tmp_path: Path) -> None:
    old = digest_of(b"old")
    path = made(tmp_path, {7: page_with(e0=old, e1=old)})
    book = Book.continue_from(path, GEOMETRY, SOURCE)
    book.mark({7: [1]})
    book.abandon()

    with_journal = Book.continue_from(path, GEOMETRY, SOURCE)
    assert with_journal.page(7) == page_with(e0=old, e1=UNKNOWN)
    with_journal.abandon()
    Path(journal_path(path)).unlink()
    without = Book.continue_from(path, GEOMETRY, SOURCE)

    assert without.page(7) == UNKNOWN * ENTRIES_PER_PAGE
    assert without.doubtful_windows() == [7]
    without.abandon()


def test_a_run_that_only_looked_leaves_the_list_settled_and_remembers_what_it_saw(tmp_path: Path) -> None:
    path = made(tmp_path, {7: page_with(e0=digest_of(b"a"))})
    book = Book.continue_from(path, GEOMETRY, SOURCE)
    book.record({}, unchanged=[7, 8])
    book.abandon()

    resumed = Book.continue_from(path, GEOMETRY, SOURCE)
    assert resumed.digests.header.settled
    assert resumed.same_source
    assert sorted(resumed.journal.done) == [7, 8]
    resumed.abandon()
    other = Book.continue_from(path, GEOMETRY, {"kind": "file", "inode": 2})

    assert not other.same_source
    assert list(other.journal.done) == []
    other.abandon()


def test_no_identity_means_nothing_is_believed_from_an_earlier_run(tmp_path: Path) -> None:
    path = made(tmp_path, {})
    book = Book.continue_from(path, GEOMETRY, None)
    book.record({}, unchanged=[1])
    book.abandon()

    again = Book.continue_from(path, GEOMETRY, None)

    assert not again.same_source
    assert list(again.journal.done) == []
    again.abandon()


def test_unfinished_first_list_knows_only_what_was_done(tmp_path: Path) -> None:
    path = str(tmp_path / "list")
    book = Book.begin(path, GEOMETRY, SOURCE)
    assert book.virgin
    entry = page_with(e5=digest_of(b"x"))
    book.record({2: entry})
    book.abandon()

    again = Book.begin(path, GEOMETRY, SOURCE)

    assert not again.virgin
    assert again.page(2) == entry
    assert again.page(3) == UNKNOWN * ENTRIES_PER_PAGE
    assert len(again.doubtful_windows()) == GEOMETRY.windows - 1
    again.abandon()


def test_a_damaged_page_counts_as_unknown_and_a_damaged_tree_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, {7: page_with(e0=digest_of(b"a")), 8: page_with(e0=digest_of(b"b"))})
    layout = Layout(GEOMETRY)
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"\x01", layout.page_offset(0, 7) + 3)

    book = Book.continue_from(path, GEOMETRY, SOURCE)
    assert book.page(7) == UNKNOWN * ENTRIES_PER_PAGE
    assert book.page(8) == page_with(e0=digest_of(b"b"))
    book.abandon()
    os.pwrite(fd, b"\x01", layout.page_offset(1, 0) + 7 * 32)
    os.close(fd)

    with pytest.raises(ListDamaged, match="tree"):
        DigestList.open(path)


def test_a_torn_header_falls_back_to_the_other_slot(tmp_path: Path) -> None:
    path = made(tmp_path, {})
    digests = DigestList.open(path, writable=True)
    newest = digests.header.sequence
    digests.close()
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, b"torn", newest % 2 * PAGE_BYTES + 40)
    os.close(fd)

    older = DigestList.open(path)

    assert older.header.sequence == newest - 1
    assert not older.header.settled
    older.close()


def test_new_list_is_known_for_one_after_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages may be on the disk and the rest not, but for what was synced."""
    path = str(tmp_path / "list")
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.pread(fd, 2 * PAGE_BYTES, 0)))
    digests = DigestList.create(unfinished_path(path), GEOMETRY)
    kept = synced[-1] if synced else bytes(2 * PAGE_BYTES)
    digests.put(0, page_with(e0=digest_of(b"a")))
    digests.close()
    with open(unfinished_path(path), "r+b") as file:
        file.write(kept)

    assert require_own_files(path, [], "digests") == path


def test_mark_in_a_damaged_page_does_not_vouch_for_the_rest_of_it(tmp_path: Path) -> None:
    """As `verify --sample --mark` marks one chunk of a page that was damaged since the list was settled."""
    path = made(tmp_path, {7: page_with(e0=digest_of(b"a"), e1=digest_of(b"b"))})
    with open(path, "r+b") as file:
        file.seek(Layout(GEOMETRY).page_offset(0, 7))
        file.write(bytes(32))

    book = Book.continue_from(path, GEOMETRY, SOURCE)
    book.mark({7: [9]})
    assert book.page(7) == UNKNOWN * ENTRIES_PER_PAGE
    book.abandon()

    again = Book.continue_from(path, GEOMETRY, SOURCE)
    assert again.page(7) == UNKNOWN * ENTRIES_PER_PAGE
    again.abandon()


@pytest.mark.parametrize("journal", [True, False], ids=["journal kept", "journal lost"])
@pytest.mark.parametrize("lost", range(8))
def test_tree_renewed_in_part_is_made_whole_by_the_next_run(tmp_path: Path, lost: int, journal: bool) -> None:
    """A power cut while a list is settled: of what was not synced any part may be on the disk."""
    path = made(tmp_path, {w: page_with(e0=digest_of(b"a")) for w in (3, 200)})
    old = Path(path).read_bytes()
    layout = Layout(GEOMETRY)
    tree = [layout.page_offset(1, 0), layout.page_offset(1, 1), layout.page_offset(2, 0)]
    book = Book.continue_from(path, GEOMETRY, SOURCE)
    book.mark({3: [0], 200: [0]})
    new = {w: page_with(e0=digest_of(b"b")) for w in (3, 200)}
    book.record(new)
    unsettled = Path(path).read_bytes()
    kept = Path(journal_path(path)).read_bytes()
    book.settle("chain-2")
    cut = bytearray(Path(path).read_bytes())
    for number, at in enumerate(tree):
        if lost >> number & 1:
            cut[at : at + PAGE_BYTES] = old[at : at + PAGE_BYTES]
    cut[: 2 * PAGE_BYTES] = unsettled[: 2 * PAGE_BYTES]
    Path(path).write_bytes(cut)
    if journal:
        Path(journal_path(path)).write_bytes(kept)

    book = Book.continue_from(path, GEOMETRY, SOURCE)
    for window, page in new.items():
        assert book.page(window) in (page, UNKNOWN * ENTRIES_PER_PAGE)
    doubtful = book.doubtful_windows()
    book.mark({w: range(ENTRIES_PER_PAGE) for w in doubtful})
    book.record({w: new[w] for w in doubtful})
    root = book.settle("chain-2")

    listed = DigestList.open(path)
    assert root == whole_root(listed)
    listed.close()


@pytest.mark.parametrize("content", [b"", b"HFDIGEST", b"x" * 9000], ids=["empty", "short", "foreign"])
def test_what_is_not_a_list_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list"
    path.write_bytes(content)

    with pytest.raises(ListDamaged):
        DigestList.open(str(path))


def test_journal_stops_at_a_torn_record_and_goes_on_from_there(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    journal = Journal(path, 100, "id", 1)
    journal.start(SOURCE)
    journal.finish([1, 2, 3])
    journal.finish([9])
    journal.close()
    with open(path, "r+b") as file:
        file.truncate(Path(path).stat().st_size - 3)

    again = Journal(path, 100, "id", 1)
    assert sorted(again.done) == [1, 2, 3]
    assert again.start(SOURCE)
    again.finish([50])
    again.close()

    third = Journal(path, 100, "id", 1)
    assert sorted(third.done) == [1, 2, 3, 50]
    third.close()


def test_journal_of_another_generation_is_void(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    journal = Journal(path, 100, "id", 1)
    journal.start(SOURCE)
    journal.finish([1])
    journal.close()

    later = Journal(path, 100, "id", 2)

    assert not later.found
    assert list(later.touched) == []
    later.close()


def test_grown_and_shrunk_disks_keep_their_entries_but_doubt_their_tails_and_what_is_new(tmp_path: Path) -> None:
    small = Geometry(10 * 65536 + 5)
    path = str(tmp_path / "list")
    book = Book.begin(path, small, SOURCE)
    book.record({0: page_with(**{f"e{n}": digest_of(bytes([n])) for n in range(11)})})
    book.settle(None)

    grown = Book.continue_from(path, Geometry(40 * 65536), SOURCE)
    page = grown.page(0)
    assert page[: 10 * ENTRY_BYTES] == b"".join(digest_of(bytes([n])) for n in range(10))
    assert page[10 * ENTRY_BYTES : 11 * ENTRY_BYTES] == UNKNOWN
    assert page[10 * ENTRY_BYTES : 40 * ENTRY_BYTES] == UNKNOWN * 30
    assert page[40 * ENTRY_BYTES :] == bytes(PAGE_BYTES - 40 * ENTRY_BYTES)
    grown.abandon()
    shrunk = Book.continue_from(path, Geometry(4 * 65536 + 9), SOURCE)

    page = shrunk.page(0)
    assert page[: 4 * ENTRY_BYTES] == b"".join(digest_of(bytes([n])) for n in range(4))
    assert page[4 * ENTRY_BYTES : 5 * ENTRY_BYTES] == UNKNOWN
    assert page[5 * ENTRY_BYTES :] == bytes(PAGE_BYTES - 5 * ENTRY_BYTES)
    shrunk.abandon()


def test_list_of_one_tib_is_sparse_and_within_300_mb(tmp_path: Path) -> None:
    path = str(tmp_path / "list")
    book = Book.begin(path, Geometry(1 << 40), SOURCE)
    book.record({60000: page_with(e0=digest_of(b"far"))})
    book.settle(None)

    status = Path(path).stat()

    assert status.st_size <= 300_000_000
    assert status.st_blocks * 512 < 100_000


def test_bytes_written_to_a_list_stay_within_twice_its_touched_pages(tmp_path: Path) -> None:
    pages = {w: page_with(e0=digest_of(bytes([w % 256]))) for w in range(300)}
    path = made(tmp_path, pages)
    book = Book.continue_from(path, GEOMETRY, SOURCE)
    touched = range(0, 300, 2)
    book.mark({w: [0] for w in touched})
    book.record({w: page_with(e0=digest_of(b"new")) for w in touched})
    book.digests.settle(book.journal.touched, None)

    tree_pages = 4
    assert book.digests.written_bytes <= 2 * len(touched) * PAGE_BYTES + tree_pages * PAGE_BYTES
    book.abandon()


def test_changed_extents_name_zeroed_chunks_as_zero_and_clip_the_tail() -> None:
    geometry = Geometry(3 * 65536 + 10)
    old = page_with(e0=digest_of(b"a"), e1=digest_of(b"b"), e3=digest_of(b"c"))
    new = page_with(e0=digest_of(b"a"), e3=digest_of(b"d"))

    assert changed_chunks(old, new) == [1, 3]
    assert changed_extents(geometry, [(0, old, new)]) == [
        Extent(65536, 131072, Kind.ZERO),
        Extent(3 * 65536, 3 * 65536 + 10),
    ]


def test_sample_holds_ends_and_zeroed_chunks_and_repeats_with_its_seed() -> None:
    sample = sampled_chunks(100_000, range(500, 600), seed=7)

    assert len(sample) == 1000
    assert {0, 99_999} <= set(sample)
    assert set(sample) & set(range(500, 600))
    assert sample == sampled_chunks(100_000, range(500, 600), seed=7)
    assert sampled_chunks(10, (), seed=1) == list(range(10))
