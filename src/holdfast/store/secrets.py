"""Secrets: a type that does not show itself, and the vault that encrypts them at rest.

AES-256-GCM; what the secret is about (table and row) is authenticated with it, so that a sealed value moved to another
row does not open.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from holdfast.store.errors import SecretInRecord, SecretUnreadable

__all__ = ["Sealed", "Secret", "Vault", "ensure_key_file"]

_NONCE_BYTES = 12  # what GCM is specified for


class Secret:
    """Text that prints redacted and refuses to be encoded; `reveal()` is the only way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(redacted)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise SecretInRecord

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> NoReturn:
        """Records are encoded by type (`engine/codec.py`): a type that holds a Secret has no encoding."""
        raise SecretInRecord


@dataclass(frozen=True)
class Sealed:
    """An encrypted secret as it lies in the database: nonce and ciphertext."""

    content: bytes

    def __repr__(self) -> str:
        return f"Sealed({len(self.content)} bytes)"


class Vault:
    """Seals and opens secrets with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 30 ms: not at CLI start

        if len(key) != 32:
            raise ValueError(f"a key has 32 bytes, not {len(key)}")
        self._cipher = AESGCM(key)

    @classmethod
    def from_text(cls, text: str) -> Vault:
        """From HOLDFAST_KEY or a key file: 32 bytes in base64, or any passphrase of at least 32 characters."""
        text = text.strip()
        try:
            key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            key = b""
        if len(key) != 32:
            if len(text) < 32:
                raise ValueError("a key is 32 bytes in base64, or a passphrase of at least 32 characters")
            key = hashlib.sha256(text.encode()).digest()
        return cls(key)

    def seal(self, secret: Secret, about: str) -> Sealed:
        """Encrypt. `about` says whose secret it is, e.g. `clouds/azure-1/client_secret`; opening needs the same."""
        nonce = os.urandom(_NONCE_BYTES)
        return Sealed(nonce + self._cipher.encrypt(nonce, secret.reveal().encode(), about.encode()))

    def open(self, sealed: Sealed, about: str) -> Secret:
        """Decrypt. Raises SecretUnreadable when the key or `about` is another one."""
        from cryptography.exceptions import InvalidTag

        nonce, ciphertext = sealed.content[:_NONCE_BYTES], sealed.content[_NONCE_BYTES:]
        try:
            return Secret(self._cipher.decrypt(nonce, ciphertext, about.encode()).decode())
        except (InvalidTag, ValueError) as exc:
            raise SecretUnreadable(about=about) from exc


def ensure_key_file(path: Path) -> str:
    """The key in `path` as text; made (mode 0600, whole or not at all) where there is none.

    Raises PermissionError if others may read it.
    """
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(base64.urlsafe_b64encode(os.urandom(32)).decode() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # unlike rename it fails if somebody was faster: the first key wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} holds the key of all secrets and may be read by others: chmod 600 {path}")
    return path.read_text().strip()
