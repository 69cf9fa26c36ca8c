from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from holdfast.store import Sealed, SealedBytes, Secret, SecretInRecord, SecretUnreadable, Vault, ensure_key_file

VAULT = Vault(bytes(range(32)))


@given(text=st.text(), about=st.text())
def test_sealed_secret_opens_as_it_was_and_differs_each_time(text: str, about: str) -> None:
    sealed = VAULT.seal(Secret(text), about)

    assert VAULT.open(sealed, about) == Secret(text)
    assert VAULT.seal(Secret(text), about) != sealed


@pytest.mark.parametrize("change", ["key", "about", "bytes", "cut"])
def test_secret_with_anything_else_is_unreadable(change: str) -> None:
    sealed = VAULT.seal(Secret("hunter2"), "clouds/a")
    vault = Vault(bytes(32)) if change == "key" else VAULT
    about = "clouds/b" if change == "about" else "clouds/a"
    content = sealed.content[:-1] + bytes([sealed.content[-1] ^ 1]) if change == "bytes" else sealed.content
    content = content[:5] if change == "cut" else content

    with pytest.raises(SecretUnreadable):
        vault.open(Sealed(content), about)


def test_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {secret:>30} {[secret]}"
    with pytest.raises(SecretInRecord):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_only_sealed_values_reach_the_column() -> None:
    with pytest.raises(TypeError):
        SealedBytes().process_bind_param("hunter2", sqlite.dialect())  # type: ignore[arg-type]


def test_key_file_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "key"

    key = ensure_key_file(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert len(base64.urlsafe_b64decode(key)) == 32
    assert ensure_key_file(path) == key
    assert [one.name for one in tmp_path.iterdir()] == ["key"]
    path.chmod(0o644)
    with pytest.raises(PermissionError, match="chmod 600"):
        ensure_key_file(path)


def test_key_is_text_of_32_bytes_or_a_long_passphrase() -> None:
    text = base64.urlsafe_b64encode(bytes(range(32))).decode()

    assert Vault.from_text(text + "\n").open(VAULT.seal(Secret("x"), "y"), "y") == Secret("x")
    Vault.from_text("a passphrase with at least thirty-two characters")
    with pytest.raises(ValueError, match="32"):
        Vault.from_text("short")
