"""Locators: where a disk's bytes are, as a value that travels to a child process.

The address is a secret (a SAS URL opens the disk to whoever has it), so it never shows in a repr, a log or an error;
`Locator.name` is what may be shown. `properties` say what the engine may rely on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Locator", "shown"]


def shown(address: str) -> str:
    """The address without its query and password: safe to print."""
    if "://" not in address:
        return address
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.port:
        host = f"{host}:{parts.port}"
    query = "" if parts.scheme in ("http", "https") else parts.query
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


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
        return "://" in self.address

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
