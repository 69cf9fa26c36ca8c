"""What `holdfast disk` does, without the command line's library: importing that costs more than a small copy.

`VERBS` says which words each verb takes. `disk.py` makes the full command line of it (help, completion, errors),
`disk_words.py` reads plain command lines without it. Heavy imports happen inside the verbs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.cli.disk_terminal import note, orderly_stop, tell
from holdfast.cli.disk_usage import FORMATS, disk_at, require_list_name, require_meant, require_standard_input

if TYPE_CHECKING:
    from holdfast.disks.model.report import Report, Watcher
    from holdfast.disks.readers.protocol import ChangeList

__all__ = ["VERBS", "Verb", "Word", "run_verb"]


class Word(NamedTuple):
    """One argument or option of a verb. Without `option` it is an argument; an option of kind bool is a switch, whose
    opposite stands behind a slash.

    `value`: what the verb is given where the word is left out; `needed`: it may not be left out; `choices`: if there
    are any, it is one of them.
    """

    name: str  # of the verb's parameter
    option: str | None = None
    help: str | None = None
    metavar: str | None = None
    kind: type[str] | type[int] | type[bool] = str
    value: str | int | bool | None = None
    needed: bool = False
    choices: tuple[str, ...] = ()


class Verb(NamedTuple):
    """A verb: what it runs, and the words it takes. `run` returns the exit code and raises HoldfastError, or whatever
    the system has to say. With any of the words `resumes_with` the same command goes on where it ended; without it
    starts over. `streams`: a target of - is the disk on standard output."""

    run: Callable[..., int]
    words: tuple[Word, ...]
    resumes_with: tuple[str, ...] = ()
    streams: bool = False


def run_verb(verb: Verb, given: dict[str, Any]) -> int:
    """Run a verb with its words. Returns the exit code, and raises nothing: what went wrong is shown with its remedy.

    SIGTERM and SIGHUP end it in good order, as Ctrl-C does: 128 and the signal's number. 141, without a word: nobody
    read the answer to its end.
    """
    try:
        require_meant(verb.words, given)
        with orderly_stop():
            return verb.run(**given)
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - shown, each in its way
        from holdfast.cli.disk_errors import show_failure

        resumes = any(given.get(name) is not None for name in verb.resumes_with)
        return show_failure(exc, given, resumes=resumes, streaming=verb.streams and given.get("target") == "-")


def _json(told: Any) -> str:
    import json

    return json.dumps(told)


@contextmanager
def _progress(title: str, as_json: bool) -> Iterator[Watcher | None]:
    """A bar with rate and ETA on a terminal; nothing in scripts."""
    if as_json or not sys.stderr.isatty():
        yield None
        return
    from holdfast.cli.disk_progress import bar

    with bar(title) as watcher:
        yield watcher


def _print_report(report: Report, as_json: bool) -> None:
    from holdfast.core.units import format_bytes

    if as_json:
        tell(_json(report.to_dict()))
        return
    for text in report.notes:
        note(f"note: {text}")
    note(
        f"{report.why}{' (resumed)' if report.resumed else ''}: read {format_bytes(report.read_bytes)}, "
        f"changed {format_bytes(report.changed_bytes)}, wrote {format_bytes(report.written_bytes)}, "
        f"zeroed {format_bytes(report.zeroed_bytes)}"
        + (f", not read again {format_bytes(report.skipped_bytes)}" if report.skipped_bytes else "")
    )
    if report.verified != "none":
        note(f"verified ({report.verified}): read back {format_bytes(report.verified_bytes)}")
    if report.root:
        note(f"root {report.root}")


def _changes(path: str | None) -> ChangeList | None:
    if path is None:
        return None
    from holdfast.disks.changes import read_change_file

    return read_change_file(path)


def info(disk: str, from_: str | None, as_json: bool) -> int:
    """Say what a disk is: format, size, data, and whether we would open it. Opens nothing that it points to."""
    from holdfast.disks.describing import describe

    facts = describe(disk_at(disk, from_, "disk"))
    lines = [f"{key.replace('_', ' '):<16} {value}" for key, value in facts.items()]
    tell(_json(facts) if as_json else "\n".join(lines))
    return 0


def copy(
    source: str,
    target: str,
    *,
    from_: str | None,
    to: str | None,
    changed: str | None,
    bitmap: str | None,
    previous: str | None,
    limit_rate: str | None,
    as_json: bool,
    **asked: Any,
) -> int:
    """Copy a disk; with --base only what changed. After a kill the same command resumes."""
    from holdfast.disks.budget import Budget, rate_of
    from holdfast.disks.jobs import CopyJob, run_copy

    source_disk, target_disk = disk_at(source, from_, "source"), disk_at(target, to, "target")
    require_list_name(asked["digests"], "digests")
    require_list_name(asked["base"], "base", there=True)
    rate = None if limit_rate is None else rate_of(limit_rate)
    found = _changes(changed)
    if found is None and (bitmap is not None or previous is not None):
        from holdfast.disks.changes import changes_of

        found = changes_of(source_disk, bitmap=bitmap, previous=previous, chain=asked["chain"])
    job = CopyJob(source_disk, target_disk, changes=found, budget=Budget(rate_bytes_s=rate), **asked)
    with _progress("copy", as_json) as watcher:
        report = run_copy(job, watcher=watcher)
    _print_report(report, as_json)
    return 0


def convert(
    source: str,
    target: str,
    format_: str | None,
    from_: str | None,
    compress: str | None,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Write a disk in another format; a target of - is a stream on standard output."""
    from holdfast.disks.converting import run_convert
    from holdfast.disks.model.locator import Locator

    if source == "-":
        require_standard_input(from_)
    with _progress("convert", as_json or target == "-") as watcher:
        report = run_convert(
            Locator("-") if source == "-" else disk_at(source, from_, "source"),
            Locator("-") if target == "-" else disk_at(target, None, "target"),
            format_,
            compress=compress,
            overwrite=overwrite,
            watcher=watcher,
        )
    if as_json and target == "-":
        note(_json(report.to_dict()))
    else:
        _print_report(report, as_json)
    return 0


