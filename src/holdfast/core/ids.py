"""Identifiers. Each kind is a type of its own, so that a node id cannot be passed where an operation id is meant."""

from __future__ import annotations

import secrets
from typing import NewType

__all__ = [
    "ImportId",
    "InstallationId",
    "NodeId",
    "OperationId",
    "new_import_id",
    "new_installation_id",
    "new_node_id",
    "new_operation_id",
    "short_hex",
]

OperationId = NewType("OperationId", str)  # op-<16 hex>
NodeId = NewType("NodeId", str)  # ssn-<8 hex>, the form that Spot's clients know
ImportId = NewType("ImportId", str)  # sin-<8 hex>
InstallationId = NewType("InstallationId", str)  # hf-<12 hex>, one for each home


def short_hex(digits: int) -> str:
    """Random lower-case hexadecimal digits (an even number of them)."""
    return secrets.token_hex(digits // 2)


def new_operation_id() -> OperationId:
    return OperationId(f"op-{short_hex(16)}")


def new_node_id() -> NodeId:
    return NodeId(f"ssn-{short_hex(8)}")


def new_import_id() -> ImportId:
    return ImportId(f"sin-{short_hex(8)}")


def new_installation_id() -> InstallationId:
    return InstallationId(f"hf-{short_hex(12)}")
