"""The states of an import, and how they follow from the states of the operations that work on it. Pure."""

from __future__ import annotations

from enum import StrEnum

from holdfast.engine.states import State

__all__ = ["ImportState", "after_finishing", "after_importing", "after_undoing", "spot_word"]


class ImportState(StrEnum):
    RUNNING = "running"
    IMPORTED = "imported"
    UNDOING = "undoing"
    UNDONE = "undone"
    FINISHING = "finishing"
    FINISHED = "finished"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"
    STUCK = "stuck"


OPEN = frozenset({ImportState.RUNNING, ImportState.UNDOING, ImportState.FINISHING, ImportState.CANCELLING,
                  ImportState.STUCK})  # fmt: skip


def after_importing(state: State, *, cancelled: bool) -> ImportState:
    """cancelled: a person asked for it. An unwind after an error is still running: it ends in failed."""
    match state:
        case State.DONE:
            return ImportState.IMPORTED
        case State.FAILED:
            return ImportState.FAILED
        case State.CANCELLED:
            return ImportState.CANCELLED
        case State.STUCK:
            return ImportState.STUCK
        case _:
            return ImportState.CANCELLING if cancelled else ImportState.RUNNING


def after_undoing(state: State) -> ImportState:
    """An undo that failed or was cancelled has started the node again: the import stands as it did."""
    match state:
        case State.DONE:
            return ImportState.UNDONE
        case State.FAILED | State.CANCELLED:
            return ImportState.IMPORTED
        case State.STUCK:
            return ImportState.STUCK
        case _:
            return ImportState.UNDOING


def after_finishing(state: State) -> ImportState:
    """A clean-up that did not begin to delete leaves the import as it was, with its originals."""
    match state:
        case State.DONE:
            return ImportState.FINISHED
        case State.FAILED | State.CANCELLED:
            return ImportState.IMPORTED
        case State.STUCK:
            return ImportState.STUCK
        case _:
            return ImportState.FINISHING


def spot_word(state: ImportState) -> str:
    """What Spot's import status calls it (spot-stateful-node-api.md 6.2; only ImportStart is documented there)."""
    match state:
        case ImportState.IMPORTED | ImportState.FINISHING | ImportState.FINISHED:
            return "ImportFinish"
        case ImportState.CANCELLED | ImportState.CANCELLING | ImportState.UNDONE | ImportState.UNDOING:
            return "ImportCancel"
        case ImportState.FAILED | ImportState.STUCK:
            return "ImportError"
        case _:
            return "ImportStart"
