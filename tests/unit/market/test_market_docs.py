"""docs/market.md names every policy, every rule and every option, so that none is added in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from holdfast.cli.market import app
from holdfast.market.deciding.policies import POLICY_NAMES, policy
from holdfast.market.deciding.sizes.rules import RULES
from holdfast.market.observing.history import COLUMNS

PAGE = (Path(__file__).parents[3] / "docs" / "market.md").read_text()


@pytest.mark.parametrize("name", POLICY_NAMES)
def test_every_policy_is_named_and_made_by_its_name(name: str):
    assert f"`{name}`" in PAGE
    assert policy(name).name == name


@pytest.mark.parametrize("code", [rule.code for rule in RULES])
def test_every_size_rule_is_named(code: str):
    assert code in PAGE


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_of_a_history_is_named(column: str):
    assert column in PAGE


def test_every_option_of_the_commands_is_named():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    options = {name for command in commands.values() for p in command.params for name in p.opts if name[:2] == "--"}

    assert sorted(name for name in options - {"--help"} if name not in PAGE) == []
