"""Who may do what: Azure role definitions as data, one per application, everything allowed unless told otherwise."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal
from azurelab.arm.store import Store

__all__ = ["Roles"]


@lru_cache(maxsize=4096)
def _matches(pattern: str, action: str) -> bool:
    return re.fullmatch(re.escape(pattern.lower()).replace(r"\*", ".*"), action.lower()) is not None


class Roles:
    """Settings `role:<appid>` and `role:*`: `{"actions": […], "notActions": […]}` with Azure's wildcards."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def set(self, principal: str, actions: list[str], not_actions: list[str] | None = None) -> None:
        """`principal`: an appid, or `*` for everybody without a role of their own."""
        self._store.set_setting(f"role:{principal}", {"actions": actions, "notActions": not_actions or []})

    def of(self, caller: Principal) -> dict[str, Any]:
        role = self._store.setting(f"role:{caller.appid}") or self._store.setting("role:*")
        return role or {"actions": ["*"], "notActions": []}

    def allowed(self, caller: Principal, action: str) -> bool:
        role = self.of(caller)
        return any(_matches(p, action) for p in role["actions"]) and not any(
            _matches(p, action) for p in role["notActions"]
        )

    def check(self, caller: Principal, action: str, scope: str) -> None:
        """ArmError 403 AuthorizationFailed."""
        if not self.allowed(caller, action):
            raise ArmError(
                403,
                "AuthorizationFailed",
                f"The client '{caller.appid}' with object id '{caller.oid}' does not have authorization to perform "
                f"action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, "
                f"please refresh your credentials.",
            )
