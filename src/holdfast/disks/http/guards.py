"""What guards pages on their way: a checksum that the service verifies on writes and gives with reads.

Azure's CRC-64 is CRC-64/NVME (reflected polynomial 0x9A6C9329AC4BC9B5, all ones in and out), sent as its eight bytes,
little-endian, in base64. It costs a seventieth of MD5. Services that do not know it (emulators, versions before
2019-02-02) leave it out of their answers; such an answer counts as unguarded, and the endpoint is spoken to with MD5
from then on (`decisions/0025-crc64-guards-transfers.md`).
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["CRC64", "MD5", "Guard", "guard_of", "use_md5"]

Bytes = bytes | bytearray | memoryview


def _crc64(data: Bytes) -> bytes:
    from awscrt.checksums import crc64nvme  # 0.04 s: only where an Azure end moves data

    return int(crc64nvme(data)).to_bytes(8, "little")


@dataclass(frozen=True)
class Guard:
    """`header` carries the value in requests and answers, `wanted` asks for it in a ranged read."""

    header: str
    wanted: str
    digest: Callable[[Bytes], bytes]

    def value(self, data: Bytes) -> str:
        """As it stands in the header."""
        return base64.b64encode(self.digest(data)).decode()

    def told(self, headers: Mapping[str, str]) -> str | None:
        """The value in an answer whose header names are lower case; None: the answer is not guarded."""
        return headers.get(self.header.lower())

    def agrees(self, headers: Mapping[str, str], body: Bytes) -> bool:
        """Whether a read's answer contains what its guard says. True where it has none: that is not damage."""
        told = self.told(headers)
        return told is None or told == self.value(body)


CRC64 = Guard("x-ms-content-crc64", "x-ms-range-get-content-crc64", _crc64)
MD5 = Guard("Content-MD5", "x-ms-range-get-content-md5", lambda data: hashlib.md5(data, usedforsecurity=False).digest())

_only_md5: set[str] = set()
_lock = threading.Lock()


def guard_of(endpoint: str) -> Guard:
    """What to use with an endpoint (host and port): CRC-64 until it has shown that it does not know it."""
    with _lock:
        return MD5 if endpoint in _only_md5 else CRC64


def use_md5(endpoint: str) -> None:
    """Remembered while the process lives."""
    with _lock:
        _only_md5.add(endpoint)
