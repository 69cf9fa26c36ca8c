"""CRC-64/NVME worked out by ourselves, as the judge of the wheel that both programs use: reflected polynomial
0x9A6C9329AC4BC9B5, all ones in and out.

Vectorised: the data is cut into lanes that are computed side by side and joined with the matrix that appends zeros.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["crc64"]

_POLYNOMIAL = 0x9A6C9329AC4BC9B5
_ONES = 0xFFFFFFFFFFFFFFFF
# Lanes computed side by side. Fewer make numpy's per-call cost dominate; more make the joining dominate.
_LANES = 2048

Words = npt.NDArray[np.uint64]


@cache
def _table() -> Words:
    values = np.arange(256, dtype=np.uint64)
    for _ in range(8):
        low = (values & np.uint64(1)).astype(bool)
        values = values >> np.uint64(1)
        values[low] ^= np.uint64(_POLYNOMIAL)
    return values


def _plain(data: bytes, state: int) -> int:
    table = _table()
    for byte in data:
        state = int(table[(state ^ byte) & 0xFF]) ^ (state >> 8)
    return state


@cache
def _zeros(size: int) -> tuple[int, ...]:
    """What `size` zero bytes do to each of the 64 bits of a state, as columns of a matrix."""
    if size == 1:
        return tuple(_plain(b"\0", 1 << bit) for bit in range(64))
    half = _zeros(size // 2)
    doubled = tuple(_apply(half, column) for column in half)
    return doubled if size % 2 == 0 else tuple(_plain(b"\0", column) for column in doubled)


def _apply(columns: tuple[int, ...], state: int) -> int:
    result = 0
    bit = 0
    while state:
        if state & 1:
            result ^= columns[bit]
        state >>= 1
        bit += 1
    return result


def crc64(data: bytes | bytearray | memoryview) -> int:
    view = memoryview(data)
    lane_size = len(view) // _LANES
    state = _ONES
    if lane_size >= 16:  # below, the plain loop is quicker
        table = _table()
        lanes = np.frombuffer(view[: lane_size * _LANES], dtype=np.uint8).reshape(_LANES, lane_size).T
        states = np.zeros(_LANES, dtype=np.uint64)
        for column in np.ascontiguousarray(lanes):
            states = table[((states ^ column) & np.uint64(0xFF)).astype(np.intp)] ^ (states >> np.uint64(8))
        append = _zeros(lane_size)
        for lane in states.tolist():
            state = _apply(append, state) ^ lane
        view = view[lane_size * _LANES :]
    return _plain(bytes(view), state) ^ _ONES
