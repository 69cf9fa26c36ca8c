"""`holdfast disk` as a full command line, made of `disk_verbs.py`: help, completion, and what to say to mistakes.

`main.py` comes here only where `disk_words.py` finds a command line that is not plain.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from holdfast.cli.disk_verbs import VERBS, Verb, Word, run_verb

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Copy, compare, verify, convert and digest virtual disks: files, devices, NBD and https URLs.",
)


def _parameter(word: Word) -> inspect.Parameter:
    """A word in typer's own terms."""
    if word.option is None:
        told = typer.Argument(metavar=word.metavar, help=word.help)
    else:
        told = typer.Option(word.option, metavar=word.metavar, help=word.help)
    kind: Any = word.kind | None if word.value is None and not word.needed else word.kind
    return inspect.Parameter(
        word.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if word.needed else word.value,
        annotation=Annotated[kind, told],
    )


def _add(name: str, verb: Verb) -> None:
    def command(**given: Any) -> None:
        code = run_verb(verb, given)
        if code:
            raise typer.Exit(code)

    parameters = [_parameter(word) for word in verb.words]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, help=verb.run.__doc__)(command)


for _name, _verb in VERBS.items():
    _add(_name, _verb)
