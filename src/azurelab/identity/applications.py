"""The applications (service principals) of the lab's directory: its owner, and others that the world registers."""

from __future__ import annotations

from azurelab.arm.http import Principal
from azurelab.arm.store import Store

__all__ = ["Applications"]


class Applications:
    """By client id; secrets are the lab's own and worth nothing elsewhere."""

    def __init__(self, store: Store, owner: Principal, owner_secret: str) -> None:
        self._store = store
        self._owner = owner
        self._owner_secret = owner_secret

    def get(self, client_id: str) -> Principal | None:
        if client_id.lower() == self._owner.appid:
            return self._owner
        found = self._store.setting(f"application:{client_id.lower()}")
        return Principal(client_id.lower(), found["oid"]) if found else None

    def secret(self, client_id: str) -> str:
        if client_id.lower() == self._owner.appid:
            return self._owner_secret
        return str(self._store.setting(f"application:{client_id.lower()}")["secret"])

    def add(self, client_id: str, object_id: str, secret: str) -> None:
        self._store.set_setting(f"application:{client_id.lower()}", {"oid": object_id, "secret": secret})
