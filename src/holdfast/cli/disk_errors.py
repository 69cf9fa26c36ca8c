"""How `holdfast disk` says what went wrong: always as a typed error, as text or as one JSON document, and never as a
traceback, unless HOLDFAST_TRACEBACK=1 asks for it. Imported only when something did.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

from holdfast.cli.disk_terminal import UNREAD_EXIT, OutputGone, StoppedBySignal, note, tell
from holdfast.cli.disk_usage import field_of
from holdfast.cli.errors import Stopped, Unexpected
from holdfast.core.errors import HoldfastError, error_to_record
from holdfast.disks.errors import RESUMES, RESUMES_CHANGES, SystemRefused, WriteFailed
from holdfast.disks.model.locator import shown

__all__ = ["show_failure"]

_STARTS_OVER = "it starts over"
_BESIDE = (".unfinished", ".journal", ".resized", ".hints")  # what is written beside a target or a list
_WAYS_OUT = {
    errno.EACCES: "Run it as a user who may do this, or have the permissions of that file and its folders changed.",
    errno.EPERM: "Run it as a user who may do this; the file may also be immutable (lsattr).",
    errno.EROFS: "That file system is read-only: name a place that can be written.",
    errno.EISDIR: "That is a folder: name a file or a device.",
    errno.ENOTDIR: "A part of that path is a file and not a folder: check the path.",
    errno.ENOENT: "Check the path: something on the way to it is not there.",
    errno.EEXIST: "Move away what has that name, or choose another.",
    errno.ELOOP: "Symbolic links on that path lead in a circle: mend them, or name the file itself.",
    errno.ENAMETOOLONG: "Choose a shorter name; up to 11 letters are added to it, such as .unfinished.",
    errno.ENOSPC: "Make room on that file system and run the same command again.",
    errno.EDQUOT: "Make room within your quota and run the same command again.",
    errno.EFBIG: "No file may become so large there: look at 'ulimit -f', or name a place on another file system.",
    errno.EINVAL: "That kind of file, or its file system, does not do this: name a place on another file system.",
    errno.EOPNOTSUPP: "Its file system does not do this: name a place on another file system.",
    errno.EMFILE: "Raise the limit of open files ('ulimit -n') and run the same command again.",
    errno.ENOMEM: "Free memory and run the same command again.",
    errno.EBUSY: "Stop what uses it and run the same command again.",
    errno.ETXTBSY: "Stop the program of that name and run the same command again.",
    errno.EIO: "The device fails: look at what the kernel says about it (dmesg).",
}
_OTHERWISE = "Look at that file and at the system's log, then run the same command again."


def show_failure(exc: BaseException, given: dict[str, Any], *, resumes: bool = False, streaming: bool = False) -> int:
    """Say what ended a verb; returns the exit code.

    `resumes`: the same command goes on from where it ended. `streaming`: a disk goes to standard output, so nothing
    else may be said there. Where standard output is closed by its reader nothing is
    said and the code is that of the error, or 141 if it was the answer that nobody wanted, as a shell shows it for
    programs that SIGPIPE ends. Where it is full, standard error says so.
    """
    if streaming and _broke_pipe(exc):
        return UNREAD_EXIT
    if isinstance(exc, OutputGone):
        if exc.unread:
            return UNREAD_EXIT
        note(f"It is done, but the answer cannot be written to standard output: {exc.problem}.")
        return 1
    error = _typed(exc, given)
    record = error_to_record(error)
    if not resumes:
        record["remedy"] = record["remedy"].replace(RESUMES, _STARTS_OVER).replace(RESUMES_CHANGES, _STARTS_OVER)
    if not isinstance(exc, HoldfastError | KeyboardInterrupt) and os.environ.get("HOLDFAST_TRACEBACK") == "1":
        import traceback

        note("".join(traceback.format_exception(exc)).rstrip())
    text = f"{record['text']}\n  {record['remedy']}"
    if not given.get("as_json") and "--json" not in given.values():
        note(text)
    else:
        _tell_json(record, text, streaming=streaming)
    return 128 + exc.number if isinstance(exc, StoppedBySignal) else error.exit_code


def _tell_json(record: dict[str, Any], text: str, *, streaming: bool) -> None:
    import json

    document = json.dumps({"error": record})
    if streaming:
        note(document)
        return
    try:
        tell(document)
    except OutputGone as gone:
        if not gone.unread:
            note(text)


def _typed(exc: BaseException, given: dict[str, Any]) -> HoldfastError:
    match exc:
        case HoldfastError():
            return exc
        case StoppedBySignal():
            return Stopped(signal=signal.Signals(exc.number).name)
        case KeyboardInterrupt():
            return Stopped(signal="Ctrl-C")
        case OSError():
            return _refusal(exc, given)
        case _:
            return Unexpected(problem=_without_secrets(f"{type(exc).__name__}: {exc}", given))


def _without_secrets(text: str, given: dict[str, Any]) -> str:
    """Nothing of what stands in the addresses that were given and may not be shown."""
    for value in given.values():
        if isinstance(value, str) and shown(value) != value:
            for part in (value, *value.split("?", 1)[1:]):
                text = text.replace(part, "…") if part else text
    return text


def _refusal(exc: OSError, given: dict[str, Any]) -> SystemRefused:
    """What the system said, of which file, and which argument that is."""
    names = [os.fsdecode(name) for name in (exc.filename, exc.filename2) if isinstance(name, str | bytes)]
    field = next((field_of(word) for word, value in given.items() for name in names if _is_of(name, value)), None)
    said = exc.strerror or str(exc) or type(exc).__name__
    return SystemRefused(
        problem=": ".join([said, *map(shown, names[:1])]),
        way_out=_WAYS_OUT.get(exc.errno or 0, _OTHERWISE),
        **({"field": field} if field else {}),
    )


def _is_of(name: str, value: object) -> bool:
    return isinstance(value, str) and name.startswith(value) and name[len(value) :] in ("", *_BESIDE)


def _broke_pipe(exc: BaseException) -> bool:
    """Whether the reader of a disk on standard output went away."""
    cause = exc.__cause__ if isinstance(exc, WriteFailed) else exc
    return isinstance(cause, BrokenPipeError)
