"""The three tags that Holdfast writes on cloud resources.

Azure allows 50 tags on a resource and users own most of them, so we never use more than these three.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.ids import InstallationId, OperationId

__all__ = ["OPERATION", "OUR_TAGS", "OWNER", "ROLE", "Owner"]

OWNER = "holdfast-owner"  # <installation id>/<epoch>
OPERATION = "holdfast-operation"  # the operation that made, keeps or may delete the resource
ROLE = "holdfast-role"  # what it is to that operation: original, machine, os-disk, data-disk-0, nic-0 …
OUR_TAGS = (OWNER, OPERATION, ROLE)


@dataclass(frozen=True)
class Owner:
    """One installation in one epoch. The epoch grows with every restore; a higher or a foreign one stops us."""

    installation: InstallationId
    epoch: int

    def __str__(self) -> str:
        return f"{self.installation}/{self.epoch}"

    @classmethod
    def parse(cls, text: str) -> Owner:
        installation, _, epoch = text.partition("/")
        return cls(InstallationId(installation), int(epoch))

    def tags(self, operation: OperationId, role: str) -> dict[str, str]:
        return {OWNER: str(self), OPERATION: operation, ROLE: role}
