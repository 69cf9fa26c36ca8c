"""What `holdfast disk` does, without the command line's library: importing that costs more than a small copy.

`VERBS` says which words each verb takes. `disk.py` makes the full command line of it (help, completion, errors),
`disk_words.py` reads plain command lines without it. Heavy imports happen inside the verbs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from holdfast.disks.model.locator import Locator
    from holdfast.disks.model.report import Report, Watcher
    from holdfast.disks.readers.protocol import ChangeList

__all__ = ["VERBS", "Verb", "Word", "run_verb"]


class Word(NamedTuple):
    """One argument or option of a verb. Without `option` it is an argument; an option of kind bool is a switch, whose
    opposite stands behind a slash.

    `value`: what the verb is given where the word is left out; `needed`: it may not be left out.
    """

    name: str  # of the verb's parameter
    option: str | None = None
    help: str | None = None
    metavar: str | None = None
    kind: type[str] | type[int] | type[bool] = str
    value: str | int | bool | None = None
    needed: bool = False


class Verb(NamedTuple):
    """A verb: what it runs, and the words it takes. `run` returns the exit code and raises HoldfastError."""

    run: Callable[..., int]
    words: tuple[Word, ...]


def run_verb(verb: Verb, given: dict[str, Any]) -> int:
    """Run a verb with its words; our errors are shown with their remedy. Returns the exit code."""
    from holdfast.core.errors import HoldfastError, error_to_record

    try:
        return verb.run(**given)
    except HoldfastError as error:
        if given["as_json"]:
            _print_json({"error": error_to_record(error)})
        else:
            print(f"{error.message}\n  {error.advice}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped; run the same command again to resume.", file=sys.stderr)
        return 1


def _print_json(told: Any, file: Any = None) -> None:
    import json

    print(json.dumps(told), file=file)


def _locator(text: str, declared: str | None) -> Locator:
    from holdfast.disks.model.locator import Locator

    return Locator(text, declared)


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
        _print_json(report.to_dict())
        return
    for note in report.notes:
        print(f"note: {note}", file=sys.stderr)
    print(
        f"{report.why}{' (resumed)' if report.resumed else ''}: read {format_bytes(report.read_bytes)}, "
        f"changed {format_bytes(report.changed_bytes)}, wrote {format_bytes(report.written_bytes)}, "
        f"zeroed {format_bytes(report.zeroed_bytes)}"
        + (f", not read again {format_bytes(report.skipped_bytes)}" if report.skipped_bytes else ""),
        file=sys.stderr,
    )
    if report.verified != "none":
        print(f"verified ({report.verified}): read back {format_bytes(report.verified_bytes)}", file=sys.stderr)
    if report.root:
        print(f"root {report.root}", file=sys.stderr)


def _changes(path: str | None) -> ChangeList | None:
    if path is None:
        return None
    from holdfast.disks.changes import read_change_file

    return read_change_file(path)


def info(disk: str, from_: str | None, as_json: bool) -> int:
    """Say what a disk is: format, size, data, and whether we would open it. Opens nothing that it points to."""
    from holdfast.disks.describing import describe

    facts = describe(_locator(disk, from_))
    if as_json:
        _print_json(facts)
    else:
        for key, value in facts.items():
            print(f"{key.replace('_', ' '):<16} {value}")
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
    from holdfast.disks.budget import Budget
    from holdfast.disks.jobs import CopyJob, run_copy

    rate = None
    if limit_rate is not None:
        from holdfast.core.units import parse_bytes

        rate = parse_bytes(limit_rate, "limit-rate")
    found = _changes(changed)
    if found is None and (bitmap is not None or previous is not None):
        from holdfast.disks.changes import changes_of

        found = changes_of(_locator(source, from_), bitmap=bitmap, previous=previous, chain=asked["chain"])
    job = CopyJob(
        _locator(source, from_), _locator(target, to), changes=found, budget=Budget(rate_bytes_s=rate), **asked
    )
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

    with _progress("convert", as_json or target == "-") as watcher:
        report = run_convert(
            _locator(source, from_),
            _locator(target, None),
            format_,
            compress=compress,
            overwrite=overwrite,
            watcher=watcher,
        )
    if as_json and target == "-":
        _print_json(report.to_dict(), file=sys.stderr)
    else:
        _print_report(report, as_json)
    return 0


def diff(one: str, other: str, from_: str | None, to: str | None, as_json: bool) -> int:
    """Compare two disks byte by byte. Exit 0: equal; 1: different, with the extents named."""
    from holdfast.disks.jobs import diff as run_diff

    with _progress("diff", as_json) as watcher:
        found = run_diff(_locator(one, from_), _locator(other, to), watcher=watcher)
    return _print_difference(found.extents, found.read_bytes, None, as_json)


def verify(disk: str, digests: str, from_: str | None, sample: bool, seed: int, mark: bool, as_json: bool) -> int:
    """Compare a disk with its digest list. Exit 0: equal; 1: different, with the extents named."""
    from holdfast.disks.jobs import verify as run_verify

    with _progress("verify", as_json) as watcher:
        found = run_verify(
            _locator(disk, from_),
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

    with _progress("digest", as_json) as watcher:
        report = run_digest(_locator(disk, from_), digests, chain=chain, overwrite=overwrite, watcher=watcher)
    if as_json:
        _print_json(report.to_dict())
    else:
        print(report.root)
    return 0


def _print_difference(extents: list[Any], read_bytes: int, root: str | None, as_json: bool) -> int:
    if as_json:
        listed = [{"start": e.start, "end": e.end} for e in extents]
        _print_json({"equal": not extents, "extents": listed, "read_bytes": read_bytes, "root": root})
    else:
        print("equal" if not extents else f"different in {len(extents)} extents:")
        for extent in extents:
            print(f"  {extent.start}..{extent.end}")
    return 1 if extents else 0


_FROM = Word("from_", "--from", "What the source is, if not by suffix.", "FORMAT")
_TO = Word("to", "--to", "What the target is, if not by suffix.", "FORMAT")
_JSON = Word("as_json", "--json", "Print one JSON object instead of text.", kind=bool, value=False)
_OVERWRITE = Word(
    "overwrite", "--overwrite/--no-overwrite", "The target's present content may be lost.", kind=bool, value=False
)


def _argument(name: str) -> Word:
    return Word(name, needed=True)


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
            Word("verify", "--verify", "Read back after writing.", "none|sample|full"),
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
    ),
    "convert": Verb(
        convert,
        (
            _argument("source"),
            _argument("target"),
            Word("format_", "--format", "raw|qcow2|vhd-fixed|vhd|vhdx|vmdk-stream|vdi|ova", "FORMAT"),
            _FROM,
            Word("compress", "--compress", "Compress a qcow2.", "zlib|zstd"),
            _OVERWRITE,
            _JSON,
        ),
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
