"""Claims: the right to delete. Only the functions here make one, and each demands what its reason stands for."""

from __future__ import annotations

from holdfast.clouds.protocols import Claim, ClaimReason
from holdfast.core.errors import InternalError
from holdfast.machines.ledger import Entry, Fate, Origin, Part

__all__ = ["claim_after_proof", "claim_after_return", "claim_own_work", "claim_recreatable"]


def claim_own_work(made: Entry) -> Claim:
    """Unwinding: what the operation itself created and never handed over."""
    if made.origin is not Origin.MADE or made.fate in (Fate.IN_USE, Fate.RETURNED):
        raise InternalError(problem=f"{made.role} is {made.origin} and {made.fate}: not ours to delete")
    return Claim(made.ref, made.identity, ClaimReason.OURS, made.operation)


def claim_recreatable(machine: Entry, kept: tuple[str, ...], parts: tuple[str, ...]) -> Claim:
    """A machine object whose parts all outlive it and whose document is recorded.

    kept: ids of the parts that were read back as detached on deletion. parts: ids of all its parts.
    """
    if machine.part is not Part.MACHINE:
        raise InternalError(problem=f"{machine.role} is no machine object and cannot be re-created")
    missing = {ref.lower() for ref in parts} - {ref.lower() for ref in kept}
    if missing:
        raise InternalError(problem=f"{machine.ref} would take {sorted(missing)} along")
    if not machine.document.body.get("properties"):
        raise InternalError(problem=f"{machine.ref} has no recorded document to be re-created from")
    return Claim(machine.ref, machine.identity, ClaimReason.RECREATABLE, machine.operation)


def claim_after_proof(retained: Entry, used: frozenset[str]) -> Claim:
    """Clean-up: a retained resource whose successor was proven right before.

    used: lower-case ids of everything that the successor uses; none of it can be claimed.
    """
    if retained.fate is not Fate.RETAINED:
        raise InternalError(problem=f"{retained.role} is {retained.fate}, not retained")
    if retained.identity is None and retained.origin is Origin.ORIGINAL:
        raise InternalError(problem=f"{retained.ref} was recorded without an identity: it could be another by now")
    if retained.ref.lower() in used and retained.part is not Part.MACHINE:
        raise InternalError(problem=f"{retained.ref} is used by the successor")
    return Claim(retained.ref, retained.identity, ClaimReason.SUCCESSOR_PROVEN, retained.operation)


def claim_after_return(made: Entry, identity: str | None) -> Claim:
    """Undo: what the import made, after the original was proven in its place."""
    if made.origin is not Origin.MADE and made.fate is not Fate.RETAINED:
        raise InternalError(problem=f"{made.role} is the original's own and {made.fate}: not ours to delete")
    return Claim(made.ref, identity, ClaimReason.SUCCESSOR_PROVEN, made.operation)
