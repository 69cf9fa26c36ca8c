"""NBD's numbers and frames. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast.disks.errors import DiskUsage
from holdfast.disks.model.locator import asciied_host, shown

__all__ = ["NbdAddress", "parse_address"]

INIT_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC = 0x4E42444D41474943, 0x49484156454F5054, 0x0003E889045565A9
REQUEST_MAGIC, SIMPLE_MAGIC, STRUCTURED_MAGIC = 0x25609513, 0x67446698, 0x668E33EF

FLAG_FIXED_NEWSTYLE, FLAG_NO_ZEROES = 1, 2

OPT_ABORT, OPT_GO, OPT_STRUCTURED_REPLY, OPT_SET_META_CONTEXT = 2, 7, 8, 10
REP_ACK, REP_INFO, REP_META_CONTEXT, REP_ERROR_BIT = 1, 3, 4, 1 << 31
REP_ERR_TLS_REQD, REP_ERR_UNKNOWN = REP_ERROR_BIT + 5, REP_ERROR_BIT + 6
# What an error answer to an option means, for servers that say nothing beside it.
REFUSALS = {
    REP_ERROR_BIT + 1: "it does not know how to open an export (it is too old)",
    REP_ERROR_BIT + 2: "its policy forbids it",
    REP_ERROR_BIT + 3: "it takes the request for malformed",
    REP_ERROR_BIT + 4: "its platform does not support it",
    REP_ERR_TLS_REQD: "it requires TLS, which is not spoken here; let it listen on a unix socket, or behind a tunnel",
    REP_ERROR_BIT + 7: "it is shutting down",
    REP_ERROR_BIT + 8: "it demands that block sizes are obeyed",
    REP_ERROR_BIT + 9: "it takes the request for too long",
}
INFO_EXPORT, INFO_BLOCK_SIZE = 0, 3

# transmission flags of an export
READ_ONLY, SEND_FLUSH, SEND_TRIM, SEND_WRITE_ZEROES = 1 << 1, 1 << 2, 1 << 5, 1 << 6
SEND_DF, CAN_MULTI_CONN = 1 << 7, 1 << 8

CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES, CMD_BLOCK_STATUS = 0, 1, 2, 3, 4, 6, 7
CMD_FLAG_DF, CMD_FLAG_REQ_ONE = 1 << 2, 1 << 3

CHUNK_DONE = 1  # flag of a structured reply chunk
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_BLOCK_STATUS = 0, 1, 2, 5
CHUNK_ERROR_BIT = 1 << 15

STATE_HOLE, STATE_ZERO, STATE_DIRTY = 1, 2, 1

REQUEST = struct.Struct(">IHHQQI")
SIMPLE_REPLY = struct.Struct(">IIQ")
STRUCTURED_REPLY = struct.Struct(">IHHQI")
MAX_BLOCK_STATUS = 1 << 30  # bytes asked about at once; servers answer with what they like

ERRNO_NAMES = {1: "EPERM", 5: "EIO", 12: "ENOMEM", 22: "EINVAL", 28: "ENOSPC", 75: "EOVERFLOW", 95: "ENOTSUP"}
ENOSPC, EOVERFLOW = 28, 75


@dataclass(frozen=True)
class NbdAddress:
    """Where a server listens: a unix socket, or host and port; and which export is meant."""

    export: str
    socket_path: str | None = None
    host: str | None = None
    port: int = 10809


def parse_address(url: str) -> NbdAddress:
    """`nbd://HOST[:PORT]/EXPORT` or `nbd+unix:///EXPORT?socket=PATH`. Raises DiskUsage, without any secret."""
    name = shown(url)
    try:
        parts = urlsplit(url)
        port = parts.port
        export = unquote(parts.path.removeprefix("/"))
        export.encode()
    except ValueError as exc:
        raise _refused(f"{name} is no well-formed URL: look at its host, port and export") from exc
    if parts.scheme == "nbd+unix":
        paths = parse_qs(parts.query).get("socket")
        if not paths:
            raise _refused(f"{name} names no socket; write nbd+unix:///EXPORT?socket=PATH")
        return NbdAddress(export, socket_path=paths[0])
    if parts.scheme in ("nbds", "nbds+unix"):
        raise _refused(f"{name} asks for TLS, which is not spoken here")
    if parts.scheme != "nbd" or not parts.hostname or port == 0:
        raise _refused(f"{name} is not an NBD address")
    return NbdAddress(export, host=asciied_host(parts.hostname, name), port=port or 10809)


def _refused(problem: str) -> DiskUsage:
    return DiskUsage(field="address", problem=problem)
