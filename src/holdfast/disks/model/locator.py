"""Locators: where a disk's bytes are, as a value that travels to a child process.

The address is a secret (a SAS URL opens the disk to whoever has it), so it never shows in a repr, a log or an error;
`Locator.name` is what may be shown. `properties` say what the engine may rely on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from holdfast.disks.errors import DiskUsage

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Locator", "asciied_host", "shown", "visible"]

_SCHEMES = ("http:/", "https:/", "nbd:/", "nbd+unix:/")  # a slash too few is a slip of the pen: no less a secret


def _is_url(address: str) -> bool:
    return "://" in address or address.lower().startswith(_SCHEMES)


def shown(address: str) -> str:
    """The address without its secrets, safe to print: no user, no password, no query (of NBD the socket stays) and no
    `;` parameters of an http(s) path. Never raises. An address has one name for ever: digest lists are bound to it.
    """
    if not _is_url(address):
        return address
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return visible(_shown_anyhow(address))
    host = parts.hostname or ""
    if port:
        host = f"{host}:{port}"
    path, query = parts.path, ""
    if parts.scheme in ("nbd", "nbd+unix"):
        query = "&".join(part for part in parts.query.split("&") if part.startswith("socket="))
    else:
        path = path.partition(";")[0]
    return visible(urlunsplit((parts.scheme, host, path, query, "")))


def _shown_anyhow(address: str) -> str:
    """Of an address that cannot be taken apart: what stands before any query and behind any password."""
    scheme, colon, rest = address.partition("://")
    rest = re.split(r"[?#;]", rest)[0].rpartition("@")[2]
    host, slash, path = rest.partition("/")
    host = re.sub(r":(?!\d{1,5}$)[^:\]]*$", "", host)  # no port: perhaps the beginning of a password
    return re.split(r"[?#;]", scheme)[0] + colon + host + slash + path


def visible(text: str) -> str:
    """Text without what a terminal would obey or cannot print: such characters are shown as `?`."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def asciied_host(host: str, name: str) -> str:
    """A host's name as it is asked for, non-ASCII ones encoded. Raises DiskUsage where no host can be called so."""
    try:
        return host if ":" in host else host.encode("idna").decode()
    except UnicodeError as exc:
        raise DiskUsage(field="address", problem=f"{name} names a host that there cannot be") from exc


class Locator:
    """One disk's address. Not changed once made.

    `address`: a path, `-`, `nbd://…`, `nbd+unix:///EXPORT?socket=…`, or `http(s)://…`.
    `format`: raw, qcow2, vhd, vhdx, vmdk, vdi (files), page-blob, azure-disk, range (URLs); None: by suffix and scheme.
    `size_bytes`: the disk's size, without any footer; None: ask it.
    `reads_zero`: the target is new and reads zeros all over. `alignment`: of writes, in bytes.
    `chain`: identity of this disk state in a chain of changes; `changed_since`: the state that `previous` names.
    `previous`: address of the older snapshot that a page-range difference is asked against (a secret too).
    `expires_at`: when the address stops working; the engine asks its `renew()` before.
    """

    def __init__(
        self,
        address: str,
        format: str | None = None,  # noqa: A002 - the field is called so
        size_bytes: int | None = None,
        alignment: int = 1,
        reads_zero: bool = False,
        chain: str | None = None,
        changed_since: str | None = None,
        previous: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        self.address = address
        self.format = format
        self.size_bytes = size_bytes
        self.alignment = alignment
        self.reads_zero = reads_zero
        self.chain = chain
        self.changed_since = changed_since
        self.previous = previous
        self.expires_at = expires_at

    @property
    def name(self) -> str:
        return shown(self.address)

    @property
    def is_url(self) -> bool:
        return _is_url(self.address)

    @property
    def is_stream(self) -> bool:
        return self.address == "-"

    def __repr__(self) -> str:
        return f"Locator({self.name!r}, format={self.format!r}, size_bytes={self.size_bytes!r})"

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Locator) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def renewed(self, address: str, expires_at: datetime | None = None) -> Locator:
        return Locator(**(vars(self) | {"address": address, "expires_at": expires_at}))

    def of_format(self, kind: str) -> Locator:
        return Locator(**(vars(self) | {"format": kind}))

    def to_json(self) -> str:
        """JSON with the secret address: for a pipe to the mover, never for a log."""
        fields: dict[str, Any] = dict(vars(self))
        if self.expires_at is not None:
            from holdfast.core.clock import format_utc

            fields["expires_at"] = format_utc(self.expires_at)
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str) -> Locator:
        fields = json.loads(text)
        if fields.get("expires_at"):
            from holdfast.core.clock import parse_utc

            fields["expires_at"] = parse_utc(fields["expires_at"])
        return cls(**fields)
