"""`holdfast`: finds the noun and imports only its module, so that `--version` and `--help` answer at once."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["NOUNS", "main", "program"]

# noun → (module, what it is for). The order is that of the help.
NOUNS: dict[str, tuple[str, str]] = {
    "server": ("holdfast.cli.server", "run the server in the foreground"),
    "cloud": ("holdfast.cli.cloud", "connect, check, list and remove clouds"),
    "vm": ("holdfast.cli.vm", "machines in a cloud, and whether they can be imported"),
    "import": ("holdfast.cli.importing", "take a machine over as a stateful node: plan, start, follow, undo"),
    "node": ("holdfast.cli.node", "stateful nodes"),
    "operation": ("holdfast.cli.operation", "everything durable that runs or ran"),
    "token": ("holdfast.cli.token", "access tokens"),
    "disk": ("holdfast.cli.disk", "copy, compare, verify, convert and digest virtual disks (no server)"),
    "market": ("holdfast.cli.market", "which size, which zone, spot or on-demand"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 failed, 2 usage, 3 not found, 4 refused by a rule."""
    words = list(sys.argv[1:] if argv is None else argv)
    test_clock: str | None = None
    if words[:1] == ["--test-clock"] and len(words) > 1:  # hidden: refused for any cloud that is not on this machine
        test_clock, words = words[1], words[2:]
    if not words or words[0] in ("--help", "-h", "help"):
        return _say(_help()) or (0 if words else 2)
    if words[0] in ("--version", "-V", "version"):
        import holdfast

        return _say(f"holdfast {holdfast.__version__}")
    if words[0] not in NOUNS:
        from holdfast.cli.disk_terminal import note

        note(f"holdfast: there is no '{words[0]}'. 'holdfast --help' lists what there is.")
        return 2
    return _run(words[0], words[1:], test_clock)


def program() -> None:
    """`main` as a process of its own.

    Looking through all that was just imported, and at the end through all that goes away with the process, is an
    eighth of the time of a small disk copy: young garbage is looked for less often, and none at the end.
    """
    gc.set_threshold(50_000)
    _fill_missing_streams()
    code = _heard(main())
    gc.freeze()
    sys.exit(code)


def _fill_missing_streams() -> None:
    """Descriptors 0 to 2 that are closed get one that fails, or disks would be opened in their place and written over
    by words. `sys.stdin` stays None, which tells that nothing can come from there."""
    if sys.stdin is None:
        _open_null(0, os.O_WRONLY)
    if sys.stdout is None and _open_null(1, os.O_RDONLY):
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as we live
    if sys.stderr is None and _open_null(2, os.O_WRONLY):
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as we live


def _open_null(number: int, flags: int) -> bool:
    """/dev/null as this descriptor, if it is free."""
    fd = os.open(os.devnull, flags)
    if fd != number:
        os.close(fd)
    return fd == number


def _heard(code: int) -> int:
    """The exit code, once all that was printed has gone out: 141 for an answer whose reader is gone, 1 for one that
    found no room. What standard error does not take changes nothing."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except OSError as exc:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # the interpreter would try, fail and tell once more
            if number == 1 and not code:
                code = _unheard(exc)
    return code


def _say(text: str) -> int:
    try:
        print(text)
    except OSError as exc:
        return _unheard(exc)
    return 0


def _unheard(exc: OSError) -> int:
    from holdfast.cli.disk_terminal import UNREAD_EXIT, OutputGone, note

    if (gone := OutputGone(exc)).unread:
        return UNREAD_EXIT
    note(f"The answer cannot be written to standard output: {gone.problem}.")
    return 1


def _run(noun: str, rest: list[str], test_clock: str | None) -> int:
    if noun == "disk":
        return _run_disk(rest, test_clock)
    return _run_fully(noun, rest, test_clock)


def _run_disk(rest: list[str], test_clock: str | None) -> int:
    """Without the command line's library where the words are plain. Nothing is raised."""
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # of names that are not text in this terminal's encoding
    try:
        from holdfast.cli.disk_verbs import run_verb
        from holdfast.cli.disk_words import plain

        if (found := plain(rest)) is not None:
            return run_verb(*found)
        return _run_fully("disk", rest, test_clock)
    except OSError as exc:  # of help and the like: what the system says of disks is shown by their verb
        return _unheard(exc)
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - shown, each in its way
        from holdfast.cli.disk_errors import show_failure

        return show_failure(exc, {"as_json": "--json" in rest})


def _run_fully(noun: str, rest: list[str], test_clock: str | None) -> int:
    from holdfast.cli.shared import Terminal, shown_errors

    terminal = Terminal.here(as_json="--json" in rest, test_clock=test_clock)
    with shown_errors(terminal) as ended:
        ended.code = run_noun(noun, rest, terminal)
    return ended.code


def run_noun(noun: str, rest: Sequence[str], terminal: Any) -> int:
    """Run one command line with its terminal; errors of ours are raised."""
    import typer

    module = importlib.import_module(NOUNS[noun][0])
    command = typer.main.get_command(module.app)
    given: Any = terminal
    if noun == "market":
        from holdfast.cli.market_sources import market_sources

        given = market_sources(terminal)
    if terminal.as_json:
        return _run_for_programs(command, noun, rest, given)
    try:
        command.main(args=list(rest), prog_name=f"holdfast {noun}", obj=given)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _run_for_programs(command: Any, noun: str, rest: Sequence[str], given: Any) -> int:
    """With --json wrong usage is an error like any other: one document on stdout, exit code 2."""
    from typer._click.exceptions import ClickException, UsageError

    from holdfast.cli.errors import WrongUsage

    try:
        code = command.main(args=list(rest), prog_name=f"holdfast {noun}", obj=given, standalone_mode=False)
    except ClickException as told:
        path = told.ctx.command_path if isinstance(told, UsageError) and told.ctx else f"holdfast {noun}"
        raise WrongUsage(problem=told.format_message().rstrip("."), command=f"{path} --help") from told
    return code if isinstance(code, int) else 0


def _help() -> str:
    width = max(map(len, NOUNS))
    nouns = "\n".join(f"  {noun:<{width}}  {about}" for noun, (_, about) in NOUNS.items())
    return f"""Holdfast keeps stateful virtual machines held fast while hardware, market and cloud change under them.

Usage: holdfast NOUN VERB [OPTIONS]        'holdfast NOUN --help' tells more

{nouns}

Every command has --json: stdout then holds one JSON document and nothing else.
Where no server answers, one is started in the background on the home.

Environment: HOLDFAST_HOME (default ~/.local/share/holdfast), HOLDFAST_URL and HOLDFAST_TOKEN (another server),
             HOLDFAST_DATABASE_URL (PostgreSQL instead of SQLite), HOLDFAST_KEY (the key of all secrets).
Exit codes:  0 done, 1 failed, 2 usage, 3 not found, 4 refused by a rule."""


if __name__ == "__main__":
    program()
