"""Watch operations and imports as they go: a moving line on a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from holdfast.cli.shared import Terminal

__all__ = ["RESTING", "follow_import", "follow_operation"]

RESTING = frozenset({"imported", "undone", "finished", "cancelled", "failed", "stuck"})
WAIT_S = 20  # of one long poll; the server answers sooner when something happens

_MARKS = {
    "done": "✓",
    "undone": "✓",
    "refused": "✗",
    "failed": "✗",
    "retry": "↻",
    "undo": "←",
    "step": "→",
    "note": "·",
}

_PASSING = frozenset({"queued", "running", "waiting"})  # come and go every few seconds while something is waited for

Show = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def follow_operation(terminal: Terminal, operation: str) -> dict[str, Any]:
    """The operation once it rests. Ctrl-C detaches: it says how to rejoin, and exits with 0."""
    with _detachable(terminal, f"holdfast operation follow {operation}"), _shown(terminal) as show:
        after = 0
        while True:
            answer = _look(terminal, operation, after)
            after = answer["after"]
            show(answer["operation"], answer["events"])
            if answer["rests"]:
                told: dict[str, Any] = answer["operation"]
                return told


def follow_import(terminal: Terminal, import_id: str) -> dict[str, Any]:
    """The import once it rests, whichever operations work on it until then."""
    with _detachable(terminal, f"holdfast import follow {import_id}"), _shown(terminal) as show:
        working, after = "", 0
        while True:
            found: dict[str, Any] = terminal.client.get(f"/v1/imports/{import_id}", patient=True)
            if found["working"] != working:
                working, after = found["working"], 0
            answer = _look(terminal, working, after)
            after = answer["after"]
            show(answer["operation"], answer["events"])
            if answer["rests"]:
                found = terminal.client.get(f"/v1/imports/{import_id}", patient=True)
                if found["state"] in RESTING and found["working"] == working:
                    return found


def _look(terminal: Terminal, operation: str, after: int) -> dict[str, Any]:
    path = f"/v1/operations/{operation}/events"
    answer: dict[str, Any] = terminal.client.get(path, patient=True, after=after, wait_s=WAIT_S)
    return answer


@contextmanager
def _detachable(terminal: Terminal, rejoin: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        terminal.note(f"\nIt goes on without you. Rejoin: {rejoin}")
        raise typer.Exit(0) from None


@contextmanager
def _shown(terminal: Terminal) -> Iterator[Show]:
    if terminal.as_json:
        yield lambda operation, events: None
    elif terminal.live:
        with _moving() as show:
            yield show
    else:
        yield _plain


def _plain(operation: dict[str, Any], events: list[dict[str, Any]]) -> None:
    for event in events:
        if event["kind"] != "state" or event["text"] not in _PASSING:
            print(line(event), file=sys.stderr, flush=True)


def line(event: dict[str, Any]) -> str:
    """One event as people read it: time, mark, words."""
    percent = "" if event.get("percent") is None else f" {event['percent']:.0f} %"
    words = f"now {event['text']}" if event["kind"] == "state" else event["text"]
    return f"{event['at'][11:19]} {_MARKS.get(event['kind'], ' ')} {words}{percent}"


@contextmanager
def _moving() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[far]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("…", total=None, far="")

        def show(operation: dict[str, Any], events: list[dict[str, Any]]) -> None:
            for event in events:
                if event["kind"] in ("done", "undone", "refused", "failed", "retry", "note"):
                    bar.console.print(line(event), markup=False)
            title = operation["step_title"] or operation["kind"]
            percent = "" if operation["percent"] is None else f"{operation['percent']:.0f} %"
            bar.update(task, description=title, far=" ".join(filter(None, (percent, operation["message"]))))

        yield show
