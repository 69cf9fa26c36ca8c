"""Shared access signatures on volumes: given by beginGetAccess, ended by endGetAccess or by the lab's clock.

One grant per volume at a time. Asking again for the same access gives the same URL (clients repeat a POST whose answer
was lost), valid for the longer of the two durations.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from urllib.parse import quote

from azurelab.disks.blob.errors import BlobError
from azurelab.disks.catalogue import Catalogue

__all__ = ["Grant", "Grants"]

# The version that Azure's own managed-disk URLs carry (recorded); it does not limit what a client may ask.
_SIGNED_VERSION = "2018-03-28"


@dataclass(frozen=True)
class Grant:
    """`family` names the incremental snapshots that may be compared with this one; None: not comparable.

    `taken_at` orders snapshots of a family. Times are the lab's, in Unix seconds. `access` is Read or Write.
    """

    volume: str
    access: str
    expires_at: float
    account: str
    container: str
    policy: str
    signature: str
    family: str | None
    taken_at: float

    @property
    def path_and_query(self) -> str:
        return (
            f"{self.account}/{self.container}/abcd?sv={_SIGNED_VERSION}&sr=b"
            f"&si={self.policy}&sig={quote(self.signature, safe='')}"
        )


class Grants:
    """Kept in the store's catalogue: they survive a restart, and go with their volume."""

    def __init__(self, catalogue: Catalogue, now: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._now = now
        self._lock = threading.Lock()
        self._by_volume: dict[str, Grant] = {}
        self._by_signature: dict[str, Grant] = {}
        for (body,) in catalogue.query("select body from grants"):
            self._remember(Grant(**json.loads(str(body))))

    def _remember(self, grant: Grant) -> None:
        self._by_volume[grant.volume] = grant
        self._by_signature[grant.signature] = grant

    def _forget(self, volume: str) -> None:
        grant = self._by_volume.pop(volume, None)
        if grant is not None:
            self._by_signature.pop(grant.signature, None)

    def open(
        self, volume: str, access: str, duration_s: float, *, family: str | None = None, taken_at: float = 0.0
    ) -> Grant:
        """Give access from now on. A live grant of the other access, or an expired one, ends."""
        now = self._now()
        with self._lock:
            old = self._by_volume.get(volume)
            if old is not None and old.expires_at > now and old.access == access:
                grant = replace(old, expires_at=max(old.expires_at, now + duration_s))
            else:
                account, container = _place(volume, access)
                grant = Grant(
                    volume=volume,
                    access=access,
                    expires_at=now + duration_s,
                    account=account,
                    container=container,
                    policy=str(uuid.uuid4()),
                    signature=base64.b64encode(os.urandom(32)).decode(),
                    family=family,
                    taken_at=taken_at,
                )
            with self._catalogue.change() as db:
                db.execute("delete from grants where volume = ?", (volume,))
                db.execute(
                    "insert into grants (signature, policy, account, container, volume, access, body) "
                    "values (?, ?, ?, ?, ?, ?, ?)",
                    (
                        grant.signature,
                        grant.policy,
                        grant.account,
                        grant.container,
                        volume,
                        access,
                        json.dumps(asdict(grant)),
                    ),
                )
            self._forget(volume)
            self._remember(grant)
            return grant

    def close(self, volume: str) -> None:
        """Revoke. No grant is fine."""
        with self._lock:
            if volume in self._by_volume:
                with self._catalogue.change() as db:
                    db.execute("delete from grants where volume = ?", (volume,))
                self._forget(volume)

    def active(self, volume: str) -> Grant | None:
        """The grant that is valid now."""
        grant = self._by_volume.get(volume)
        return grant if grant is not None and grant.expires_at > self._now() else None

    def active_in_family(self, family: str) -> list[Grant]:
        now = self._now()
        with self._lock:
            return [g for g in self._by_volume.values() if g.family == family and g.expires_at > now]

    def authorize(self, account: str, container: str, policy: str, signature: str) -> Grant:
        """The grant that a request presents. Raises 403 AuthenticationFailed if unknown, revoked or expired."""
        found = self._by_signature.get(signature)
        if (
            found is None
            or not hmac.compare_digest(found.policy, policy)
            or (found.account, found.container) != (account, container)
        ):
            raise BlobError(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of Authorization header is formed "
                "correctly including the signature.",
            )
        if found.expires_at <= self._now():
            raise BlobError(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Signature not valid in the specified time frame.",
            )
        return found


def _place(volume: str, access: str) -> tuple[str, str]:
    """Account and container of a volume: always the same, as on Azure, where a disk lives in one storage account."""
    digest = hashlib.sha256(volume.encode()).digest()
    letters = base64.b32encode(digest).decode().lower().replace("=", "")
    account = f"md-impexp-{letters[:12]}" if access == "Write" else f"md-{letters[:12]}"
    return account, letters[12:24]
