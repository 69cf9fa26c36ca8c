"""Azure's error body `{"error": {"code", "message", "target", "details"}}`: raised anywhere, answered at the edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "ArmError",
    "bad_request",
    "conflict",
    "group_not_found",
    "invalid_parameter",
    "not_found",
    "parent_not_found",
]


class ArmError(Exception):
    """One refusal as Azure words it. Raised before acceptance it is the answer; in an effect it ends the operation.

    `headers` go out with the answer (for example Retry-After). `details` None: the body has none; the network provider
    writes an empty list.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        details: Sequence[Mapping[str, Any]] | None = None,
        info: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.target = target
        self.details = None if details is None else [dict(d) for d in details]
        self.info = None if info is None else [dict(i) for i in info]
        self.headers = dict(headers or {})

    def error(self) -> dict[str, Any]:
        """The inner object: what also stands in a failed operation's `error`."""
        inner: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target is not None:
            inner["target"] = self.target
        if self.details is not None:
            inner["details"] = self.details
        if self.info is not None:
            inner["additionalInfo"] = self.info
        return inner

    def body(self) -> dict[str, Any]:
        return {"error": self.error()}

    @classmethod
    def of(cls, status: int, error: Mapping[str, Any]) -> ArmError:
        """The error again from its inner object, as an operation's record keeps it."""
        return cls(
            status,
            str(error.get("code", "InternalServerError")),
            str(error.get("message", "")),
            target=error.get("target"),
            details=error.get("details"),
            info=error.get("additionalInfo"),
        )


def bad_request(code: str, message: str, target: str | None = None) -> ArmError:
    return ArmError(400, code, message, target=target)


def invalid_parameter(target: str, message: str) -> ArmError:
    """Compute's word for a value that it cannot take."""
    return ArmError(400, "InvalidParameter", message, target=target)


def conflict(code: str, message: str, target: str | None = None) -> ArmError:
    return ArmError(409, code, message, target=target)


def group_not_found(group: str) -> ArmError:
    return ArmError(404, "ResourceGroupNotFound", f"Resource group '{group}' could not be found.")


def not_found(type_and_name: str, group: str | None) -> ArmError:
    """`type_and_name` = 'Microsoft.Compute/disks/d1'."""
    where = f" under resource group '{group}'" if group else ""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{type_and_name}'{where} was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def parent_not_found(doing: str, types: str, parent_id: str) -> ArmError:
    """`doing` = read, write, delete or action; `types` = 'virtualNetworks/subnets'."""
    return ArmError(
        404,
        "ParentResourceNotFound",
        f"Failed to perform '{doing}' on resource(s) of type '{types}', because the parent resource '{parent_id}' "
        f"could not be found.",
    )
