"""Traces and histories become pools: sampling, prices by the rule of the price files, and the way back out."""

from __future__ import annotations

import io
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.replay.generating import generate_pool
from holdfast.market.deciding.replay.pool import region_of
from holdfast.market.deciding.sizes.prices import read_price_book
from holdfast.market.observing.grids import minute_availability
from holdfast.market.observing.history import pools_of_history, read_rows, rows_of_pool, write_csv, write_json
from holdfast.market.observing.pools import find_pools, pools_from_file
from holdfast.market.observing.retail_prices import PricesUnreadable, fetch_price_book


@pytest.mark.parametrize(
    ("market", "region"),
    [("us-west-2a_v100_1", "us-west-2"), ("us-central1-b_v100_1", "us-central1"), ("lab_d4", "lab"), ("1_d4", "1")],
)
def test_a_markets_region_is_its_zone_without_the_letter(market: str, region: str):
    assert region_of(market) == region


def trace(folder: Path, name: str, data: list[int], gap: float = 600) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"metadata": {"gap_seconds": gap}, "data": data}))


def price_file(traces: Path, region: str, kind: str, events: list[tuple[str, str, str]]) -> None:
    folder = traces / "prices" / "history" / region
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {
            "AvailabilityZone": z,
            "InstanceType": kind,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": p,
            "Timestamp": t,
        }
        for t, z, p in reversed(events)
    ]
    (folder / f"{kind}.json").write_text(json.dumps({"SpotPriceHistory": entries}))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3600), st.booleans()), min_size=1, max_size=60))
