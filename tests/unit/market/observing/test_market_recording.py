"""What is written down of markets: once, quietly, with what everybody said beside the end of a streak."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, text

from holdfast.core.clock import ManualClock
from holdfast.market.deciding.candidates import Place
from holdfast.market.deciding.context import ContextStates
from holdfast.market.deciding.decision import Action, Moment, NodeWishes, decide
from holdfast.market.deciding.signals import EVICTION_BAND, PLACEMENT_SCORE
from holdfast.market.deciding.sizes import PriceBook, Qualified, Quota, Size
from holdfast.market.deciding.state import MarketStates
from holdfast.market.observing.contexts import context_now
from holdfast.market.observing.folding import Kind
from holdfast.market.observing.loading import blocks_now, candidates_of, load_seen
from holdfast.market.observing.measuring import measured_signals
from holdfast.market.observing.purging import purge
from holdfast.market.observing.recording import (
    Market,
    heard,
    heard_of_size,
    inside,
    launch_answered,
    looked,
    machines_live,
    prices_seen,
)
from holdfast.market.observing.tables import EndRow, LookRow, MarketRow, PriceRow, WordRow
from holdfast.store import Base, Database

D4 = Market("lab", "westeurope", "Standard_D4s_v5", "1", True)
D4_ZONE_2 = Market("lab", "westeurope", "Standard_D4s_v5", "2", True)


@dataclass(frozen=True)
class Told:
    """A price as a cloud tells it."""

    size: str
    os: str
    spot: bool
    usd_per_hour: float
    read_at: object


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/home.db", durable=False)
    Base.metadata.create_all(opened.engine)
    yield opened
    opened.close()


def count(database: Database, table: type[Base]) -> int:
    with database.read() as session:
        return int(session.scalar(select(func.count()).select_from(table)) or 0)


def held(database: Database, clock: ManualClock, hours: float) -> None:
    """A machine lives on in D4 zone 1, and a watch looks each quarter of a minute as the clock has it."""
    for _ in range(round(hours * 12)):
        clock.advance(300)
        with database.write() as session:
            machines_live(session, [D4], clock.now())


def test_repeated_step_records_its_answer_once(database: Database, clock: ManualClock):
    for _ in range(3):
        launch_answered(database, D4, clock.now(), "op-1/launch#0", "AllocationFailed")
        clock.advance(1)
    launch_answered(database, D4, clock.now(), "op-1/launch#1")
    launch_answered(database, D4, clock.now(), "op-1/launch#1")

    with database.read() as session:
        looks = session.execute(select(LookRow.answered, LookRow.code).order_by(LookRow.id)).all()
    assert looks == [(False, "AllocationFailed"), (True, None)]


def test_market_is_one_however_it_is_written(database: Database, clock: ManualClock):
    launch_answered(database, D4, clock.now(), "a")
    launch_answered(database, Market("lab", "westeurope", "standard_d4S_V5", "1", True), clock.now(), "b")

    assert count(database, MarketRow) == 1


@pytest.mark.parametrize(
    ("code", "spot", "answered"),
    [
        ("SkuNotAvailable", True, False),
        ("SkuNotAvailable", False, False),
        ("AllocationFailed", True, False),
        ("ZonalAllocationFailed", True, False),
        ("OverconstrainedAllocationRequest", True, False),
        ("QuotaExceeded", True, None),
        ("OperationNotAllowed", False, None),
        ("SpotPriceGreaterThanProvidedMaxPrice", True, None),
        ("SomethingNew", True, None),
        (None, True, True),
    ],
)
def test_only_answers_about_capacity_are_answers_of_the_market(
    database: Database, clock: ManualClock, code: str | None, spot: bool, answered: bool | None
):
    launch_answered(database, Market("lab", "westeurope", "D4", None, spot), clock.now(), "op/launch#0", code)

    with database.read() as session:
        look = session.scalars(select(LookRow)).one()
        assert (look.answered, look.code) == (answered, code)


def test_failure_to_record_is_logged_and_fails_nobody(
    database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
):
    with database.write() as session:
        session.execute(text("drop table market_looks"))

    with caplog.at_level(logging.ERROR, logger="holdfast.market"):
        launch_answered(database, D4, clock.now(), "op-1/launch#0")
        prices_seen(database, "lab", "westeurope", [object()])  # type: ignore[list-item]

    assert [record.message for record in caplog.records] == [
        f"not recorded: the answer of {D4.key}",
        "not recorded: the prices of westeurope",
    ]


def test_failure_to_record_within_a_transaction_leaves_the_rest_of_it(
    database: Database, clock: ManualClock, caplog: pytest.LogCaptureFixture
):
    def half(session: object) -> None:
        looked(session, D4_ZONE_2, Kind.PROBE, clock.now(), True)  # type: ignore[arg-type]
        raise RuntimeError("in the middle")

    with database.write() as session:
        looked(session, D4, Kind.PROBE, clock.now(), True)
        inside(session, "a half", half)

    with database.read() as session:
        assert session.scalars(select(MarketRow.key)).all() == [D4.key]
    assert "not recorded: a half" in caplog.text


def test_machine_that_lives_for_a_day_is_a_row_an_hour_and_a_day_of_exposure(database: Database, clock: ManualClock):
    launch_answered(database, D4, clock.now(), "op-1/launch#0")
    held(database, clock, 24)

    assert count(database, LookRow) in (25, 26)
    with database.read() as session:
        seen = load_seen(session, [D4], clock.now())
    assert seen.states.exposure_h.sum() == pytest.approx(24.0)
    assert seen.states.age_min[0] == pytest.approx(24 * 60)
    assert seen.answers == (True,)


def test_watch_that_looks_more_often_than_a_probe_writes_nothing_between(database: Database, clock: ManualClock):
    held(database, clock, 1)
    with database.read() as session:
        before = session.scalars(select(MarketRow.state)).all()
    for _ in range(19):
        clock.advance(15)
        with database.write() as session:
            machines_live(session, [D4], clock.now())

    with database.read() as session:
        assert session.scalars(select(MarketRow.state)).all() == before


def test_what_everybody_said_stands_beside_an_eviction(database: Database, clock: ManualClock):
    prices_seen(database, "lab", "West Europe", [Told("Standard_D4s_v5", "Linux", True, 0.046, clock.now())])
    launch_answered(database, D4, clock.now(), "op-1/launch#0")
    held(database, clock, 5)
    with database.write() as session:
        heard(session, D4, PLACEMENT_SCORE, "Low", clock.now())
        heard_of_size(session, "lab", "westeurope", "standard_d4s_v5", EVICTION_BAND, "15-20", clock.now())
    clock.advance(60)
    with database.write() as session:
        looked(session, D4, Kind.EVICTION, clock.now(), False, reason="capacity", noticed_s=30)

    with database.read() as session:
        end = session.scalars(select(EndRow)).one()
        assert (end.kind, end.reason, end.noticed_s) == ("eviction", "capacity", 30)
        assert end.age_min == pytest.approx(301)
        assert (end.placement_score, end.eviction_band, end.capacity_answered) == ("Low", "15-20", True)
        assert end.usd_per_hour == 0.046


def test_end_of_a_streak_is_written_without_an_eviction_too(database: Database, clock: ManualClock):
    with database.write() as session:
        for answer in (True, True, False, False):
            looked(session, D4, Kind.PROBE, clock.now(), answer)
            clock.advance(300)

    with database.read() as session:
        ends = session.execute(select(EndRow.kind, EndRow.age_min)).all()
    assert ends == [("streak", 10.0)]


def test_prices_are_written_when_they_change_only(database: Database, clock: ManualClock):
    def read(price: float) -> None:
        prices_seen(database, "lab", "westeurope", [Told("D4", "Linux", True, price, clock.now())])
        clock.advance(3600)

    for price in (0.05, 0.05, 0.06, 0.06, 0.05):
        read(price)

    with database.read() as session:
        assert session.scalars(select(PriceRow.usd_per_hour).order_by(PriceRow.at)).all() == [0.05, 0.06, 0.05]


def test_error_rates_are_measured_from_words_beside_outcomes(database: Database, clock: ManualClock):
    """A score that says High before every hour that lasts, and Low before every hour that does not."""
    for number in range(60):
        lasts = number % 2 == 0
        with database.write() as session:
            looked(session, D4, Kind.PROBE, clock.now(), True)
            heard(session, D4, PLACEMENT_SCORE, "High" if lasts else "Low", clock.now())
            heard(session, D4, EVICTION_BAND, "0-5", clock.now())
        for minutes in range(15, 76, 15):
            clock.advance(900)
            with database.write() as session:
                looked(session, D4, Kind.PROBE, clock.now(), lasts or minutes < 45)
        clock.advance(900)
        with database.write() as session:
            looked(session, D4, Kind.PROBE, clock.now(), False)
        clock.advance(900)

    with database.read() as session:
        score, band, _ = measured_signals(session)

    told = score.to_json()
    assert (told["judged"], told["said_stays_dropped"], told["said_drops_stayed"]) == (60, 0, 0)
    assert told["earned"]
    assert told["error_rate"] < 0.2
    assert band.to_json()["error_rate"] == pytest.approx(0.5)  # it always says the same
    assert not band.score.earned


def test_capacity_answers_alone_never_earn_their_use_because_age_is_made_of_them(
    database: Database, clock: ManualClock
):
    """Probes of a market that comes and goes: each answer says what age says already."""
    for number in range(600):
        with database.write() as session:
            looked(session, D4, Kind.PROBE, clock.now(), number % 40 < 30)
        clock.advance(300)

    with database.read() as session:
        answers = measured_signals(session)[2]
    told = answers.to_json()
    assert told["judged"] > 20
    assert told["said_drops_dropped"] + told["said_drops_stayed"] == 0
    assert told["error_rate"] == pytest.approx(0.5)


def test_refusal_beside_a_machine_of_ours_is_judged_by_the_machines_fate(database: Database, clock: ManualClock):
    """Refused, then evicted within the hour; refused again later, and the machine lives on."""
    held(database, clock, 5)
    launch_answered(database, D4, clock.now(), "op-1/launch#0", "AllocationFailed")
    clock.advance(1200)
    with database.write() as session:
        looked(session, D4, Kind.EVICTION, clock.now(), False)
    clock.advance(7200)
    launch_answered(database, D4, clock.now(), "op-2/launch#0")
    held(database, clock, 5)
    launch_answered(database, D4, clock.now(), "op-3/launch#0", "AllocationFailed")
    clock.advance(60)
    launch_answered(database, D4, clock.now(), "op-3/launch#1", "AllocationFailed")
    held(database, clock, 3)

    with database.read() as session:
        told = measured_signals(session)[2].to_json()
    assert (told["said_drops_dropped"], told["said_drops_stayed"]) == (1, 1)
    assert (told["said_stays_dropped"], told["said_stays_stayed"]) == (0, 1)


def test_word_about_a_market_that_nobody_watched_afterwards_is_not_judged(database: Database, clock: ManualClock):
    with database.write() as session:
        looked(session, D4, Kind.PROBE, clock.now(), True)
        heard(session, D4, PLACEMENT_SCORE, "High", clock.now())
        clock.advance(timedelta(days=3))
        looked(session, D4, Kind.PROBE, clock.now(), True)

    with database.read() as session:
        score = measured_signals(session)[0]
    assert (score.words, score.to_json()["judged"]) == (1, 0)


def test_earned_signal_becomes_the_forecast_of_a_decision(database: Database, clock: ManualClock):
    test_error_rates_are_measured_from_words_beside_outcomes(database, clock)
    with database.write() as session:
        looked(session, D4, Kind.PROBE, clock.now(), True)
        heard(session, D4, PLACEMENT_SCORE, "Low", clock.now())

    with database.read() as session:
        seen = load_seen(session, [D4_ZONE_2, D4], clock.now())
        forecast = seen.forecast(measured_signals(session))

    assert forecast is not None
    assert forecast.stays.tolist() == [-1, 0]
    assert seen.bands[1] == "0-5"


def test_refusals_forbid_what_the_page_says_while_they_last(database: Database, clock: ManualClock):
    launch_answered(database, D4, clock.now(), "op-1/launch#0", "AllocationFailed")
    launch_answered(database, D4_ZONE_2, clock.now(), "op-1/launch#1", "QuotaExceeded")

    def blocked(after: timedelta) -> list[str]:
        with database.read() as session:
            return [block.reason for block in blocks_now(session, "lab", "westeurope", [], clock.now() + after)]

    assert blocked(timedelta(minutes=9)) == ["AllocationFailed", "QuotaExceeded"]
    assert blocked(timedelta(minutes=11)) == ["AllocationFailed"]
    assert blocked(timedelta(minutes=61)) == []


def test_decision_is_made_from_what_was_recorded(database: Database, clock: ManualClock):
    """Held for two days: worth the move. Refused a short while ago: left alone, and its family with it. No quota: not
    ordered. Never asked: does not answer."""
    d4, d8, e4 = (Size(f"Standard_{n}s_v5", "f" + n[0], "westeurope", capabilities={"vCPUs": n[1]})
                  for n in ("D4", "D8", "E4"))  # fmt: skip
    markets = [replace(D4, size=size.name, zone=zone) for size in (d4, d8, e4) for zone in ("1", "2")]
    held(database, clock, 48)
    launch_answered(database, markets[1], clock.now(), "op-1/launch#0", "ZonalAllocationFailed")
    prices = PriceBook({s.name.lower(): 0.04 for s in (d4, d8, e4)}, {d4.name.lower(): 0.2})

    with database.read() as session:
        seen = load_seen(session, markets, clock.now())
        blocks = blocks_now(session, "lab", "westeurope", [d4, d8, e4], clock.now())
    qualified = [Qualified(size, ("1", "2"), False, False, ()) for size in (d4, d8, e4)]
    candidates = candidates_of(markets, qualified, seen, prices, Quota(spot_free=6), blocks, clock.now())
    wishes = NodeWishes(Place(d4.name, priority="on-demand"), 0.2)
    decision = decide(Moment.ON_DEMAND, candidates, seen.states, wishes)

    assert decision.action is Action.MOVE
    assert decision.chosen == Place(d4.name, "1")
    verdicts = {(w.place.size, w.place.zone): w.verdict.value for w in decision.weighed}
    assert verdicts == {
        (d4.name, "1"): "chosen",
        (d4.name, "2"): "blocked",
        (d8.name, "1"): "no-headroom",
        (d8.name, "2"): "blocked",
        (e4.name, "1"): "does-not-answer",
        (e4.name, "2"): "does-not-answer",
    }


def test_context_of_the_last_day_is_put_together_again_from_the_history(database: Database, clock: ManualClock):
    """Three markets probed each five minutes for 30 hours: what a replay would have kept in memory comes back."""
    rng = np.random.default_rng(4)
    markets = [D4, D4_ZONE_2, replace(D4, zone="3")]
    up = np.array([True, True, True])
    states = MarketStates.unseen(3)
    told: list[tuple[np.ndarray, np.ndarray]] = []
    with database.write() as session:
        for _ in range(360):
            up = up ^ (rng.random(3) < 0.03)
            states.observe(up, 5.0)
            told.append((up.copy(), states.age_min.copy()))
            for market, answer in zip(markets, up, strict=True):
                looked(session, market, Kind.PROBE, clock.now(), bool(answer))
            last = clock.now()
            clock.advance(300)
    kept = ContextStates(["lab/westeurope"] * 3, 5.0)
    for answers, ages in told[-288:]:
        kept.observe(answers, ages)

    with database.read() as session:
        found = context_now(session, [*markets, replace(D4, zone="4")], last)
        later = context_now(session, markets, last + timedelta(hours=3))

    assert found[:3] == pytest.approx(kept.per_hour)
    assert (kept.per_hour > 0).all()
    assert found[3] == 0.0  # nobody asked it
    assert later.tolist() == [0.0, 0.0, 0.0]  # nobody has asked for hours


def test_purge_keeps_a_market_of_which_somebody_has_spoken_lately(database: Database, clock: ManualClock) -> None:
    with database.write() as session:
        heard(session, D4, PLACEMENT_SCORE, "High", clock.now())

    with database.write() as session:
        purge(session, clock.now() - timedelta(days=5))

    assert [count(database, table) for table in (MarketRow, WordRow)] == [1, 1]


def test_purge_forgets_by_age_and_keeps_the_price_that_still_holds(database: Database, clock: ManualClock):
    prices_seen(database, "lab", "westeurope", [Told("D4", "Linux", True, 0.05, clock.now())])
    prices_seen(database, "lab", "westeurope", [Told("D4", "Linux", True, 0.06, clock.now())])
    with database.write() as session:
        looked(session, D4, Kind.PROBE, clock.now(), True)
        looked(session, D4, Kind.PROBE, clock.now() + timedelta(minutes=5), False)
        heard(session, D4, PLACEMENT_SCORE, "High", clock.now())
    clock.advance(timedelta(days=10))
    with database.write() as session:
        looked(session, D4_ZONE_2, Kind.PROBE, clock.now(), True)

    with database.write() as session:
        purge(session, clock.now() - timedelta(days=5))

    assert [count(database, t) for t in (LookRow, WordRow, EndRow, MarketRow)] == [1, 1, 0, 1]
    with database.read() as session:
        assert session.scalars(select(PriceRow.usd_per_hour)).all() == [0.06]