def diff(one: str, other: str, from_: str | None, to: str | None, as_json: bool) -> int:
    """Compare two disks byte by byte. Exit 0: equal; 1: different, with the extents named."""
    from holdfast.disks.jobs import diff as run_diff

    with _progress("diff", as_json) as watcher:
        found = run_diff(disk_at(one, from_, "one"), disk_at(other, to, "other"), watcher=watcher)
    return _print_difference(found.extents, found.read_bytes, None, as_json)


def verify(disk: str, digests: str, from_: str | None, sample: bool, seed: int, mark: bool, as_json: bool) -> int:
    """Compare a disk with its digest list. Exit 0: equal; 1: different, with the extents named."""
    from holdfast.disks.jobs import verify as run_verify

    target = disk_at(disk, from_, "disk")
    require_list_name(digests, "digests", there=True)
    with _progress("verify", as_json) as watcher:
        found = run_verify(
            target,
            digests,
            mode="sample" if sample else "full",
            seed=seed,
            mark=mark,
            watcher=watcher,
        )
    return _print_difference(found.extents, found.read_bytes, found.root, as_json)


def digest(disk: str, digests: str | None, from_: str | None, chain: str | None, overwrite: bool, as_json: bool) -> int:
    """Digest a disk: print its root and, with LIST, write its digest list."""
    from holdfast.disks.jobs import digest as run_digest

    require_list_name(digests, "digests")
    with _progress("digest", as_json) as watcher:
        report = run_digest(disk_at(disk, from_, "disk"), digests, chain=chain, overwrite=overwrite, watcher=watcher)
    tell(_json(report.to_dict()) if as_json else str(report.root))
    return 0


