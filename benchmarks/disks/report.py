"""Makes docs/benchmarks/disks.md from results.json: `python benchmarks/disks/report.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks" / "disks.md"
_HEAD = """# The disk engine's figures

Made by `benchmarks/disks/report.py` from `benchmarks/disks/results.json`; made again with

    python benchmarks/disks/run.py --rounds 5 && python benchmarks/disks/report.py

Wall time of the whole command line counts, interpreter start included (from bytecode, as an installed package has it);
our start-up is measured beside each run, as the copy of an empty disk, and told apart. Contenders run in turns, ratios
are medians over the rounds of one run. Sources are in the page cache unless a line says otherwise; our copies are
durable when they end (fdatasync), so peers are followed by `sync FILE`. Inputs: `benchmarks/disks/inputs.py` (8 GiB
sparse, about 2.5 GiB of an OS tree, text and random data; version 2 differs in single 4 KiB blocks and short runs).
The machine is shared: `load` is the load average when the case ended. Where it is far above the number of cores the
seconds mean little, and so may a ratio; the ratio of processor seconds (own process and children; servers behind a
socket not counted) suffers less. Not measured: blocksync-fast, which cannot be fetched where this runs, and virt-v2v's
OVA reader, which is not installed here. Azurite is not installed here: the Azure case runs against azurelab only.
"""


def main() -> None:
    results: dict[str, dict[str, Any]] = json.loads((HERE / "results.json").read_text())
    lines = [_HEAD, "## Summary\n", "| case | result | load |", "|---|---|---|"]
    for found in results.values():
        lines.append(f"| {found['what']} | {_headline(found)} | {found['load']} |")
    lines.append("\n## Every contender\n")
    for name, found in results.items():
        lines.append(
            f"### {name}\n\n{found['what']}\n\n{found['when']}, {found['machine']}, {found['rounds']} rounds\n"
        )
        if found["seconds"]:
            lines += ["| | wall s | CPU s | resident MB |", "|---|---|---|---|"]
            for contender, seconds in found["seconds"].items():
                cpu, rss = found["cpu_s"][contender], found["rss_mb"][contender]
                lines.append(f"| {contender} | {seconds} | {cpu} | {rss} |")
            lines.append("")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(lines).rstrip() + "\n")


_PLAIN = ("what", "when", "machine", "load", "rounds", "seconds", "cpu_s", "rss_mb")


def _headline(found: dict[str, Any]) -> str:
    told = [f"{key} {value}" for key, value in found.items() if key not in _PLAIN]
    against = found.get("against")
    if against in found["cpu_s"] and "CPU ratio" not in found:
        ours = next(iter(found["cpu_s"]))
        told.append(f"CPU ratio {round(found['cpu_s'][ours] / found['cpu_s'][against], 2)}")
    return "; ".join(told)


if __name__ == "__main__":
    main()
