"""Measure the market engine and write docs/benchmarks/market.md.

    .venv/bin/python benchmarks/market/run.py [--traces ../shared/data/market/traces] [--out docs/benchmarks/market.md]

Without the traces (they are for evaluation only and not part of this repository) only the speeds are measured.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from holdfast.market.deciding.candidates import Candidate, Place
from holdfast.market.deciding.decision import Moment, NodeWishes, decide
from holdfast.market.deciding.policies import policy
from holdfast.market.deciding.replay.generating import generate_pool, perfect_forecast
from holdfast.market.deciding.replay.oracle import oracle
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.replay.replaying import Setting, replay_cases, replay_one
from holdfast.market.deciding.state import Forgetting, MarketStates
from holdfast.market.deciding.terms import Terms
from holdfast.market.observing.pools import pools_from_file

HERE = Path(__file__).parent
LAMBDAS = (3.0, 10.0, 30.0)
P5 = [("p5", lam) for lam in LAMBDAS]
# The reference page's figures: J of documented, hysteresis (its best patience), p3, p3-plain, oracle.
PAGE = {
    (2, 2): ("0", "30", "120", ".485 .485 .487 .487 .468", ".606 .587 .581 .580 .517", ".951 .738 .730 .735 .603"),
    (5, 5): ("0", "120", "240", ".544 .544 .539 .539 .502", ".801 .685 .666 .675 .585", "1.536 .927 .900 .912 .721"),
    (15, 15): (
        "60",
        "240",
        "",
        ".710 .652 .639 .640 .569",
        "1.339 .902 .875 .885 .717",
        "3.137 1.010 1.029 1.030 .891",
    ),
    (30, 30): (
        "120",
        "960",
        "",
        ".899 .762 .750 .752 .638",
        "1.945 .997 .979 .986 .833",
        "4.933 1.020 1.016 1.026 .943",
    ),
    (15, 5): ("60", "120", "", ".651 .616 .607 .608 .502", "1.144 .827 .815 .829 .585", "2.552 1.010 1.007 1.023 .721"),
}
NEVER = "10000000"
PAGE_P5 = {(5, 5): ".532 .650 .871", (2, 5): ".502 .595 .762", (5, 2): ".513 .622 .816", (2, 2): ".479 .560 .682"}
PAGE_J = {
    "on-demand": "1.000",
    "naive-a": "1.001",
    "naive-b": "1.001",
    "same-size": "1.952",
    "documented": ".801",
    "documented-availability": ".792",
    "p1": ".685",
    "p2a": ".761",
    "p2b": ".679",
    "p2c": ".671",
    "p3": ".666",
    "p5": ".651",
}
PAGE_RATIO = {"p3": ("1.075", "1.141", "1.250"), "p5": ("1.060", "1.112", "1.209")}
PAGE_FORECAST = {
    (60, 0.5): "1.061 1.120 1.219",
    (60, 0.2): "1.040 1.097 1.198",
    (60, 0.1): "1.026 1.082 1.189",
    (60, 0.0): "1.014 1.040 1.174",
    (180, 0.2): "1.061 1.097 1.158",
    (180, 0.1): "1.057 1.064 1.138",
    (180, 0.0): "1.047 1.020 1.069",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, default=HERE.parents[2] / "shared" / "data" / "market" / "traces")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "docs" / "benchmarks" / "market.md")
    chosen = parser.parse_args()
    parts = [heading(), speeds()]
    if (chosen.traces / "availability").is_dir():
        pools = pools_from_file((HERE / "tune_pools.json").read_text(), chosen.traces)
        optimum = {lam: oracle_j(pools, Terms(lam)) for lam in LAMBDAS}
        parts += [
            ratios(pools, optimum),
            all_policies(pools, optimum),
            grid(pools),
            others(pools),
            forecasts(pools, optimum),
        ]
    else:
        parts.append(f"The tuning set was not measured: {chosen.traces} is not here.\n")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text("\n".join(parts))
    print(chosen.out)


def heading() -> str:
    cpu = next(
        (x.split(":", 1)[1].strip() for x in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in x), "?"
    )
    return (
        "# Benchmarks: the market\n\n"
        "    .venv/bin/python benchmarks/market/run.py\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu}, Python {platform.python_version()}, numpy {np.__version__}; "
        "one process on 2 cores shared with other work: processor time is the measure.\n"
        "Tuning-set figures are evaluation only: the traces are not part of this repository. Nothing here is an\n"
        "availability or eviction history of Azure.\n"
    )


def weighted(pools: list[Pool], of: Callable[[Pool], float]) -> float:
    return sum(of(p) * p.minutes for p in pools) / sum(p.minutes for p in pools)


def oracle_j(pools: list[Pool], terms: Terms) -> float:
    return weighted(pools, lambda p: oracle(p, terms).j)


def js(pools: list[Pool], cases: list[tuple[str, float]], setting: Setting) -> list[float]:
    """J of each (policy, λ) over all pools, in one pass over the probes."""
    made = [(policy(n), setting.terms_for(policy(n), lam)) for n, lam in cases]
    outcomes = [replay_cases(p, made, setting) for p in pools]
    minutes = sum(p.minutes for p in pools)
    return [sum(o[i].j * o[i].minutes for o in outcomes) / minutes for i in range(len(cases))]


def ratios(pools: list[Pool], optimum: dict[float, float]) -> str:
    lines = ["## J/J* on the tuning set, D 5/5 (page in brackets; to be within .005)\n"]
    lines += ["| policy | λ 3 | λ 10 | λ 30 |", "|---|---|---|---|"]
    for name in ("p3", "p5"):
        found = js(pools, [(name, lam) for lam in LAMBDAS], Setting())
        cells = [
            f"{j / optimum[lam]:.4f} ({page})" for j, lam, page in zip(found, LAMBDAS, PAGE_RATIO[name], strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    oracles = zip(LAMBDAS, (".502", ".585", ".721"), strict=True)
    cells = [f"{optimum[lam]:.4f} ({page})" for lam, page in oracles]
    lines.append(f"| oracle, J (within .002) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def all_policies(pools: list[Pool], optimum: dict[float, float]) -> str:
    setting = Setting()
    cases = [(policy(n), setting.terms_for(policy(n))) for n in PAGE_J]
    outcomes = [replay_cases(p, cases, setting) for p in pools]
    minutes = sum(p.minutes for p in pools)
    lines = ["## All policies, λ 10, D 5/5, per 30 days\n"]
    lines += ["| policy | J (page) | J/J* | cost % | down min | moves | evictions |", "|---|---|---|---|---|---|---|"]
    for i, (name, page) in enumerate(PAGE_J.items()):
        own = [o[i] for o in outcomes]
        j = sum(o.j * o.minutes for o in own) / minutes
        cost, per = sum(o.cost for o in own) / minutes, 43_200 / minutes
        lines.append(
            f"| {name} | {j:.4f} ({page}) | {j / optimum[10.0]:.3f} | {100 * cost:.1f} "
            f"| {per * sum(o.downtime_min for o in own):,.0f} | {per * sum(o.moves for o in own):.0f} "
            f"| {per * sum(o.evictions for o in own):.0f} |"
        )
    return "\n".join(lines) + "\n"


def grid(pools: list[Pool]) -> str:
    names = ["documented", "p1", "p3", "p3-plain"]
    lines = ["## J of documented / hysteresis / p3 / p3-plain / oracle (second line of a cell: the page)\n"]
    lines += ["| D_u/D_p | λ 3 | λ 10 | λ 30 |", "|---|---|---|---|"]
    for (du, dp), row in PAGE.items():
        cases = [
            (f"p1:{patience or NEVER}" if name == "p1" else name, lam)
            for lam, patience in zip(LAMBDAS, row[:3], strict=True)
            for name in names
        ]
        found = js(pools, cases, Setting(Terms(10.0, du, dp)))
        cells = []
        for k, (lam, page) in enumerate(zip(LAMBDAS, row[3:], strict=True)):
            own = [*found[k * len(names) : (k + 1) * len(names)], oracle_j(pools, Terms(lam, du, dp))]
            cells.append(" / ".join(f"{x:.3f}" for x in own) + "<br>" + " / ".join(page.split()))
        lines.append(f"| {du}/{dp} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def others(pools: list[Pool]) -> str:
    """Single figures of the page: a window, seldomer probes, other costs of a failed order, other lengths of moves."""
    lines = ["## Other figures of the page (J)\n", "| what | here | page |", "|---|---|---|"]
    night = Setting(window=(120, 360))
    outcomes = [replay_cases(p, [(policy("documented"), night.terms)], night)[0] for p in pools]
    minutes = sum(p.minutes for p in pools)
    j = sum(o.j * o.minutes for o in outcomes) / minutes
    down, moves = (
        43_200 * sum(each) / minutes for each in zip(*((o.downtime_min, o.moves) for o in outcomes), strict=True)
    )
    cost = 100 * sum(o.cost for o in outcomes) / minutes
    lines.append(
        f"| documented, window 02-06 h: J, cost %, down min, moves | {j:.3f}, {cost:.1f}, {down:.0f}, {moves:.0f} "
        "| .747, 60.5, 613, 108 |"
    )
    ten = [("p3", 10.0)]
    probes = " / ".join(f"{js(pools, ten, Setting(probe_min=minutes))[0]:.3f}" for minutes in (5, 15, 30, 60))
    lines.append(f"| p3, λ 10, a probe each 5 / 15 / 30 / 60 min | {probes} | .666 / .674 / .679 / .690 |")
    failed = " / ".join(f"{js(pools, ten, Setting(failed_min=minutes))[0]:.3f}" for minutes in (0, 1, 3))
    lines.append(f"| p3, λ 10, a failed order costs 0 / 1 / 3 min | {failed} | .666 / .666 / .668 |")
    for (du, dp), page in PAGE_P5.items():
        found = " / ".join(f"{x:.3f}" for x in js(pools, P5, Setting(Terms(10.0, du, dp))))
        lines.append(f"| p5, D {du}/{dp}, λ 3 / 10 / 30 | {found} | {' / '.join(page.split())} |")
    return "\n".join(lines) + "\n"


def forecasts(pools: list[Pool], optimum: dict[float, float]) -> str:
    """An error lasts for one horizon. Drawn anew each minute, errors would help whoever waits for the draw he likes."""
    lines = ["## A forecast from outside, used as a conditional survival curve (p5, J/J* at λ 3 / 10 / 30)\n"]
    lines += ["| horizon | error rate | here | page |", "|---|---|---|---|"]
    for (horizon, error), page in PAGE_FORECAST.items():
        told = [replace(p, stays=perfect_forecast(p, horizon, error, seed=1)) for p in pools]
        setting = Setting(forecast_horizon_min=horizon, forecast_error=error)
        found = [j / optimum[lam] for j, lam in zip(js(told, P5, setting), LAMBDAS, strict=True)]
        cells = " / ".join(f"{x:.3f}" for x in found)
        lines.append(f"| {horizon} min | {error:g} | {cells} | {' / '.join(page.split())} |")
    faded = js(pools, P5, Setting(forgetting=Forgetting()))
    fading = [j / optimum[lam] for j, lam in zip(faded, LAMBDAS, strict=True)]
    lines.append(f"\nWith forgetting instead (`--forget`): {' / '.join(f'{x:.3f}' for x in fading)}.")
    return "\n".join(lines) + "\n"


def speeds() -> str:
    pool = generate_pool("speed", seed=1, days=45)
    rows: list[tuple[str, str, float, tuple[float, float]]] = []
    for name in ("documented", "p3-plain", "p5"):
        chosen = policy(name)
        took = best(lambda chosen=chosen: replay_one(pool, chosen, Setting()), 3)
        rows.append(("one policy, 45 days × 9 markets", name, 3.0, took))
    rows.append(("oracle, 45 days × 9 markets", "", 5.0, best(lambda: oracle(pool, Terms()), 3)))
    rows.append(("one decision over 200 markets", "p5", 0.005, best(decision_over(200, told=False), 30)))
    rows.append(("the same, with its JSON", "p5", 0.005, best(decision_over(200, told=True), 30)))
    states = MarketStates.unseen(500_000)
    answers = np.random.default_rng(2).random(500_000) < 0.8
    states.observe(answers, 5.0)
    update = best(lambda: states.observe(answers, 5.0), 5)
    rows.append(("state of 10,000 nodes × 50 markets updated", "", 2.0, update))
    lines = ["## Speed (best of several; generated traces)\n"]
    lines += ["| what | policy | goal s | wall s | processor s |", "|---|---|---|---|---|"]
    lines += [f"| {what} | {name} | {goal:g} | {took[0]:.4f} | {took[1]:.4f} |" for what, name, goal, took in rows]
    return "\n".join(lines) + "\n"


def decision_over(count: int, told: bool) -> Callable[[], object]:
    rng = np.random.default_rng(1)
    markets = [
        Candidate(Place(f"Standard_D{i}s_v5", str(i % 3 + 1)), float(rng.uniform(0.02, 0.19)), True)
        for i in range(count)
    ]
    states = MarketStates.unseen(count)
    for _ in range(300):
        states.observe(rng.random(count) < 0.95, 5.0)
    wishes = NodeWishes(Place("Standard_D4s_v5", priority="on-demand"), 0.20)
    if told:
        return lambda: decide(Moment.ON_DEMAND, markets, states, wishes).to_json()
    return lambda: decide(Moment.ON_DEMAND, markets, states, wishes)


def best(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Least wall time and least processor time, seconds; they differ where the machine does other work."""
    wall, processor = [], []
    for _ in range(times):
        began, spent = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - spent)
    return min(wall), min(processor)


if __name__ == "__main__":
    main()
