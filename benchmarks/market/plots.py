"""Draw the figures of docs/market.md from generated traces (no recorded trace is drawn in any document).

.venv/bin/python benchmarks/market/plots.py [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from holdfast.market.deciding.policies import policy
from holdfast.market.deciding.replay.benchmark import run_benchmark
from holdfast.market.deciding.replay.generating import Climate, generate_pool
from holdfast.market.deciding.replay.replaying import Setting
from holdfast.market.deciding.terms import Terms
from holdfast.market.picturing.figure import write_plot

POLICIES = ("on-demand", "naive-b", "documented", "p1", "p3", "p5")
# Few and restless markets: where the policies differ.
RESTLESS = Climate(up_median_min=45.0, up_tail=0.55, down_median_min=60.0, down_tail=0.7, region_shocks_per_day=1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    pool = generate_pool(
        "generated, restless", seed=8, days=21, zones=("west-1a", "west-1b"), sizes=("d4", "e4"), climate=RESTLESS
    )
    policies = [policy(name) for name in POLICIES]
    write_plot(out / "market-replay.png", run_benchmark([pool], policies, Setting(Terms(10.0))), policies)


if __name__ == "__main__":
    main()
