"""Why a node specification is refused. Every refusal names the field by its dotted path in the JSON."""

from __future__ import annotations

from holdfast.core.errors import HoldfastError, Retry

__all__ = ["FieldLocked", "InvalidSpec", "NotSupportedYet", "SpecRefused", "UnknownField"]


class SpecRefused(HoldfastError):
    """Base. `problems` lists every refusal of the document, this one first."""

    code, retry, exit_code, http_status = "spec.refused", Retry.AFTER_CHANGE, 2, 400
    text = "{field}: {problem}"
    remedy = "Correct the specification and try again."


class UnknownField(SpecRefused):
    """The specification has a field that no node has."""

    code = "UNKNOWN_FIELD"
    remedy = "Remove {field}, or check its spelling."


class FieldLocked(SpecRefused):
    """The field cannot be given, because what it would set is persisted from the original machine."""

    code = "FIELD_LOCKED"
    remedy = "Remove {field}: it comes from the imported machine."


class NotSupportedYet(SpecRefused):
    """The field is one of the node API's, and Holdfast does not act on it yet. Refused rather than ignored."""

    code = "NOT_SUPPORTED_YET"
    remedy = "Remove {field} for now."


class InvalidSpec(SpecRefused):
    """A value has the wrong type, is out of range, or contradicts another field."""

    code = "INVALID_SPEC"
