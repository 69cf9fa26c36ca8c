"""What imports and watches saw of markets, over HTTP: recorded once, exported, and replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from holdfast.cli.market import HistoryWish, MarketSources, app
from holdfast.clouds.errors import QuotaExceeded
from holdfast.clouds.protocols import Power, Price
from holdfast.core.clock import format_utc
from holdfast.market.observing.tables import EndRow, LookRow, MarketRow, PriceRow
from unit.api.api_rig import ApiRig, api_rigs


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


def priced(rig: ApiRig, spot: float = 0.04, regular: float = 0.2) -> None:
    now = rig.clock.now()
    rig.cloud.price_list = [
        Price(size, system, is_spot, spot if is_spot else regular, now)
        for size in rig_sizes(rig)
        for system in ("Linux", "Windows")
        for is_spot in (True, False)
    ]


def rig_sizes(rig: ApiRig) -> list[str]:
    return [str(sku["name"]) for sku in rig.cloud.sizes(rig.cloud.location)]


def history(rig: ApiRig, **wanted: str) -> list[dict[str, Any]]:
    answer = rig.client.get("/v1/market/history", params=wanted)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


def looks(rig: ApiRig) -> list[tuple[str, bool, str, bool | None, str | None]]:
    with rig.database.read() as session:
        query = (
            select(MarketRow.size, MarketRow.spot, LookRow.kind, LookRow.answered, LookRow.code)
            .join(MarketRow, MarketRow.id == LookRow.market)
            .order_by(LookRow.id)
        )
        return [tuple(row) for row in session.execute(query)]  # type: ignore[misc]


def rows_of(rig: ApiRig, table: Any) -> int:
    with rig.database.read() as session:
        return int(session.scalar(select(func.count()).select_from(table)) or 0)


def test_every_market_that_a_launch_asked_is_recorded_with_its_answer(rig: ApiRig):
    machine = rig.cloud.add_machine()
    own = rig.cloud.describe(machine).machine.get("properties.hardwareProfile.vmSize")
    first = rig.start()
    markets = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()["markets"]
    rig.cloud.capacity_out = {(markets[0]["size"].lower(), "spot")}

    rig.run(first["operation"])

    seen = looks(rig)
    assert (markets[0]["size"], True, "launch", False, "AllocationFailed") == seen[0]
    assert seen[-1][2:] == ("launch", True, None)
    assert own is not None


def test_refusal_for_quota_is_recorded_and_is_no_answer_about_capacity(rig: ApiRig):
    rig.cloud.add_machine()
    started = rig.start()
    refusal = QuotaExceeded(cloud_code="OperationNotAllowed", message="no cores left")
    rig.cloud.fail("ensure", refusal, about="virtualmachines", times=1)

    rig.run(started["operation"])

    assert looks(rig)[0][2:] == ("launch", None, "OperationNotAllowed")


def test_import_goes_on_where_nothing_can_be_recorded(rig: ApiRig, caplog: pytest.LogCaptureFixture):
    rig.cloud.add_machine()
    with rig.database.engine.begin() as connection:
        connection.exec_driver_sql("drop table market_looks")

    assert rig.imported()["state"] == "imported"
    rig.engine.advance(20)

    assert "not recorded" in caplog.text
    (node,) = rig.client.get("/v1/nodes").json()
    assert node["state"] == "active"


def test_plan_records_prices_it_has_read_and_nothing_else(rig: ApiRig):
    rig.cloud.add_machine()
    priced(rig)

    for _ in range(2):
        assert rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).status_code == 200

    assert rows_of(rig, PriceRow) == len(rig.cloud.price_list)
    assert rows_of(rig, MarketRow) == rows_of(rig, LookRow) == 0


def test_eviction_is_recorded_once_with_its_age(rig: ApiRig):
    rig.cloud.add_machine()
    priced(rig)
    rig.imported()
    for _ in range(6):
        rig.engine.advance(600)
    rig.cloud.set_power(rig.client.get("/v1/nodes").json()[0]["machine"], Power.DEALLOCATED)

    for _ in range(3):
        rig.engine.advance(20)

    with rig.database.read() as session:
        end = session.scalars(select(EndRow)).one()
    assert end.kind == "eviction"
    assert 59 <= end.age_min <= 63
    assert end.capacity_answered is True
    assert [row for row in looks(rig) if row[2] == "eviction"] == [(*looks(rig)[-1][:2], "eviction", False, None)]


def test_recorded_history_is_replayed(rig: ApiRig, tmp_path: Path):
    """Record, export as a user would, replay: prices, an eviction and a forecast column come through."""
    rig.cloud.add_machine()
    priced(rig)
    rig.imported()
    (node,) = rig.client.get("/v1/nodes").json()
    words = [{"region": node["region"], "size": node["size"], "signal": "placement-score", "said": "High"}]
    for _ in range(30):
        rig.engine.advance(600)
        if words:
            told = rig.client.post("/v1/market/words", json={"cloud": "lab", "words": words})
            assert told.json() == {"noted": 1}
    rig.cloud.set_power(node["machine"], Power.DEALLOCATED)
    rig.engine.advance(20)
    rig.cloud.set_power(node["machine"], Power.RUNNING)
    for _ in range(30):
        rig.engine.advance(600)

    def wanted(wish: HistoryWish) -> list[dict[str, Any]]:
        return history(rig, **{k: v for k, v in vars(wish).items() if v is not None})

    def nothing(*_: object) -> Any:
        raise AssertionError("is not asked")

    sources = MarketSources(machine=nothing, sizes=nothing, prices=nothing, history=wanted)
    runner = CliRunner(env={"COLUMNS": "200"})
    for name in ("history.csv", "history.json"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        exported = runner.invoke(app, ["export-history", "--out", str(folder / name)], obj=sources)
        assert exported.exit_code == 0, exported.output
        result = runner.invoke(
            app,
            ["replay", "--traces", str(folder), "--policy", "p5", "--policy", "documented", "--json",
             "--forecast", "placement-score"],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        (pool,) = told["pools"]
        assert 600 <= pool["minutes"] <= 640
        assert pool["policies"]["documented"]["evictions"] > 0
        assert told["oracle"]["j"] < told["policies"]["documented"]["j"]
        assert told["below_oracle"] == []
    rows = history(rig)
    assert {row["price"] for row in rows} == {0.2}
    assert {row["placement-score"] for row in rows} >= {1}


def test_history_is_cut_by_time_and_region(rig: ApiRig):
    rig.cloud.add_machine()
    priced(rig)
    rig.imported()
    began = rig.clock.now()
    for _ in range(24):
        rig.engine.advance(3600)

    everything = history(rig)
    assert len(history(rig, region="elsewhere")) == 0
    assert len(history(rig, region=everything[0]["region"].upper())) == len(everything)
    part = history(rig, since="12h", until="6h")
    assert 6 <= len(part) <= 8
    assert part[0]["time"].startswith((rig.clock.now().replace(microsecond=0)).strftime("%Y-%m-"))
    assert history(rig, until=began.strftime("%Y-%m-%dT%H:%M:%SZ"))[0] == everything[0]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-99-99"}, "since"),
        ({"until": "2026-01-01T00:00:00"}, "until"),
        ({"since": "1h", "until": "2h"}, "since"),
        ({"os": "beos"}, "os"),
    ],
)
def test_wish_that_cannot_be_read_is_refused_by_field(rig: ApiRig, asked: dict[str, str], field: str):
    answer = rig.client.get("/v1/market/history", params=asked)

    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["field"]) == ("input.invalid", field)


def test_token_that_is_limited_to_other_clouds_sees_no_history_and_tells_no_words(rig: ApiRig):
    rig.cloud.add_machine()
    rig.imported()
    stranger = rig.token("stranger", "operator", ["other"])

    assert stranger.get("/v1/market/history").json()["rows"] == []
    assert stranger.get("/v1/market/history", params={"cloud": "lab"}).status_code == 403
    assert [one["words"] for one in stranger.get("/v1/market/signals").json()] == [0, 0, 0]
    assert stranger.post("/v1/market/words", json={"cloud": "lab", "words": []}).status_code == 403
    viewer = rig.token("viewer", "viewer")
    assert viewer.post("/v1/market/words", json={"cloud": "lab", "words": []}).status_code == 403


def test_price_that_nobody_knows_is_empty_and_never_nought(rig: ApiRig):
    rig.cloud.add_machine()
    rig.imported()

    assert {row["price"] for row in history(rig)} == {""}


def test_history_older_than_four_hundred_days_is_purged_by_the_server_itself(rig: ApiRig):
    rig.cloud.add_machine()
    rig.imported()
    began = rig.clock.now()
    rig.engine.advance(20)
    assert history(rig)[0]["time"] < format_utc(began)

    rig.engine.advance(401 * 86400)
    rig.engine.advance(86400)

    rows = history(rig)
    assert rows
    assert all(row["time"] > format_utc(began) for row in rows)
