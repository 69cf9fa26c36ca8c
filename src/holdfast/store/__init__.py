"""Where Holdfast remembers: database sessions, column types, one migration chain, encryption of secrets.

Tables live with their feature (`holdfast/<feature>/tables.py`, on `Base`); only the installation and the audit log are
here. Nothing in this room reads the environment: wiring passes URLs and keys in.
"""

from holdfast.store.audit import AuditEntry, audit, audit_entries
from holdfast.store.base import Base
from holdfast.store.database import Database
from holdfast.store.errors import DatabaseNewer, DatabaseNotReady, SecretInRecord, SecretUnreadable
from holdfast.store.homes import HomeLock, HomeLocked
from holdfast.store.installation import Installation, ensure_installation, grow_epoch
from holdfast.store.migrating import database_revision, newest_revision, require_current, upgrade
from holdfast.store.secrets import Sealed, Secret, Vault, ensure_key_file
from holdfast.store.types import Json, SealedBytes, Utc

__all__ = [
    "AuditEntry",
    "Base",
    "Database",
    "DatabaseNewer",
    "DatabaseNotReady",
    "HomeLock",
    "HomeLocked",
    "Installation",
    "Json",
    "Sealed",
    "SealedBytes",
    "Secret",
    "SecretInRecord",
    "SecretUnreadable",
    "Utc",
    "Vault",
    "audit",
    "audit_entries",
    "database_revision",
    "ensure_installation",
    "ensure_key_file",
    "grow_epoch",
    "newest_revision",
    "require_current",
    "upgrade",
]
