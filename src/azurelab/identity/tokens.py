"""Tokens: JWTs that the lab signs itself, and who a request's bearer is.

A JWT of ours must be genuine and unexpired (by real time). A caller without one is refused; any *other* bearer, opaque
or a JWT of another issuer, is taken as the lab's owner: the Azure SDK's key-credential policy and static test
credentials send those, and the lab listens on loopback only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal

__all__ = ["Tokens"]


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    def __init__(self, *, tenant: str, owner: Principal, secret: bytes) -> None:
        self._tenant = tenant
        self.owner = owner
        self._secret = secret
        self._verified = lru_cache(maxsize=1024)(self._claims)

    def issue(self, principal: Principal, audience: str, issuer: str, lifetime_s: int = 3599) -> str:
        """HS256 with the lab's own key. Claims as Entra's v1 tokens have them."""
        now = int(time.time())
        header = {"typ": "JWT", "alg": "HS256", "kid": "azurelab"}
        claims = {
            "aud": audience,
            "iss": issuer,
            "iat": now,
            "nbf": now - 60,
            "exp": now + lifetime_s,
            "appid": principal.appid,
            "oid": principal.oid,
            "sub": principal.oid,
            "tid": self._tenant,
            "idtyp": "app",
            "ver": "1.0",
        }
        body = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps(claims).encode())}"
        return f"{body}.{self._sign(body)}"

    def _sign(self, body: str) -> str:
        return _b64(hmac.new(self._secret, body.encode(), hashlib.sha256).digest())

    def _claims(self, token: str) -> dict[str, Any] | None:
        """Claims of a JWT of ours; None for a bearer that is not ours; ArmError for a forged one."""
        parts = token.split(".")
        if len(parts) != 3:
            return None
        try:
            header = json.loads(_unb64(parts[0]))
            claims = json.loads(_unb64(parts[1]))
        except ValueError:
            return None
        if not isinstance(header, dict) or header.get("kid") != "azurelab" or not isinstance(claims, dict):
            return None
        if not hmac.compare_digest(parts[2], self._sign(f"{parts[0]}.{parts[1]}")):
            raise _invalid("The access token is invalid: its signature does not verify.")
        return claims

    def principal(self, headers: Mapping[str, str], base_url: str = "") -> Principal:
        """ArmError 401 where there is no bearer, or one of ours that is forged or expired."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ArmError(
                401,
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
                headers={
                    "WWW-Authenticate": f'Bearer authorization_uri="{base_url}/{self._tenant}", error="invalid_token"'
                },
            )
        claims = self._verified(token.strip())
        if claims is None:
            return self.owner
        if claims["exp"] < time.time():
            raise ArmError(
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time has passed.",
                headers={
                    "WWW-Authenticate": f'Bearer authorization_uri="{base_url}/{self._tenant}", error="invalid_token"'
                },
            )
        if claims.get("tid") != self._tenant:
            raise _invalid(f"The access token is from the wrong issuer '{claims.get('iss')}'.")
        return Principal(str(claims["appid"]), str(claims["oid"]))


def _invalid(message: str) -> ArmError:
    return ArmError(
        401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}
    )
