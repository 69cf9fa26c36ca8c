"""The checksums that guard bodies on their way: MD5 or CRC-64, never both in one request.

Codes and words: "Common REST API error codes" of the vendor; the elements that a mismatch adds to the body are as
recorded from the real service.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping

from azurelab.disks.blob.errors import BlobError
from azurelab.disks.crc64 import crc64_header

__all__ = ["checksum_wanted", "verify"]

Bytes = bytes | bytearray | memoryview


def _md5_header(data: Bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


# Of the two kinds: the header of the value, how it is made, its bytes, and its name in codes and in bodies.
_KINDS: tuple[tuple[str, Callable[[Bytes], str], int, str, str], ...] = (
    ("Content-MD5", _md5_header, 16, "MD5", "Md5"),
    ("x-ms-content-crc64", crc64_header, 8, "CRC64", "Crc64"),
)


def checksum_wanted(headers: Mapping[str, str]) -> tuple[str, Callable[[Bytes], str]] | None:
    """The header that a ranged read asks for, and what makes its value."""
    wanted = [kind for kind in _KINDS if headers.get(f"x-ms-range-get-content-{kind[3].lower()}", "").lower() == "true"]
    if len(wanted) > 1:
        raise BlobError(
            400,
            "BothCrc64AndMd5RangeHeaderPresent",
            "Both x-ms-range-get-content-crc64 header and x-ms-range-get-content-md5 header are present.",
        )
    return wanted[0][:2] if wanted else None


def verify(headers: Mapping[str, str], data: Bytes) -> dict[str, str]:
    """Check the guard that came with a body, if one did; the answer's header, which repeats it."""
    sent = {
        "Md5": headers.get("content-md5") or headers.get("x-ms-source-content-md5"),
        "Crc64": headers.get("x-ms-content-crc64") or headers.get("x-ms-source-content-crc64"),
    }
    if sent["Md5"] and sent["Crc64"]:
        raise BlobError(
            400,
            "BothCrc64AndMd5HeaderPresent",
            "Both x-ms-content-crc64 header and Content-MD5 header are present.",
        )
    checked: dict[str, str] = {}
    for header, make, size_bytes, word, code in _KINDS:
        value = (sent[code] or "").strip()
        if not value:
            continue
        if not _is_base64_of(value, size_bytes):
            raise BlobError(
                400,
                f"Invalid{code}",
                f"The {word} value specified in the request is invalid. "
                f"{word} value must be {size_bytes * 8} bits and base64 encoded.",
            )
        ours = make(data)
        if ours != value:
            element = "Crc" if code == "Crc64" else code
            raise BlobError(
                400,
                f"{code}Mismatch",
                f"The {word} value specified in the request did not match with the {word} value calculated by the "
                "server.",
                details={f"UserSpecified{element}": value, f"ServerCalculated{element}": ours},
            )
        checked[header] = ours
    return checked


def _is_base64_of(text: str, size_bytes: int) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == size_bytes
    except ValueError:  # binascii.Error is one; so is a letter that is not ASCII
        return False