def _print_difference(extents: list[Any], read_bytes: int, root: str | None, as_json: bool) -> int:
    if as_json:
        listed = [{"start": e.start, "end": e.end} for e in extents]
        tell(_json({"equal": not extents, "extents": listed, "read_bytes": read_bytes, "root": root}))
    elif extents:
        tell("\n".join([f"different in {len(extents)} extents:", *(f"  {e.start}..{e.end}" for e in extents)]))
    else:
        tell("equal")
    return 1 if extents else 0


_FROM = Word("from_", "--from", "What the source is, if not by suffix.", "FORMAT", choices=FORMATS)
_TO = Word("to", "--to", "What the target is, if not by suffix.", "FORMAT", choices=FORMATS)
_JSON = Word("as_json", "--json", "Print one JSON object instead of text.", kind=bool, value=False)
_OVERWRITE = Word(
    "overwrite", "--overwrite/--no-overwrite", "The target's present content may be lost.", kind=bool, value=False
)


def _argument(name: str) -> Word:
    return Word(name, needed=True)


def _one_of(name: str, option: str, about: str, choices: str) -> Word:
    return Word(name, option, about, choices, choices=tuple(choices.split("|")))


_WRITTEN = ("raw", "qcow2", "vhd-fixed", "vhd", "vhdx", "vmdk-stream", "vdi", "ova")

VERBS: dict[str, Verb] = {
    "info": Verb(info, (_argument("disk"), _FROM, _JSON)),
    "copy": Verb(
        copy,
        (
            _argument("source"),
            _argument("target"),
            _FROM,
            _TO,
            Word("digests", "--digests", "Write the digest list of the target.", "LIST"),
            Word("base", "--base", "The target holds the state of LIST: write only what changed.", "LIST"),
            _OVERWRITE,
            _one_of("verify", "--verify", "Read back after writing.", "none|sample|full"),
            Word("changed", "--changed", "Changed extents, as JSON: since, now, extents.", "FILE"),
            Word("bitmap", "--bitmap", "Dirty bitmap of an NBD source.", "NAME"),
            Word("previous", "--previous", "Address of the older snapshot of an Azure source.", "URL"),
            Word("chain", "--chain", "Name this state of the source, for --changed next time."),
            Word(
                "source_unchanged",
                "--source-unchanged/--no-source-unchanged",
                "A device source is as the interrupted run saw it, so it may resume.",
                kind=bool,
                value=False,
            ),
            Word(
                "trust_backing",
                "--trust-backing/--no-trust-backing",
                "SOURCE is a qcow2 of your own: read its backing files, too.",
                kind=bool,
                value=False,
            ),
            Word("limit_rate", "--limit-rate", "Bytes per second, such as 50M.", "SIZE"),
            _JSON,
        ),
        resumes_with=("digests", "base"),
    ),
    "convert": Verb(
        convert,
        (
            _argument("source"),
            _argument("target"),
            Word("format_", "--format", "|".join(_WRITTEN), "FORMAT", choices=_WRITTEN),
            _FROM,
            _one_of("compress", "--compress", "Compress a qcow2.", "zlib|zstd"),
            _OVERWRITE,
            _JSON,
        ),
        streams=True,
    ),
    "diff": Verb(diff, (_argument("one"), _argument("other"), _FROM, _TO, _JSON)),
    "verify": Verb(
        verify,
        (
            _argument("disk"),
            Word("digests", "--digests", "The digest list of the disk.", "LIST", needed=True),
            _FROM,
            Word("sample", "--sample/--no-sample", "Read 1 % of the chunks only.", kind=bool, value=False),
            Word("seed", "--seed", "Which sample.", kind=int, value=0),
            Word(
                "mark", "--mark/--no-mark", "Mark what differs, so that copy --base repairs it.", kind=bool, value=False
            ),
            _JSON,
        ),
    ),
    "digest": Verb(
        digest,
        (
            _argument("disk"),
            Word("digests", metavar="[LIST]"),
            _FROM,
            Word("chain", "--chain", "Name this state of the disk."),
            Word("overwrite", "--overwrite/--no-overwrite", "LIST may be replaced.", kind=bool, value=False),
            _JSON,
        ),
    ),
}
