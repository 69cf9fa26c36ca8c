"""What every command is given: the terminal, the server's client, and how errors are shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.errors import ServerSaid
from holdfast.core.errors import HoldfastError, InvalidInput
from holdfast.wiring import Surroundings

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.cli.client import Client

__all__ = ["Cloud", "Ended", "Json", "Terminal", "Yes", "shown_errors", "terminal_of"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Cloud = Annotated[str | None, typer.Option("--cloud", metavar="NAME", help="Needed only where there are several.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@dataclass
class Terminal:
    """Where a command reads and writes. `asks`: a person sits there and may be asked."""

    around: Surroundings
    as_json: bool = False
    asks: bool = False
    live: bool = False  # stderr is a terminal: progress may move
    connect: Callable[[Terminal], Client] | None = None  # for tests; None = find or start the server
    _client: Client | None = field(default=None, repr=False)

    @classmethod
    def here(cls, *, as_json: bool, test_clock: str | None = None) -> Terminal:
        clock = Path(test_clock) if test_clock else None
        return cls(
            around=Surroundings.from_environment().with_test_clock(clock),
            as_json=as_json,
            asks=sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty() and not as_json,
            live=sys.stderr.isatty() and not as_json,
        )

    @property
    def client(self) -> Client:
        """Found, or started, on first use."""
        if self._client is None:
            if self.connect is None:
                from holdfast.cli.client import connect

                self._client = connect(self.around, self.note)
            else:
                self._client = self.connect(self)
        return self._client

    def answer(self, told: Any, text: str | Callable[[], Any]) -> None:
        """The command's answer: `told` as JSON, or the text for people (a function prints it itself)."""
        if self.as_json:
            print(json.dumps(told, indent=2, ensure_ascii=False))
        elif callable(text):
            text()
        else:
            print(text)

    def note(self, text: str) -> None:
        """Beside the answer: on stderr."""
        print(text, file=sys.stderr, flush=True)

    def console(self) -> Console:
        from rich.console import Console

        # In a pipe or a file nothing folds: a line is a row, for whoever greps it.
        return Console(highlight=False, width=None if sys.stdout.isatty() else 400)

    def confirmed(self, question: str, yes: bool) -> bool:
        """True without asking where --yes was given or nobody can be asked."""
        if yes or not self.asks:
            return True
        return typer.confirm(question)


@dataclass
class Ended:
    code: int = 0


@contextmanager
def shown_errors(terminal: Terminal) -> Iterator[Ended]:
    """Show what went wrong, its way out, and give the code. With --json the error is the one document on stdout."""
    ended = Ended()
    try:
        yield ended
    except ServerSaid as told:
        ended.code = _show(terminal, told.problem, told.exit_code)
    except HoldfastError as error:
        problem = {
            "code": error.code,
            "field": error.about,
            "text": error.message,
            "remedy": error.advice,
            "details": error.details,
        }
        ended.code = _show(terminal, problem, error.exit_code)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        ended.code = 130


def _show(terminal: Terminal, problem: dict[str, Any], exit_code: int) -> int:
    if terminal.as_json:
        print(json.dumps({"error": problem}, indent=2, ensure_ascii=False))
        return exit_code
    details = problem.get("details") or {}
    lines = [f"{problem['text']}  [{problem['code']}]"]
    lines += [f"  · {one['code']}: {one['text']} {one['remedy']}" for one in details.get("refusals", [])[1:]]
    lines += [f"  · {one['field']}: {one['problem']}" for one in details.get("problems", [])[1:]]
    lines += [f"  · {line}" for line in details.get("differences", [])[1:]]
    if problem.get("remedy"):
        lines.append(str(problem["remedy"]))
    print("\n".join(lines), file=sys.stderr)
    return exit_code


def terminal_of(context: typer.Context) -> Terminal:
    found = context.find_object(Terminal)
    if found is None:
        raise InvalidInput(field="command", problem="run it as 'holdfast NOUN VERB'")
    return found
