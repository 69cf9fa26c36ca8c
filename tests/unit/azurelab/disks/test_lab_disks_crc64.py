"""CRC-64 against the published check value and a bit-by-bit reference."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from azurelab.disks.crc64 import crc64


def reference(data: bytes) -> int:
    state = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x9A6C9329AC4BC9B5 if state & 1 else 0)
    return state ^ 0xFFFFFFFFFFFFFFFF


def test_check_value_of_crc_64_nvme() -> None:
    assert crc64(b"123456789") == 0xAE8B14860A799888


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 3), st.integers(0, 70_000), st.binary(min_size=1, max_size=300))
def test_lanes_joined_give_what_one_pass_gives(lead: int, size: int, pattern: bytes) -> None:
    data = (bytes(lead) + pattern * (size // len(pattern) + 1))[:size]

    assert crc64(data) == reference(data)
