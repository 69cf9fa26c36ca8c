"""Errors of the store."""

from __future__ import annotations

from holdfast.core.errors import HoldfastError, Retry

__all__ = ["DatabaseNewer", "DatabaseNotReady", "SecretInRecord", "SecretUnreadable"]


class DatabaseNewer(HoldfastError):
    """The database was written by a newer release."""

    code, retry, exit_code, http_status = "store.newer_database", Retry.AFTER_CHANGE, 4, 503
    text = "The database is at revision {revision}, which this release does not know."
    remedy = "Install the release that wrote it, or restore the backup made before its upgrade."


class DatabaseNotReady(HoldfastError):
    """The database has not been brought to this release's form yet."""

    code, retry, exit_code, http_status = "store.not_upgraded", Retry.AFTER_CHANGE, 4, 503
    text = "The database is at revision {revision}; this release needs {needed}."
    remedy = "Start `holdfast server` once: it upgrades the database under a lock."


class SecretInRecord(HoldfastError):
    """A secret was about to be written into a record. Records are read by people and kept for long."""

    code, retry = "store.secret_in_record", Retry.NEVER
    text = "A secret cannot be part of a record."
    remedy = "Pass the id under which the secret is stored, and open it where it is used."


class SecretUnreadable(HoldfastError):
    """A stored secret does not open with this home's key."""

    code, retry, exit_code = "store.secret_unreadable", Retry.AFTER_CHANGE, 4
    text = "The secret of {about} does not open with this home's key."
    remedy = "Put the right key back (file or HOLDFAST_KEY), or enter the credential again."
