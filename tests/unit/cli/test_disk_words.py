"""The short way to read a command line of `holdfast disk` agrees with the full one wherever it answers at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli import disk, disk_words
from holdfast.cli.disk_verbs import VERBS
from holdfast.cli.main import main

_WORDS = [
    *VERBS, "a.raw", "b.raw", "-", "--", "-v", "7", "x=1", "", "--help", "--seed=3", "--to=raw", "--json=1", "--over",
    *(flag for verb in VERBS.values() for word in verb.words if word.option for flag in word.option.split("/")),
]  # fmt: skip


def understood(words: list[str]) -> tuple[Any, dict[str, Any]] | None:
    """What the full command line makes of words: (verb, given), or None where it refuses them or shows help."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    def record(verb: Any, given: dict[str, Any]) -> int:
        calls.append((verb, given))
        return 0

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(disk, "run_verb", record)
        typer.main.get_command(disk.app).main(args=words, prog_name="holdfast disk")
    return calls[0] if calls else None


@given(verb=st.sampled_from(sorted(VERBS)), rest=st.lists(st.sampled_from(_WORDS), max_size=7))
def test_what_is_read_shortly_is_what_the_full_command_line_reads(verb: str, rest: list[str]) -> None:
    found = disk_words.plain([verb, *rest])
    if found is not None:
        assert understood([verb, *rest]) == found


@pytest.mark.parametrize(
    "words",
    [
        "info a.raw --json",
        "copy a.raw b.qcow2 --digests L --verify=full --overwrite --from raw --limit-rate 50M",
        "convert - b.raw --no-overwrite",
        "diff a b --json",
        "verify a --digests L --sample --seed 9 --mark",
        "digest a.raw L --chain c",
    ],
)
def test_usual_command_lines_are_read_shortly(words: str) -> None:
    found = disk_words.plain(words.split())
    assert found is not None
    assert found == understood(words.split())


@pytest.mark.parametrize(
    "words",
    [
        "",
        "melt a b",
        "copy a",
        "copy a b c",
        "copy a --help b",
        "copy a b --digests",
        "copy a b --base --json",
        "copy a b --x 1",
        "copy a b --over",
        "copy a b --json=1",
        "verify a",
        "verify a --digests L --seed x",
    ],
)
def test_what_is_not_plain_is_left_to_the_full_command_line(words: str) -> None:
    assert disk_words.plain(words.split()) is None


def test_mistakes_are_usage_errors_and_rules_have_their_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "copy", "only-one"]) == 2
    assert "Missing argument" in capsys.readouterr().err
    assert main(["disk", "info", str(tmp_path / "absent.raw"), "--json"]) == 3
    assert '"code": "disk.not_found"' in capsys.readouterr().out


def test_a_copy_imports_no_command_line_library(tmp_path: Path) -> None:
    """Start-up counts in every copy: what costs a tenth of a second to import stays away."""
    (tmp_path / "s.raw").write_bytes(bytes(4096))
    program = (
        "import sys\nfrom holdfast.cli.main import main\n"
        f"assert main(['disk', 'copy', {str(tmp_path / 's.raw')!r}, {str(tmp_path / 't.raw')!r}]) == 0\n"
        "heavy = {'typer', 'rich', 'pydantic', 'numpy', 'ssl', 'hashlib', 'asyncio', 'httpx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
