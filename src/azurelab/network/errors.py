"""The network provider's dialect of Azure's error body: `details` is always there, empty where there are none."""

from __future__ import annotations

from azurelab.arm.errors import ArmError

__all__ = ["NetworkError"]


class NetworkError(ArmError):
    """A refusal of Microsoft.Network itself, unlike one of ARM's front door."""

    def __init__(self, status: int, code: str, message: str, *, target: str | None = None) -> None:
        super().__init__(status, code, message, target=target, details=[])
