"""What words of `holdfast disk` cannot mean: refused before anything is opened, with the word that is meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from holdfast.cli.disk_verbs import Word
    from holdfast.disks.model.locator import Locator

__all__ = ["FORMATS", "disk_at", "field_of", "require_list_name", "require_meant", "require_standard_input"]

_OF_URLS = ("page-blob", "azure-disk", "range")
FORMATS = ("raw", "qcow2", "vhd", "vhd-fixed", "vhdx", "vmdk", "vdi", "nbd", *_OF_URLS)


def require_meant(words: Iterable[Word], given: dict[str, Any]) -> None:
    """Raises DiskUsage for an option in place of a value, and for values that are none of the fixed words."""
    for word in words:
        value = given.get(word.name)
        if not isinstance(value, str):
            continue
        if word.option is not None and value.startswith("-") and not value[1:2].isdigit():
            _refuse(word.name, f"'{value}' stands where its value belongs; a file of that name is written ./{value}")
        if word.choices and value not in word.choices:
            _refuse(word.name, f"'{value}' is not one of: {', '.join(word.choices)}")


def field_of(name: str) -> str:
    """What a parameter of a verb is called on the command line."""
    return name.rstrip("_").replace("_", "-")


def disk_at(text: str, declared: str | None, name: str) -> Locator:
    """The disk that the argument `name` means. Raises DiskUsage for a stream, a folder, and a declared format that
    such an address cannot have."""
    from holdfast.disks.model.locator import Locator, shown

    if text == "-":
        _refuse(name, "only 'holdfast disk convert' reads standard input and writes standard output; ./- is a file")
    if text.startswith(("nbd:/", "nbd+unix:/")):
        if declared not in (None, "nbd"):
            _refuse(name, f"{shown(text)} is an NBD export and not {declared}; leave its format out")
    elif Locator(text).is_url:
        if declared is not None and declared not in _OF_URLS:
            _refuse(
                name, f"{shown(text)} is a URL, whose bytes are the disk's, and not {declared}; leave its format out"
            )
    elif declared in (*_OF_URLS, "nbd"):
        _refuse(name, f"{text} is a path, and {declared} is something with a URL")
    elif Path(text).is_dir():
        _refuse(name, f"{text or 'an empty name'} is a folder; name a file or a device")
    return Locator(text, declared)


def require_list_name(path: str | None, name: str, *, there: bool = False) -> None:
    """Raises DiskUsage for what looks like an option, and for a folder; DiskNotFound where a list must be `there`."""
    if path is None:
        return
    if path.startswith("-"):
        _refuse(name, f"'{path}' looks like an option; a file of that name is written ./{path}")
    if Path(path).is_dir():
        _refuse(name, f"{path or 'an empty name'} is a folder; name a file")
    _require_path(path, name)
    if there and not Path(path).exists():
        from holdfast.disks.errors import DiskNotFound

        raise DiskNotFound(kind="digest list", name=path, field=field_of(name))


def _require_path(text: str, name: str) -> None:
    from holdfast.disks.model.locator import Locator

    if (file := Locator(text)).is_url:
        _refuse(name, f"{file.name} is a URL; name a file")


def require_standard_input(declared: str | None) -> None:
    """Raises DiskUsage where nothing can come from there, or something else than a raw disk is expected."""
    import sys

    if declared not in (None, "raw"):
        _refuse("from", f"standard input is read as raw; store {declared} in a file first and convert that")
    if sys.stdin is None:
        _refuse("source", "standard input is closed")


def _refuse(name: str, problem: str) -> NoReturn:
    from holdfast.disks.errors import DiskUsage

    raise DiskUsage(field=field_of(name), problem=problem)
