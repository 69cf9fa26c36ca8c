"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, LargeBinary, String
from sqlalchemy.types import TypeDecorator, TypeEngine

from holdfast.store.secrets import Sealed

__all__ = ["Json", "SealedBytes", "Utc"]

_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"  # fixed width, so that text order is time order


class Utc(TypeDecorator[datetime]):
    """An aware time in UTC, to the microsecond: timestamptz on PostgreSQL, sortable text on SQLite."""

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs an offset: {value}")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.strftime(_FORM)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return datetime.strptime(value, _FORM).replace(tzinfo=UTC)


class Json(TypeDecorator[Any]):
    """A JSON value as text. Not jsonb: that one reorders keys, and cloud documents must come back as they were."""

    impl = JSON(none_as_null=True)
    cache_ok = True


class SealedBytes(TypeDecorator[Sealed]):
    """A secret that a Vault has sealed. Features seal before they store and open after they load."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Sealed | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, Sealed):
            raise TypeError("only what a Vault has sealed may be stored here")
        return value.content

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Sealed | None:
        return None if value is None else Sealed(bytes(value))
