"""Who calls: bearer tokens, roles, and the clouds that a token is limited to."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from holdfast.core.errors import HoldfastError, Retry
from holdfast.engine import Role
from holdfast.store.tokens import digest_of, find_token
from holdfast.wiring import House

__all__ = ["Admin", "Caller", "NotAllowed", "Operator", "TheHouse", "TokenRejected", "Viewer", "caller_of"]

LOCAL = "local"  # the actor of CLIs on the server's own home


class TokenRejected(HoldfastError):
    """No token, or one that opens nothing."""

    code, retry, exit_code, http_status = "token.rejected", Retry.AFTER_CHANGE, 4, 401
    text = "{problem}"
    remedy = "Send 'Authorization: Bearer TOKEN' (HOLDFAST_TOKEN); make one with 'holdfast token create' on the home."


class NotAllowed(HoldfastError):
    """The token is known and may not do this."""

    code, retry, exit_code, http_status = "token.not_allowed", Retry.AFTER_CHANGE, 4, 403
    text = "The token {name} {problem}."
    remedy = "Use a token with a higher role, or one that is not limited to other clouds."


@dataclass(frozen=True)
class Caller:
    """A token as it was presented. clouds None = all."""

    name: str
    role: Role
    clouds: tuple[str, ...] | None = None

    def sees(self, cloud: str) -> bool:
        return self.clouds is None or cloud in self.clouds

    def require(self, role: Role) -> None:
        if not self.role.includes(role):
            raise NotAllowed(name=self.name, problem=f"is a {self.role.value}'s; this needs {role.value}")

    def require_cloud(self, cloud: str) -> None:
        if not self.sees(cloud):
            raise NotAllowed(name=self.name, problem=f"is limited to other clouds than {cloud}")

    def require_all_clouds(self) -> None:
        if self.clouds is not None:
            raise NotAllowed(name=self.name, problem="is limited to some clouds; this concerns all of them")


def the_house(request: Request) -> House:
    house: House = request.app.state.house
    return house


TheHouse = Annotated[House, Depends(the_house)]


def caller_of(request: Request) -> Caller:
    """Raises TokenRejected. Tokens live on real time: no clock of ours ends them, only a revocation."""
    house = the_house(request)
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise TokenRejected(problem="This needs a bearer token.")
    if hmac.compare_digest(digest_of(text), digest_of(house.local_token)):
        return Caller(LOCAL, Role.ADMIN)
    with house.database.read() as session:
        found = find_token(session, text)
    if found is None:
        raise TokenRejected(problem="The token is unknown or was revoked.")
    return Caller(found.name, Role(found.role), found.clouds)


def _viewer(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    caller.require(Role.VIEWER)
    return caller


def _operator(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    caller.require(Role.OPERATOR)
    return caller


def _admin(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    caller.require(Role.ADMIN)
    return caller


Viewer = Annotated[Caller, Depends(_viewer)]
Operator = Annotated[Caller, Depends(_operator)]
Admin = Annotated[Caller, Depends(_admin)]
