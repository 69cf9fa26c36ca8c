"""Everything of imports that the engine is told about: an explicit list, for wiring."""

from typing import Any

from holdfast.engine import OperationKind, Reconciler
from holdfast.imports.finishing import finish_import
from holdfast.imports.importing import import_machine
from holdfast.imports.retention import keep_retention_armed
from holdfast.imports.undoing import discard_kept, undo_import

__all__ = ["KINDS", "RECONCILERS"]

KINDS: tuple[OperationKind[Any, Any], ...] = (import_machine, undo_import, finish_import, discard_kept)
RECONCILERS: tuple[Reconciler, ...] = (keep_retention_armed,)
