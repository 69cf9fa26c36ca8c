"""`holdfast disk`: copy, compare, verify, convert and digest virtual disks. Needs no server and no account.

Heavy imports happen inside the commands, so that `--help` and small copies start fast.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from holdfast.disks.model.locator import Locator
    from holdfast.disks.model.report import Report, Watcher
    from holdfast.disks.readers.protocol import ChangeList

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Copy, compare, verify, convert and digest virtual disks: files, devices, NBD and https URLs.",
)

From = Annotated[str | None, typer.Option("--from", metavar="FORMAT", help="What the source is, if not by suffix.")]
To = Annotated[str | None, typer.Option("--to", metavar="FORMAT", help="What the target is, if not by suffix.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@contextmanager
def _told(as_json: bool) -> Iterator[None]:
    """Show our errors with their remedy and exit with their code."""
    from holdfast.core.errors import HoldfastError, error_to_record

    try:
        yield
    except HoldfastError as error:
        if as_json:
            print(json.dumps({"error": error_to_record(error)}))
        else:
            print(f"{error.message}\n  {error.advice}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        print("Stopped; run the same command again to resume.", file=sys.stderr)
        raise typer.Exit(1) from None


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
        print(json.dumps(report.to_dict()))
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


@app.command()
def info(
    disk: str,
    from_: From = None,
    as_json: Json = False,
) -> None:
    """Say what a disk is: format, size, data, and whether we would open it. Opens nothing that it points to."""
    with _told(as_json):
        from holdfast.disks.describing import describe

        facts = describe(_locator(disk, from_))
        if as_json:
            print(json.dumps(facts))
        else:
            for key, value in facts.items():
                print(f"{key.replace('_', ' '):<16} {value}")


@app.command()
def copy(
    source: str,
    target: str,
    from_: From = None,
    to: To = None,
    digests: Annotated[str | None, typer.Option(metavar="LIST", help="Write the digest list of the target.")] = None,
    base: Annotated[
        str | None, typer.Option(metavar="LIST", help="The target holds the state of LIST: write only what changed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="The target's present content may be lost.")] = False,
    verify: Annotated[str | None, typer.Option(metavar="none|sample|full", help="Read back after writing.")] = None,
    changed: Annotated[
        str | None, typer.Option(metavar="FILE", help="Changed extents, as JSON: since, now, extents.")
    ] = None,
    bitmap: Annotated[str | None, typer.Option(metavar="NAME", help="Dirty bitmap of an NBD source.")] = None,
    previous: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the older snapshot of an Azure source.")
    ] = None,
    chain: Annotated[str | None, typer.Option(help="Name this state of the source, for --changed next time.")] = None,
    source_unchanged: Annotated[
        bool, typer.Option(help="A device source is as the interrupted run saw it, so it may resume.")
    ] = False,
    limit_rate: Annotated[str | None, typer.Option(metavar="SIZE", help="Bytes per second, such as 50M.")] = None,
    as_json: Json = False,
) -> None:
    """Copy a disk; with --base only what changed. After a kill the same command resumes."""
    with _told(as_json):
        from holdfast.disks.budget import Budget
        from holdfast.disks.changes import changes_of
        from holdfast.disks.jobs import CopyJob, run_copy

        rate = None
        if limit_rate is not None:
            from holdfast.core.units import parse_bytes

            rate = parse_bytes(limit_rate, "limit-rate")
        found = _changes(changed) or changes_of(_locator(source, from_), bitmap=bitmap, previous=previous, chain=chain)
        job = CopyJob(
            _locator(source, from_),
            _locator(target, to),
            digests=digests,
            base=base,
            overwrite=overwrite,
            verify=verify,
            changes=found,
            chain=chain,
            source_unchanged=source_unchanged,
            budget=Budget(rate_bytes_s=rate),
        )
        with _progress("copy", as_json) as watcher:
            report = run_copy(job, watcher=watcher)
        _print_report(report, as_json)


@app.command()
def convert(
    source: str,
    target: str,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="raw|qcow2|vhd-fixed|vhd|vhdx|vmdk-stream|vdi|ova")
    ] = None,
    from_: From = None,
    compress: Annotated[str | None, typer.Option(metavar="zlib|zstd", help="Compress a qcow2.")] = None,
    overwrite: Annotated[bool, typer.Option(help="The target's present content may be lost.")] = False,
    as_json: Json = False,
) -> None:
    """Write a disk in another format; a target of - is a stream on standard output."""
    with _told(as_json):
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
            print(json.dumps(report.to_dict()), file=sys.stderr)
        else:
            _print_report(report, as_json)


@app.command()
def diff(one: str, other: str, from_: From = None, to: To = None, as_json: Json = False) -> None:
    """Compare two disks byte by byte. Exit 0: equal; 1: different, with the extents named."""
    with _told(as_json):
        from holdfast.disks.jobs import diff as run_diff

        with _progress("diff", as_json) as watcher:
            found = run_diff(_locator(one, from_), _locator(other, to), watcher=watcher)
        _print_difference(found.extents, found.read_bytes, None, as_json)


@app.command()
def verify(
    disk: str,
    digests: Annotated[str, typer.Option(metavar="LIST", help="The digest list of the disk.")],
    from_: From = None,
    sample: Annotated[bool, typer.Option(help="Read 1 % of the chunks only.")] = False,
    seed: Annotated[int, typer.Option(help="Which sample.")] = 0,
    mark: Annotated[bool, typer.Option(help="Mark what differs, so that copy --base repairs it.")] = False,
    as_json: Json = False,
) -> None:
    """Compare a disk with its digest list. Exit 0: equal; 1: different, with the extents named."""
    with _told(as_json):
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
        _print_difference(found.extents, found.read_bytes, found.root, as_json)


@app.command()
def digest(
    disk: str,
    digests: Annotated[str | None, typer.Argument(metavar="[LIST]")] = None,
    from_: From = None,
    chain: Annotated[str | None, typer.Option(help="Name this state of the disk.")] = None,
    overwrite: Annotated[bool, typer.Option(help="LIST may be replaced.")] = False,
    as_json: Json = False,
) -> None:
    """Digest a disk: print its root and, with LIST, write its digest list."""
    with _told(as_json):
        from holdfast.disks.jobs import digest as run_digest

        with _progress("digest", as_json) as watcher:
            report = run_digest(_locator(disk, from_), digests, chain=chain, overwrite=overwrite, watcher=watcher)
        if as_json:
            print(json.dumps(report.to_dict()))
        else:
            print(report.root)


def _print_difference(extents: list[Any], read_bytes: int, root: str | None, as_json: bool) -> None:
    if as_json:
        listed = [{"start": e.start, "end": e.end} for e in extents]
        print(json.dumps({"equal": not extents, "extents": listed, "read_bytes": read_bytes, "root": root}))
    else:
        print("equal" if not extents else f"different in {len(extents)} extents:")
        for extent in extents:
            print(f"  {extent.start}..{extent.end}")
    if extents:
        raise typer.Exit(1)
