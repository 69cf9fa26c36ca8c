"""Tokens and certificates, without a listener."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal
from azurelab.identity import certificates
from azurelab.identity.tokens import Tokens

_OWNER = Principal("owner-app", "owner-oid")


def _tokens(secret: bytes = b"k") -> Tokens:
    return Tokens(tenant="t", owner=_OWNER, secret=secret)


def _who(tokens: Tokens, token: str) -> Principal:
    return tokens.principal({"authorization": f"Bearer {token}"})


def test_a_token_names_whom_it_was_issued_to() -> None:
    tokens = _tokens()
    other = Principal("app", "oid")

    assert _who(tokens, tokens.issue(other, "aud", "iss")) == other


def test_a_token_of_another_lab_with_the_same_words_is_refused() -> None:
    with pytest.raises(ArmError) as refused:
        _who(_tokens(b"mine"), _tokens(b"theirs").issue(_OWNER, "aud", "iss"))

    assert (refused.value.status, refused.value.code) == (401, "InvalidAuthenticationToken")


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.x"])
def test_bearers_that_are_not_ours_are_the_owner(token: str) -> None:
    assert _who(_tokens(), token) == _OWNER


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic abc"])
def test_no_bearer_is_nobody(header: str) -> None:
    with pytest.raises(ArmError) as refused:
        _tokens().principal({"authorization": header} if header else {})

    assert refused.value.code == "AuthenticationFailed"


def test_certificates_are_made_once_for_localhost_and_their_authority_signs_nothing_else(tmp_path: Path) -> None:
    made = certificates.ensure(tmp_path / "tls")
    first = made.certificate.read_bytes()
    certificates.ensure(tmp_path / "tls")

    leaf = x509.load_pem_x509_certificate(first)
    names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert made.certificate.read_bytes() == first
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert "127.0.0.1" in {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    assert made.key.stat().st_mode & 0o077 == 0
    assert made.ca.read_bytes() in made.bundle.read_bytes()
    assert sorted(p.name for p in (tmp_path / "tls").iterdir()) == [
        "ca-bundle.pem",
        "ca.pem",
        "server-key.pem",
        "server.pem",
    ]
    ssl.create_default_context(cafile=str(made.bundle))