def test_a_sample_holds_until_the_next_and_a_minute_is_up_only_if_all_its_samples_are(drawn):
    samples = sorted(drawn, key=lambda s: s[0])
    grid = minute_availability(np.array([float(t) for t, _ in samples]), np.array([up for _, up in samples]), 61)

    for minute in range(61):
        inside = [up for t, up in samples if minute * 60 <= t < minute * 60 + 60]
        before = [t // 60 for t, _ in samples if t < minute * 60]
        if inside:
            expected = all(inside)
        elif before:
            expected = all(up for t, up in samples if t // 60 == max(before))
        else:
            expected = False
        assert grid[minute] == expected


def test_prices_start_together_at_the_files_earliest_event_and_repeat(tmp_path: Path):
    trace(tmp_path / "availability" / "c", "west-1a_k80_1", [1] * 24 * 6)
    price_file(
        tmp_path,
        "west-1",
        "p2.xlarge",
        [
            ("2020-01-01T00:00:00Z", "west-1b", "0.09"),
            ("2020-01-01T01:00:00Z", "west-1a", "0.18"),  # holds before its time too
            ("2020-01-01T02:00:00Z", "west-1a", "0.27"),
            ("2020-01-01T10:00:00Z", "west-1b", "0.09"),
        ],
    )

    [pool] = find_pools(tmp_path)

    assert pool.name == "c west-1"
    assert pool.minutes == 1440
    assert pool.price[[0, 60, 119, 120, 599], 0] == pytest.approx([0.2, 0.2, 0.2, 0.3, 0.3])
    assert pool.price[[600, 719, 720], 0] == pytest.approx([0.2, 0.2, 0.3])  # ten hours later from the start


def test_a_zone_at_on_demand_or_without_history_takes_the_mean_of_the_others(tmp_path: Path):
    for zone in "abcd":
        trace(tmp_path / "availability" / "c", f"west-1{zone}_k80_1", [1] * 6)
    price_file(
        tmp_path,
        "west-1",
        "p2.xlarge",
        [
            ("2020-01-01T00:00:00Z", "west-1a", "0.18"),
            ("2020-01-01T00:00:00Z", "west-1b", "0.36"),
            ("2020-01-01T00:00:00Z", "west-1c", "0.90"),
            ("2020-01-02T00:00:00Z", "west-1c", "0.90"),
        ],
    )

    [pool] = find_pools(tmp_path)

    assert pool.price[0] == pytest.approx([0.2, 0.4, 0.3, 0.3])


def test_pools_of_a_file_are_cut_to_days_and_may_have_a_constant_price(tmp_path: Path):
    trace(tmp_path, "west-1a_x_1", [1, 0] * 216)
    entries = [{"name": "two", "series": ["west-1a_x_1.json"], "from_day": 1, "to_day": 2.5, "price": 0.4}]

    [pool] = pools_from_file(json.dumps(entries), tmp_path)

    assert (pool.name, pool.minutes) == ("two", 2160)
    assert set(pool.price.ravel()) == {0.4}
    assert list(pool.available[:11, 0]) == [1] * 10 + [0]


@pytest.mark.parametrize(
    "entry",
    [
        {"series": []},
        {"series": ["absent.json"]},
        {"series": ["west-1a_x_1.json"]},  # no price
        {"series": ["west-1a_x_1.json"], "price": -1},
        {"series": ["west-1a_x_1.json"], "price": 0.3, "from_day": 9},
        {"series": ["west-1a_x_1.json"], "price": 0.3, "to_days": 9},
    ],
    ids=str,
)
def test_a_pool_that_cannot_be_made_is_refused_by_name(tmp_path: Path, entry: dict[str, object]):
    trace(tmp_path, "west-1a_x_1", [1] * 144)

    with pytest.raises(InvalidInput):
        pools_from_file(json.dumps([entry]), tmp_path)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_pool_written_as_history_comes_back_equal(tmp_path: Path, kind: str):
    pool = generate_pool("g", seed=2, days=3, zones=("west-1a", "west-1b"), sizes=("d4", "e4"))
    into = io.StringIO()
    (write_csv if kind == "csv" else write_json)(rows_of_pool(pool), into)
    (tmp_path / f"mine.{kind}").write_text(into.getvalue())

    [back] = find_pools(tmp_path)

    order = [back.markets.index(m) for m in pool.markets]
    assert back.name == "mine west-1"
    assert (back.available[:, order] == pool.available).all()
    assert back.price[:, order] == pytest.approx(pool.price, abs=1e-6)


def test_a_forecast_column_is_read_and_its_absence_is_said():
    rows = read_rows(
        "time,region,size,zone,available,price,score\n"
        "2026-01-01T00:00:00Z,w,d4,1,1,0.3,1\n"
        "2026-01-01T00:02:00Z,w,d4,1,1,0.3,\n"
        "2026-01-01T00:03:00Z,w,d4,1,0,0.3,0\n",
        "mine.csv",
    )

    [pool] = pools_of_history(rows, "mine", "score")

    assert pool.stays is not None
    assert list(pool.stays[:, 0]) == [1, 1, -1, 0]
    with pytest.raises(InvalidInput):
        pools_of_history(rows, "mine", "other")


def test_a_history_needs_prices_and_may_give_them_in_money():
    head = "time,available,spot_price,on_demand_price\n"

    [pool] = pools_of_history(read_rows(head + "2026-01-01T00:00:00Z,1,0.05,0.20\n", "m"), "m")

    assert pool.price[0, 0] == pytest.approx(0.25)
    with pytest.raises(InvalidInput):
        pools_of_history(read_rows(head + "2026-01-01T00:00:00Z,1,,0.20\n", "m"), "m")
    with pytest.raises(InvalidInput):
        read_rows("time,price\n", "m")


ITEM = {
    "armRegionName": "westeurope",
    "armSkuName": "Standard_D4s_v5",
    "productName": "Virtual Machines Dsv5 Series",
    "skuName": "D4s v5 Spot",
    "meterName": "D4s v5 Spot",
    "type": "Consumption",
    "retailPrice": 0.05,
    "effectiveStartDate": "2026-01-01T00:00:00Z",
}


def test_retail_meters_are_told_apart_by_priority_system_and_kind():
    items = [
        ITEM,
        {**ITEM, "skuName": "D4s v5", "meterName": "D4s v5", "retailPrice": 0.23},
        {**ITEM, "productName": "Virtual Machines Dsv5 Series Windows", "retailPrice": 0.11},
        {**ITEM, "skuName": "D4s v5 Low Priority", "meterName": "D4s v5 Low Priority", "retailPrice": 0.01},
        {**ITEM, "type": "Reservation", "retailPrice": 900},
        {**ITEM, "armRegionName": "eastus", "retailPrice": 0.02},
        {**ITEM, "armSkuName": "Standard_D8s_v5", "retailPrice": 0},
    ]

    linux = read_price_book(json.dumps({"Items": items}), "West Europe")
    windows = read_price_book(json.dumps(items), "westeurope", "windows")

    assert (linux.spot, linux.on_demand, linux.dated) == (
        {"standard_d4s_v5": 0.05},
        {"standard_d4s_v5": 0.23},
        "2026-01-01",
    )
    assert windows.spot == {"standard_d4s_v5": 0.11}


def client(*pages: dict[str, object]) -> httpx.Client:
    answers = iter(pages)
    return httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=next(answers))))


def test_prices_are_read_page_by_page():
    second = {**ITEM, "armSkuName": "Standard_D8s_v5", "retailPrice": 0.09}
    pages = ({"Items": [ITEM], "NextPageLink": "http://prices.test/next"}, {"Items": [second], "NextPageLink": None})

    book = fetch_price_book(client(*pages), "http://prices.test", "westeurope")

    assert book.spot == {"standard_d4s_v5": 0.05, "standard_d8s_v5": 0.09}


def test_a_page_that_links_to_another_host_is_not_followed():
    with pytest.raises(PricesUnreadable):
        fetch_price_book(client({"Items": [], "NextPageLink": "http://elsewhere.test/"}), "http://prices.test", "x")
    with pytest.raises(PricesUnreadable):
        fetch_price_book(client({"error": "no"}), "http://prices.test", "x")
