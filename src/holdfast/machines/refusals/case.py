"""What a rule looks at: the machine, and how it shall be taken over."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.clouds.protocols import Facts, Finding, Severity
from holdfast.core.tags import Owner

__all__ = ["Case", "refusal", "warning"]


@dataclass(frozen=True)
class Case:
    """object_goes: the machine object is deleted before proof (network kept, or disks reattached)."""

    facts: Facts
    us: Owner
    object_goes: bool
    reattach: bool
    spot: bool
    convert_unmanaged: bool = False
    accepted: frozenset[str] = frozenset()
    recreated_extensions: frozenset[str] = frozenset()


def refusal(code: str, text: str, remedy: str, about: str | None = None) -> Finding:
    return Finding(code, Severity.REFUSAL, text, remedy, about)


def warning(code: str, text: str, remedy: str, about: str | None = None) -> Finding:
    return Finding(code, Severity.WARNING, text, remedy, about)
