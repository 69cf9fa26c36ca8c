"""docs/errors.md lists every error and every finding, as they are. HOLDFAST_UPDATE_GOLDEN=1 writes it."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
from collections import Counter
from pathlib import Path

import pytest

import holdfast
from holdfast.core.errors import HoldfastError, all_error_classes, error_from_record, error_to_record

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT / "docs" / "errors.md"
FINDERS = ("holdfast.machines.refusals", "holdfast.imports", "holdfast.clouds.azure")
SEVERITIES = {"refusal": "refusal", "warning": "warning"}

HEAD = """# Errors and findings

Every error that Holdfast shows has a stable code. In the API it is `code` of an `application/problem+json` body, with
`field`, `remedy`, `retry` and `details`; on the command line it stands in brackets, or under `error` with `--json`.
Exit codes: 1 failed, 2 usage, 3 not found, 4 refused by a rule. `retry` says whether the same call may succeed again:
now, later, after_change (somebody must change the input or the cloud first), never. What a cloud says about our
credential is answered with 502, whatever this list says: 401 and 403 are about the caller's token only.

This page is made from the source (`HOLDFAST_UPDATE_GOLDEN=1 pytest tests/unit/wiring/test_error_catalogue.py`); a test
keeps it true.

## Errors

| code | HTTP | exit | retry | what happened | what to do |
|---|---|---|---|---|---|
"""

FINDINGS = """
## Findings

A plan, `vm show` and `cloud check` list findings. A refusal stops `import start` with `import.refused`, whose details
list all of them; a warning is shown; a refusal whose remedy says so is agreed to with `--accept CODE`.

| code | severity | found by |
|---|---|---|
"""


def load_everything() -> None:
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if ".migrations" not in module.name and "__main__" not in module.name and ".demo" not in module.name:
            importlib.import_module(module.name)


def ours() -> list[type[HoldfastError]]:
    load_everything()
    found = {cls for cls in all_error_classes() if cls.__module__.startswith("holdfast.")}
    return sorted(found, key=lambda cls: (cls.code, cls.__qualname__))


def findings() -> list[tuple[str, str, str]]:
    """(code, severity, first line of the module) of each finding that the source can make."""
    load_everything()
    rows: set[tuple[str, str, str]] = set()
    for name in FINDERS:
        package = importlib.import_module(name)
        for info in pkgutil.walk_packages(package.__path__, name + "."):
            module = importlib.import_module(info.name)
            tree = ast.parse(Path(str(module.__file__)).read_text())
            about = (module.__doc__ or "").strip().splitlines()[0]
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args:
                    code = _constant(module, call.args[0])
                    if code is None or not re.fullmatch(r"[A-Z][A-Z0-9_]+", code):
                        continue
                    if (severity := SEVERITIES.get(call.func.id.lstrip("_"))) is not None:
                        rows.add((code, severity, about))
                    elif call.func.id == "Finding":
                        words = ast.unparse(call.args[1]) if len(call.args) > 1 else ""
                        rows.add((code, words.rpartition(".")[2].lower(), about))
    return sorted(rows)


def _constant(module: object, node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        value = getattr(module, node.id, None)
        return value if isinstance(value, str) else None
    return None


def catalogue() -> str:
    rows = []
    for cls in ours():
        about = " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())
        cells = (f"`{cls.code}`", str(cls.http_status), str(cls.exit_code), cls.retry.value, about, cls.remedy)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    by_code: dict[str, tuple[set[str], set[str]]] = {}
    for code, severity, about in findings():
        severities, modules = by_code.setdefault(code, (set(), set()))
        severities.add(severity if severity in ("refusal", "warning", "info") else "refusal or warning")
        modules.add(about)
    told = [
        f"| `{code}` | {', '.join(sorted(severities))} | {' '.join(sorted(modules))} |"
        for code, (severities, modules) in sorted(by_code.items())
    ]
    return HEAD + "\n".join(rows) + "\n" + FINDINGS + "\n".join(told) + "\n"


def test_catalogue_lists_every_error_and_finding_as_it_is() -> None:
    told = catalogue()
    if os.environ.get("HOLDFAST_UPDATE_GOLDEN") == "1":
        CATALOGUE.write_text(told)
    listed = set(CATALOGUE.read_text().splitlines())
    missing = [line for line in told.splitlines() if line not in listed]

    assert missing == [], "run it with HOLDFAST_UPDATE_GOLDEN=1"
    assert CATALOGUE.read_text() == told


def test_no_two_errors_share_a_code() -> None:
    """A record names an error by its code: two classes of one code would come back as either."""
    counts = Counter(cls.code for cls in ours())

    assert {code: n for code, n in counts.items() if n > 1} == {}


@pytest.mark.parametrize("cls", ours(), ids=lambda cls: cls.__qualname__)
def test_every_error_says_what_happened_and_what_to_do_and_survives_its_record(cls: type[HoldfastError]) -> None:
    assert (cls.__doc__ or "").strip()
    assert cls.text
    assert cls.remedy
    braces = set(re.findall(r"\{(\w+)", cls.text + cls.remedy))
    error = cls(**{name: f"<{name}>" for name in braces - {"given_h", "floor_h"}}, **_numbers(braces))

    assert error_from_record(error_to_record(error)) == error


def _numbers(braces: set[str]) -> dict[str, float]:
    return dict.fromkeys(braces & {"given_h", "floor_h"}, 1.0)


def test_finding_codes_are_found_at_all() -> None:
    codes = {code for code, _, _ in findings()}

    assert {"GENERALIZED", "WEAK_PROOF", "IDENTITY_CHANGES", "PERMISSION_MISSING", "NO_MARKET", "CREDENTIAL"} <= codes
