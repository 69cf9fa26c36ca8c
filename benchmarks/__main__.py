"""`make bench`: every benchmark, one after the other. One alone: `python -m benchmarks.imports.scale`."""

from __future__ import annotations

import subprocess
import sys

ALL = ("benchmarks.imports.downtime", "benchmarks.imports.scale", "benchmarks.market.run", "benchmarks.disks.run")


def main() -> int:
    failed = [name for name in ALL if subprocess.run([sys.executable, "-m", name], check=False).returncode != 0]
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
