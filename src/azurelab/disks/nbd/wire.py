"""The NBD protocol's numbers and packets, as in the NBD project's doc/proto.md. Pure."""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag

__all__ = [
    "BASE_ALLOCATION",
    "CLIENT_NO_ZEROES",
    "GREETING",
    "MAX_PAYLOAD",
    "OPTION_HEADER",
    "OPTION_MAGIC",
    "REQUEST",
    "REQUEST_MAGIC",
    "Chunk",
    "Command",
    "CommandFlag",
    "Errno",
    "Export",
    "Info",
    "Option",
    "Reply",
    "chunk",
    "option_reply",
    "simple_reply",
]

OPTION_MAGIC = 0x49484156454F5054  # "IHAVEOPT"
_OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
_SIMPLE_REPLY_MAGIC = 0x67446698
_CHUNK_MAGIC = 0x668E33EF

# Handshake flags FIXED_NEWSTYLE | NO_ZEROES.
GREETING = b"NBDMAGIC" + struct.pack(">QH", OPTION_MAGIC, 0b11)
CLIENT_NO_ZEROES = 0b10
OPTION_HEADER = struct.Struct(">QII")
REQUEST = struct.Struct(">IHHQQI")
# The largest read or write that clients may send: what every client assumes when it is told nothing.
MAX_PAYLOAD = 32 << 20
BASE_ALLOCATION = b"base:allocation"


class Option(IntEnum):
    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = (1 << 31) + 1
    ERR_INVALID = (1 << 31) + 3
    ERR_UNKNOWN = (1 << 31) + 6


class Info(IntEnum):
    EXPORT = 0
    BLOCK_SIZE = 3


class Export(IntFlag):
    """Transmission flags."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8


class Command(IntEnum):
    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    TRIM = 4
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(IntFlag):
    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3


class Chunk(IntEnum):
    """Types of structured reply chunks."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    ERROR = (1 << 15) + 1


class Errno(IntEnum):
    """Errors on the wire; the protocol fixes their values."""

    PERM = 1
    IO = 5
    INVAL = 22
    NOSPC = 28
    NOTSUP = 95


def option_reply(option: int, reply: Reply, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", _OPTION_REPLY_MAGIC, option, reply, len(data)) + data


def simple_reply(error: int, cookie: int) -> bytes:
    return struct.pack(">IIQ", _SIMPLE_REPLY_MAGIC, error, cookie)


def chunk(kind: Chunk, cookie: int, size_bytes: int, *, done: bool) -> bytes:
    """Header of one structured reply chunk; `size_bytes` of payload follow."""
    return struct.pack(">IHHQI", _CHUNK_MAGIC, 1 if done else 0, kind, cookie, size_bytes)
