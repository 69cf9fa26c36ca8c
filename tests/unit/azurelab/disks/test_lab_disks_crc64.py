"""CRC-64 of the wheel against published and recorded values, and against what we work out ourselves."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from awscrt.checksums import crc64nvme
from hypothesis import given, settings
from hypothesis import strategies as st

from azurelab.disks.blob import guards
from azurelab.disks.blob.errors import BlobError
from azurelab.disks.crc64 import crc64_header
from fakes.crc64 import crc64
from holdfast.disks.http.guards import CRC64


def bit_by_bit(data: bytes) -> int:
    state = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x9A6C9329AC4BC9B5 if state & 1 else 0)
    return state ^ 0xFFFFFFFFFFFFFFFF


@pytest.mark.parametrize("compute", [crc64nvme, crc64, bit_by_bit])
def test_check_value_of_crc_64_nvme(compute: Callable[[bytes], int]) -> None:
    assert compute(b"123456789") == 0xAE8B14860A799888
    assert compute(b"") == 0


@pytest.mark.parametrize("header", [crc64_header, CRC64.value])
def test_header_is_what_the_real_service_calculated_for_a_recorded_body(header: Callable[[bytes], str]) -> None:
    """ServerCalculatedCrc of a Crc64Mismatch, in the recordings of the vendor's SDK for JavaScript (2019-09-11)."""
    assert header(b"b" * 1024) == "pK+ypU+jreM="


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 3), st.integers(0, 70_000), st.binary(min_size=1, max_size=300))
def test_the_judge_joins_lanes_to_what_one_pass_gives(lead: int, size: int, pattern: bytes) -> None:
    data = (bytes(lead) + pattern * (size // len(pattern) + 1))[:size]

    assert crc64(data) == bit_by_bit(data)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200_000) | st.integers(0, 600), st.integers(0, 70), st.integers())
def test_wheel_equals_the_judge_at_any_length_and_alignment(size: int, start: int, seed: int) -> None:
    data = random.Random(seed).randbytes(start + size)
    view = memoryview(bytearray(data))[start:]

    assert crc64nvme(view) == crc64(data[start:])


def test_wheel_equals_the_judge_on_a_whole_page_write() -> None:
    data = random.Random(1).randbytes(4 << 20)

    assert crc64nvme(data) == crc64(data)


@pytest.mark.parametrize("value", ["\u00e4" * 12, "not base64", "AAAA"])
def test_guard_that_is_no_base64_of_eight_bytes_is_refused_as_azure_does(value: str) -> None:
    with pytest.raises(BlobError) as refused:
        guards.verify({"x-ms-content-crc64": value}, b"data")

    assert refused.value.code == "InvalidCrc64"
