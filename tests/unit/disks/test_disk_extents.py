"""The extent algebra against a model of bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.disks.model.chunks import Geometry
from holdfast.disks.model.extents import (
    Extent,
    Kind,
    aligned,
    clipped,
    covering,
    difference,
    intersection,
    merged,
    total_bytes,
    union,
    windows,
)
from holdfast.disks.planning import by_window, tracked_work, window_work, zero_runs

SIZE = 400
extent = st.tuples(st.integers(0, SIZE), st.integers(0, 60)).map(lambda p: Extent(p[0], min(SIZE, p[0] + p[1])))
extent_lists = st.lists(extent, max_size=12).map(lambda es: merged(es))


def painted(extents: list[Extent]) -> set[int]:
    return {n for e in extents for n in range(e.start, e.end)}


def is_normal(extents: list[Extent]) -> bool:
    return all(e.start < e.end for e in extents) and all(
        a.end < b.start or (a.end == b.start and a.kind is not b.kind) for a, b in pairwise(extents)
    )


@given(extent_lists, extent_lists)
def test_set_operations_agree_with_sets_of_bytes(a: list[Extent], b: list[Extent]) -> None:
    for function, expected in (
        (union, painted(a) | painted(b)),
        (difference, painted(a) - painted(b)),
        (intersection, painted(a) & painted(b)),
    ):
        result = function(a, b)

        assert painted(result) == expected
        assert is_normal(result)
        assert total_bytes(result) == len(expected)


@given(extent_lists, st.integers(0, SIZE), st.integers(0, SIZE))
def test_clipping_keeps_exactly_the_bytes_inside(a: list[Extent], one: int, other: int) -> None:
    start, end = sorted((one, other))

    assert painted(clipped(a, start, end)) == {n for n in painted(a) if start <= n < end}


@given(extent_lists, st.sampled_from([1, 4, 16, 64]))
def test_aligning_grows_outward_to_whole_units_and_never_past_the_disk(a: list[Extent], unit: int) -> None:
    result = aligned(a, unit, SIZE)

    assert painted(result) == {
        n for n in range(SIZE) if any(m in painted(a) for m in range(n // unit * unit, n // unit * unit + unit))
    }
    assert is_normal(result)


@given(extent_lists)
def test_a_cover_names_every_byte_once_and_knows_its_kind(a: list[Extent]) -> None:
    cover = covering(a, 0, SIZE)

    assert [e.start for e in cover[1:]] == [e.end for e in cover[:-1]]
    assert painted([e for e in cover if e.kind is Kind.DATA]) == painted(a)
    assert sum(e.size_bytes for e in cover) == SIZE


@given(extent_lists, st.sampled_from([4, 16, 64]))
def test_window_runs_name_each_touched_window_once(a: list[Extent], unit: int) -> None:
    found = [w for first, last in windows(a, unit) for w in range(first, last)]

    assert found == sorted({n // unit for n in painted(a)})


CHUNK = 4096
BIG = Geometry(CHUNK * 700 + 100, CHUNK)
big_extent = st.tuples(st.integers(0, BIG.size_bytes), st.integers(0, CHUNK * 300)).map(
    lambda p: Extent(p[0], min(BIG.size_bytes, p[0] + p[1]))
)
big_lists = st.lists(big_extent, max_size=6).map(merged)


def chunk_set(extents: list[Extent]) -> set[int]:
    return {n for e in extents for n in range(e.start // CHUNK, -(-e.end // CHUNK))}


@given(big_lists)
def test_windows_of_a_plan_cover_exactly_the_chunks_that_hold_data(data: list[Extent]) -> None:
    works = list(window_work(data, BIG, (), lambda _w: False))

    assert [w.window for w in works] == sorted({n // 256 for n in chunk_set(data)})
    assert chunk_set([e for w in works for e in w.data]) == chunk_set(data)
    for work in works:
        start, end = BIG.window(work.window)
        assert all(start <= e.start < e.end <= end for e in work.data)


@given(big_lists, st.sets(st.integers(0, 2)))
def test_windows_of_interest_are_planned_even_without_data(data: list[Extent], also: set[int]) -> None:
    runs = [(w, w + 1) for w in sorted(also)]

    planned = [w.window for w in window_work(data, BIG, runs, lambda w: w == 1)]

    assert planned == sorted(({n // 256 for n in chunk_set(data)} | also) - {1})


@given(big_lists)
def test_zero_runs_and_data_chunks_share_the_disk_between_them(data: list[Extent]) -> None:
    zeros = chunk_set([Extent(z.start, z.end) for z in zero_runs(data, BIG)])

    assert zeros | chunk_set(data) == set(range(BIG.chunks))
    assert not zeros & chunk_set(data)


@given(st.lists(st.tuples(big_extent, st.booleans()), max_size=6), st.sets(st.integers(0, 2)))
def test_tracked_plans_look_at_every_changed_chunk_and_read_all_but_wholly_zero_ones(
    changes: list[tuple[Extent, bool]], doubtful: set[int]
) -> None:
    listed = [Extent(e.start, e.end, Kind.ZERO if zero else Kind.DATA) for e, zero in changes if e.start < e.end]
    works = list(tracked_work(listed, doubtful, BIG, lambda _w: False))

    looked_at, read = set(), set()
    for work in works:
        positions = range(256) if work.only is None else work.only
        looked_at |= {work.window * 256 + p for p in positions}
        read |= chunk_set(work.data)
    assert looked_at >= chunk_set(listed)
    assert read >= chunk_set([e for e in listed if e.kind is Kind.DATA])
    whole_zero = {
        n
        for e in merged(e for e in listed if e.kind is Kind.ZERO)
        for n in range(-(-e.start // CHUNK), BIG.chunks if e.end == BIG.size_bytes else e.end // CHUNK)
    }
    assert chunk_set(listed) - read <= whole_zero
    assert {w.window for w in works} >= doubtful


def test_by_window_splits_an_extent_that_crosses_windows() -> None:
    found = list(by_window([Extent(255 * CHUNK + 1, 257 * CHUNK)], BIG))

    assert found == [(0, [Extent(255 * CHUNK, 256 * CHUNK)]), (1, [Extent(256 * CHUNK, 257 * CHUNK)])]
