"""CRC-64 as Azure Storage computes it for `x-ms-content-crc64`: CRC-64/NVME, as eight little-endian bytes in base64.

The tests hold a recorded answer of the real service and an implementation of our own.
"""

from __future__ import annotations

import base64

from awscrt.checksums import crc64nvme

__all__ = ["crc64_header"]


def crc64_header(data: bytes | bytearray | memoryview) -> str:
    """The value of `x-ms-content-crc64` for these bytes."""
    return base64.b64encode(int(crc64nvme(data)).to_bytes(8, "little")).decode()
