"""ARM requests of one import, by variant: a machine with an OS disk, two data disks, a card and a public address.

    python -m benchmarks.imports.calls

Counted at the client, from the first request of the operation to its last; planning before it is counted apart. The
proof takes one look each second, so its five seconds are in the figure.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from story.imports.import_rig import VARIANTS, options
from story.lab.lab_rig import LabRig, Town

__all__ = ["main"]


class Counter:
    """Counts what passes through the client's one way of sending."""

    def __init__(self, town: Town) -> None:
        self.sent = 0
        arm: Any = town.cloud._arm
        send = arm._send_once

        def counted(*args: Any, **named: Any) -> Any:
            self.sent += 1
            return send(*args, **named)

        arm._send_once = counted

    def since(self, before: int) -> int:
        return self.sent - before


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    town = Town.build(folder / "lab")
    counter = Counter(town)
    try:
        for network, disks in VARIANTS:
            rig = LabRig(folder / f"{network}-{disks}", town)
            start = counter.sent
            begun = rig.begin(rig.machine, options(network, disks))
            planned = counter.since(start)
            middle, writes = counter.sent, len(rig.writes())
            rig.run(begun.operation)
            told = {
                "variant": f"{network.value} x {disks.value}",
                "plan": planned,
                "import": counter.since(middle),
                "of them writes": len(rig.writes()) - writes,
            }
            print(json.dumps(told))
            rig.close()
    finally:
        town.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
