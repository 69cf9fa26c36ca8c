"""/v1/tokens and /v1/audit: who may do what, and who did."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from holdfast.api import shown
from holdfast.api.access import Admin, TheHouse
from holdfast.engine import Role
from holdfast.store.audit import audit, audit_entries
from holdfast.store.tokens import create_token, list_tokens, revoke_token

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["access"])


class NewToken(BaseModel):
    """clouds: what it is limited to; None = all."""

    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role = Role.VIEWER
    clouds: list[str] | None = None


@router.post("/tokens", operation_id="createToken", status_code=201)
def create(body: NewToken, house: TheHouse, caller: Admin) -> dict[str, Any]:
    """The only answer that ever holds the token itself."""
    caller.require_all_clouds()  # a limited token could otherwise make itself an unlimited one
    now = house.clock.now()
    with house.database.write() as session:
        text = create_token(session, body.name, body.role.value, now, clouds=body.clouds, by=caller.name)
        audit(session, now, caller.name, "token.create", subject=body.name, role=body.role.value, clouds=body.clouds)
    return {"token": text, "name": body.name, "role": body.role.value, "clouds": body.clouds}


@router.get("/tokens", operation_id="listTokens")
def list_all(house: TheHouse, caller: Admin) -> list[dict[str, Any]]:
    caller.require_all_clouds()
    with house.database.read() as session:
        return [shown.token(one) for one in list_tokens(session)]


@router.delete("/tokens/{name}", operation_id="revokeToken")
def revoke(name: str, house: TheHouse, caller: Admin) -> dict[str, Any]:
    caller.require_all_clouds()
    now = house.clock.now()
    with house.database.write() as session:
        revoked = revoke_token(session, name, now)
        audit(session, now, caller.name, "token.revoke", subject=name)
    return shown.token(revoked)


@router.get("/audit", operation_id="listAudit")
def list_audit(
    house: TheHouse,
    caller: Admin,
    subject: str | None = None,
    action: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Who changed what, and what Holdfast sent to the clouds; lines with an id above `after`, oldest first."""
    caller.require_all_clouds()
    most = max(1, min(limit, 1000))
    with house.database.read() as session:
        found = audit_entries(session, subject=subject, action=action, after=after, limit=most)
        return [shown.audit_line(one) for one in found]
