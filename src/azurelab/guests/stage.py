"""The unpacked packages: finds programs in them, and runs those that this machine does not have installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from azurelab.guests.packages import ImageError

__all__ = ["LIBRARIES", "Stage"]

LIBRARIES = "usr/lib/x86_64-linux-gnu"


class Stage:
    """A folder of unpacked packages (merged /usr)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.libraries = root / LIBRARIES

    def program(self, name: str) -> Path:
        for folder in ("usr/sbin", "usr/bin"):
            path = self.root / folder / name
            if path.exists():
                return path
        raise ImageError(f"the downloaded packages have no {name}; the recipe does not fit this release.")

    def command(self, name: str) -> list[str]:
        """How to run a program from the tree with the tree's own C library, whatever the host has."""
        loader = self.libraries / "ld-linux-x86-64.so.2"
        if name == "busybox":
            return [str(self.program(name))]
        return [str(loader), "--library-path", str(self.libraries), str(self.program(name))]

    def run(
        self,
        name: str,
        *arguments: str,
        extra_environment: Mapping[str, str] | None = None,
        input_text: str | None = None,
    ) -> str:
        """Output of the program; ImageError with its words when it fails."""
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **(extra_environment or {})}
        done = subprocess.run(
            [*self.command(name), *arguments],
            env=environment,
            input=input_text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ImageError(f"{name} failed: {done.stderr.strip()[-600:]}")
        return done.stdout

    def keep_only(self, into: Path, programs: Sequence[str], libraries: Sequence[Path]) -> None:
        """Copy a few programs and their libraries elsewhere, runnable in the same way."""
        other = Stage(into)
        other.libraries.mkdir(parents=True)
        for library in [*libraries, self.libraries / "ld-linux-x86-64.so.2"]:
            shutil.copy2(library, other.libraries / library.name)
        for name in programs:
            source = self.program(name)
            target = into / source.relative_to(self.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
