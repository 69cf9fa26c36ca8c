"""One NBD client's conversation: negotiation, then requests until it leaves. Runs in its own thread."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable, Iterable

from azurelab.disks.errors import DiskStoreError, OutOfRange, ReadOnly
from azurelab.disks.layer import LayerGone
from azurelab.disks.nbd import wire
from azurelab.disks.nbd.wire import Chunk, Command, CommandFlag, Errno, Export, Info, Option, Reply
from azurelab.disks.pages import PAGE, SECTOR, Kind
from azurelab.disks.volume import Volume

__all__ = ["Connection", "Hangup"]

_log = logging.getLogger(__name__)

# Extents per block-status reply: a reply stays a few KiB; the client asks again for the rest.
_MOST_EXTENTS = 512
_CONTEXT_ID = 1
# States of base:allocation: a hole that reads as zeros.
_HOLE_AND_ZERO = 0b11


class Hangup(Exception):
    """The client went away, or said something after which the protocol allows nothing but closing."""


class Connection:
    """`find` gives the volume of an export name or None; `names` lists the exports."""

    def __init__(
        self, sock: socket.socket, find: Callable[[str], Volume | None], names: Callable[[], Iterable[str]]
    ) -> None:
        self._sock = sock
        self._find = find
        self._names = names
        self._structured = False
        self._allocation_of: str | None = None  # the export for which base:allocation was negotiated
        self.export: str | None = None

    def run(self) -> None:
        """Serve until the client disconnects."""
        try:
            volume = self._negotiate()
            if volume is not None:
                self._transmit(volume)
        except Hangup as exc:
            if exc.args:
                _log.warning("NBD client of %s dropped: %s", self.export, exc)
        except OSError as exc:
            _log.debug("NBD connection of %s ended: %s", self.export, exc)
        finally:
            self._sock.close()

    # -- bytes ---------------------------------------------------------------------------------------------------------

    def _receive(self, size_bytes: int) -> bytearray:
        buffer = bytearray(size_bytes)
        view = memoryview(buffer)
        while view:
            got = self._sock.recv_into(view)
            if not got:
                raise Hangup
            view = view[got:]
        return buffer

    def _send(self, *parts: bytes | bytearray | memoryview) -> None:
        """All parts, without joining big ones in memory."""
        if len(parts) > 1 and len(parts[-1]) > 64 << 10:
            self._sock.sendall(b"".join(parts[:-1]))
            self._sock.sendall(parts[-1])
        else:
            self._sock.sendall(b"".join(parts))

    # -- negotiation ---------------------------------------------------------------------------------------------------

    def _negotiate(self) -> Volume | None:
        self._sock.sendall(wire.GREETING)
        (client_flags,) = struct.unpack(">I", self._receive(4))
        no_zeroes = bool(client_flags & wire.CLIENT_NO_ZEROES)
        while True:
            magic, option, size_bytes = wire.OPTION_HEADER.unpack(self._receive(wire.OPTION_HEADER.size))
            if magic != wire.OPTION_MAGIC or size_bytes > 1 << 16:
                raise Hangup("an option without its magic, or far too long")
            data = bytes(self._receive(size_bytes))
            if option == Option.EXPORT_NAME:
                volume = self._find(data.decode("utf-8", "replace"))
                if volume is None:
                    raise Hangup(f"no export {data!r}")  # this option has no way to say no
                self.export = volume.id
                answer = struct.pack(">QH", volume.size_bytes, _flags(volume))
                self._sock.sendall(answer if no_zeroes else answer + bytes(124))
                return volume
            if option == Option.ABORT:
                self._sock.sendall(wire.option_reply(option, Reply.ACK))
                return None
            if option in (Option.INFO, Option.GO):
                volume = self._inform(option, data)
                if option == Option.GO and volume is not None:
                    self.export = volume.id
                    return volume
            elif option == Option.LIST:
                for name in self._names():
                    encoded = name.encode()
                    self._sock.sendall(
                        wire.option_reply(option, Reply.SERVER, struct.pack(">I", len(encoded)) + encoded)
                    )
                self._sock.sendall(wire.option_reply(option, Reply.ACK))
            elif option == Option.STRUCTURED_REPLY:
                self._structured = True
                self._sock.sendall(wire.option_reply(option, Reply.ACK))
            elif option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
                self._contexts(option, data)
            else:
                self._sock.sendall(wire.option_reply(option, Reply.ERR_UNSUP))

    def _inform(self, option: int, data: bytes) -> Volume | None:
        if len(data) < 6 or len(data) < 6 + struct.unpack(">I", data[:4])[0]:
            self._sock.sendall(wire.option_reply(option, Reply.ERR_INVALID))
            return None
        name = data[4 : 4 + struct.unpack(">I", data[:4])[0]].decode("utf-8", "replace")
        volume = self._find(name)
        if volume is None:
            self._sock.sendall(wire.option_reply(option, Reply.ERR_UNKNOWN, b"no such disk"))
            return None
        about = struct.pack(">HQH", Info.EXPORT, volume.size_bytes, _flags(volume))
        sizes = struct.pack(">HIII", Info.BLOCK_SIZE, SECTOR, PAGE, wire.MAX_PAYLOAD)
        self._send(
            wire.option_reply(option, Reply.INFO, about),
            wire.option_reply(option, Reply.INFO, sizes),
            wire.option_reply(option, Reply.ACK),
        )
        return volume

    def _contexts(self, option: int, data: bytes) -> None:
        if not self._structured or len(data) < 8:
            self._sock.sendall(wire.option_reply(option, Reply.ERR_INVALID))
            return
        (name_size,) = struct.unpack(">I", data[:4])
        name = data[4 : 4 + name_size].decode("utf-8", "replace")
        (count,) = struct.unpack_from(">I", data, 4 + name_size)
        queries, position = [], 8 + name_size
        for _ in range(count):
            (size_bytes,) = struct.unpack_from(">I", data, position)
            queries.append(data[position + 4 : position + 4 + size_bytes])
            position += 4 + size_bytes
        listing = option == Option.LIST_META_CONTEXT
        wanted = any(q in (wire.BASE_ALLOCATION, b"base:") if listing else q == wire.BASE_ALLOCATION for q in queries)
        if wanted or (listing and not queries):
            context_id = struct.pack(">I", 0 if listing else _CONTEXT_ID)
            self._sock.sendall(wire.option_reply(option, Reply.META_CONTEXT, context_id + wire.BASE_ALLOCATION))
        if not listing:
            self._allocation_of = name if wanted else None
        self._sock.sendall(wire.option_reply(option, Reply.ACK))

    # -- transmission --------------------------------------------------------------------------------------------------

    def _transmit(self, volume: Volume) -> None:
        while True:
            header = self._receive(wire.REQUEST.size)
            magic, flags, command, cookie, offset, size_bytes = wire.REQUEST.unpack(header)
            if magic != wire.REQUEST_MAGIC:
                raise Hangup("a request without its magic")
            if command == Command.DISCONNECT:
                return
            payload = b""
            if command == Command.WRITE:
                if size_bytes > wire.MAX_PAYLOAD:
                    raise Hangup(f"a write of {size_bytes} bytes")
                payload = self._receive(size_bytes)  # type: ignore[assignment]
            try:
                answer = self._act(volume, command, CommandFlag(flags), cookie, offset, size_bytes, payload)
            except (DiskStoreError, LayerGone, OSError) as exc:
                error = _errno(exc, command)
                if error == Errno.IO:
                    _log.warning("NBD %s of %s at %d failed: %r", command, volume.id, offset, exc)
                answer = [self._failure(error, cookie)]
            self._send(*answer)

    def _act(
        self,
        volume: Volume,
        command: int,
        flags: CommandFlag,
        cookie: int,
        offset: int,
        size_bytes: int,
        payload: bytes,
    ) -> list[bytes | bytearray]:
        if command == Command.READ:
            if size_bytes > wire.MAX_PAYLOAD:
                raise OutOfRange(f"a read of {size_bytes} bytes")
            data = volume.read(offset, size_bytes)
            if not self._structured:
                return [wire.simple_reply(0, cookie), data]
            head = wire.chunk(Chunk.OFFSET_DATA, cookie, 8 + size_bytes, done=True)
            return [head + struct.pack(">Q", offset), data]
        if command == Command.BLOCK_STATUS:
            if self._allocation_of is None or not size_bytes:
                return [self._failure(Errno.INVAL, cookie)]
            status = _allocation(volume, offset, size_bytes, one=CommandFlag.REQ_ONE in flags)
            head = wire.chunk(Chunk.BLOCK_STATUS, cookie, 4 + len(status), done=True)
            return [head, struct.pack(">I", _CONTEXT_ID), status]
        if command == Command.WRITE:
            volume.write(offset, payload)
        elif command == Command.TRIM:
            volume.clear(offset, size_bytes)
        elif command == Command.WRITE_ZEROES:
            if CommandFlag.NO_HOLE in flags:
                volume.write_zeros_as_data(offset, size_bytes)
            else:
                volume.clear(offset, size_bytes)
        elif command == Command.FLUSH:
            volume.flush()
        else:
            return [self._failure(Errno.INVAL, cookie)]
        if CommandFlag.FUA in flags:
            volume.flush()
        if self._structured:
            return [wire.chunk(Chunk.NONE, cookie, 0, done=True)]
        return [wire.simple_reply(0, cookie)]

    def _failure(self, error: int, cookie: int) -> bytes:
        if self._structured:
            return wire.chunk(Chunk.ERROR, cookie, 6, done=True) + struct.pack(">IH", error, 0)
        return wire.simple_reply(error, cookie)


def _flags(volume: Volume) -> int:
    flags = Export.HAS_FLAGS | Export.SEND_FLUSH | Export.SEND_FUA | Export.SEND_DF | Export.CAN_MULTI_CONN
    if volume.writable:
        flags |= Export.SEND_TRIM | Export.SEND_WRITE_ZEROES
    else:
        flags |= Export.READ_ONLY
    return int(flags)


def _errno(exc: Exception, command: int) -> int:
    if isinstance(exc, ReadOnly):
        return Errno.PERM
    if isinstance(exc, OutOfRange):
        return Errno.NOSPC if command in (Command.WRITE, Command.WRITE_ZEROES) else Errno.INVAL
    if isinstance(exc, OSError) and exc.errno == Errno.NOSPC:
        return Errno.NOSPC
    return Errno.IO


def _allocation(volume: Volume, offset: int, size_bytes: int, *, one: bool) -> bytes:
    """(length, state) pairs that cover the range from its start, cut off after `_MOST_EXTENTS`."""
    end = offset + size_bytes
    if end > volume.size_bytes:
        raise OutOfRange(f"block status of {size_bytes} bytes at {offset}")
    most = 1 if one else _MOST_EXTENTS
    pairs: list[bytes] = []
    position = offset
    for extent in volume.data_extents(offset, end):
        assert extent.kind is Kind.DATA
        if extent.start > position:
            pairs.append(struct.pack(">II", extent.start - position, _HOLE_AND_ZERO))
        if len(pairs) >= most:
            return b"".join(pairs[:most])
        pairs.append(struct.pack(">II", extent.size_bytes, 0))
        position = extent.end
        if len(pairs) >= most:
            return b"".join(pairs[:most])
    if position < end:
        pairs.append(struct.pack(">II", end - position, _HOLE_AND_ZERO))
    return b"".join(pairs)
