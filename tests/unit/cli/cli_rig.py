"""Command lines against the real application in this process; nothing listens, nothing is started."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.client import Client
from holdfast.cli.main import run_noun
from holdfast.cli.shared import Terminal, shown_errors
from holdfast.core.ids import OperationId
from holdfast.wiring import Surroundings
from unit.api.api_rig import ApiRig


@dataclass
class Said:
    """What a command wrote, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Fails where stdout holds anything but one JSON document."""
        return json.loads(self.out)


class WorkingClient(Client):
    """While somebody waits for lines, the server works: here the inline engine does, in between."""

    rig: ApiRig

    def get(self, path: str, *, patient: bool = False, **params: Any) -> Any:
        if path.endswith("/events"):
            self.rig.run(OperationId(path.split("/")[3]))
        return super().get(path, patient=patient, **params)


@dataclass
class Cli:
    rig: ApiRig
    capsys: pytest.CaptureFixture[str]
    asks: bool = False
    env: dict[str, str] = field(default_factory=dict)

    def __call__(self, *words: str) -> Said:
        home = {"HOLDFAST_HOME": str(self.rig.folder), **self.env}
        terminal = Terminal(
            around=Surroundings.from_environment(home),
            as_json="--json" in words,
            asks=self.asks and "--json" not in words,
            connect=self._connect,
        )
        self.capsys.readouterr()
        with shown_errors(terminal) as ended:
            ended.code = run_noun(words[0], words[1:], terminal)
        out, err = self.capsys.readouterr()
        return Said(ended.code, out, err)

    def _connect(self, terminal: Terminal) -> Client:
        client = WorkingClient(self.rig.client, None, terminal.note)
        client.rig = self.rig
        return client


def golden(name: str, text: str, *, update: bool) -> None:
    """Compare with tests/unit/cli/golden/NAME; HOLDFAST_UPDATE_GOLDEN=1 writes it instead."""
    path = Path(__file__).parent / "golden" / name
    if update:
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text(), f"set HOLDFAST_UPDATE_GOLDEN=1 if {path} is to change"
