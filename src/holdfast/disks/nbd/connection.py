"""One NBD connection: handshake, then requests of which several may be in flight. Used by one thread at a time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.disks.errors import DiskNotFound, NoSpaceLeft, ReadFailed, ServerRefused, WireBroken, WriteFailed
from holdfast.disks.nbd import wire
from holdfast.disks.nbd.wire import NbdAddress

__all__ = ["Connection", "ExportFacts"]

# Requests sent before the first answer is awaited. Halved, a server waits for us between requests; doubled, no gain.
_DEPTH = 8
_SOCKET_BUFFER = 1 << 20


@dataclass(frozen=True)
class ExportFacts:
    """What the handshake told."""

    size_bytes: int
    flags: int
    minimum_block: int = 1
    maximum_block: int = 32 * 1024 * 1024
    structured: bool = False

    @property
    def read_only(self) -> bool:
        return bool(self.flags & wire.READ_ONLY)

    @property
    def can_write_zeroes(self) -> bool:
        return bool(self.flags & wire.SEND_WRITE_ZEROES)

    @property
    def can_flush(self) -> bool:
        return bool(self.flags & wire.SEND_FLUSH)


@dataclass
class _Status:
    """What is told of one context: (start, end, flags)."""

    context_id: int
    found: list[tuple[int, int, int]]


@dataclass
class _Waiting:
    """A request without its answer yet. `buffer` takes the data of a read, `status` the extents of a block status."""

    command: int
    offset: int
    size: int
    buffer: memoryview | None = None
    status: _Status | None = None
    filled: int = 0


class Connection:
    """Speaks fixed-newstyle NBD with structured replies where the server has them."""

    def __init__(
        self, address: NbdAddress, name: str, *, contexts: tuple[str, ...] = (), timeout_s: float = 60
    ) -> None:
        self.name, self._address = name, address
        self._handle = 0
        self._waiting: dict[int, _Waiting] = {}
        self._error: Exception | None = None
        self.contexts: dict[str, int] = {}
        try:
            if address.socket_path is not None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(timeout_s)
                self._socket.connect(address.socket_path)
            else:
                self._socket = socket.create_connection((address.host, address.port), timeout_s)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        except OSError as exc:
            raise DiskNotFound(kind="NBD export", name=f"{name} ({exc})") from exc
        try:
            self.facts = self._handshake(contexts)
        except BaseException:
            self._socket.close()
            raise

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _receive(self, size: int) -> bytes:
        data = bytearray(size)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, view: memoryview) -> None:
        at = 0
        try:
            while at < len(view):
                count = self._socket.recv_into(view[at:], 0, socket.MSG_WAITALL)
                if count == 0:
                    raise WireBroken(name=self.name, problem="the server closed it")
                at += count
        except OSError as exc:
            raise WireBroken(name=self.name, problem=str(exc) or type(exc).__name__) from exc

    def _send(self, *parts: bytes | memoryview) -> None:
        try:
            left = [memoryview(part) for part in parts if len(part)]
            while left:
                sent = self._socket.sendmsg(left)
                while left and sent >= len(left[0]):
                    sent -= len(left.pop(0))
                if left and sent:
                    left[0] = left[0][sent:]
        except OSError as exc:
            raise WireBroken(name=self.name, problem=str(exc) or type(exc).__name__) from exc

    # -- handshake ---------------------------------------------------------------------------------------------------

    def _handshake(self, contexts: tuple[str, ...]) -> ExportFacts:
        magic, kind, flags = struct.unpack(">QQH", self._receive(18))
        if magic != wire.INIT_MAGIC or kind != wire.OPTION_MAGIC or not flags & wire.FLAG_FIXED_NEWSTYLE:
            raise WireBroken(name=self.name, problem="it does not speak fixed newstyle NBD")
        self._send(struct.pack(">I", wire.FLAG_FIXED_NEWSTYLE | (flags & wire.FLAG_NO_ZEROES)))
        structured = any(kind == wire.REP_ACK for kind, _ in self._option(wire.OPT_STRUCTURED_REPLY, b""))
        export = self._address.export.encode()
        if structured and contexts:
            queries = b"".join(struct.pack(">I", len(c)) + c.encode() for c in contexts)
            asked = struct.pack(">I", len(export)) + export + struct.pack(">I", len(contexts)) + queries
            for kind, payload in self._option(wire.OPT_SET_META_CONTEXT, asked):
                if kind == wire.REP_META_CONTEXT:
                    self.contexts[payload[4:].decode()] = int.from_bytes(payload[:4], "big")
        size, export_flags, blocks = -1, 0, (1, 4096, 32 * 1024 * 1024)
        go = struct.pack(">I", len(export)) + export + struct.pack(">HH", 1, wire.INFO_BLOCK_SIZE)
        for kind, payload in self._option(wire.OPT_GO, go):
            if kind & wire.REP_ERROR_BIT:
                if kind == wire.REP_ERR_UNKNOWN:
                    raise DiskNotFound(kind="NBD export", name=self.name)
                raise ServerRefused(name=self.name, status=kind & 0xFF, problem=payload.decode(errors="replace"))
            if kind == wire.REP_INFO and len(payload) >= 2:
                told = int.from_bytes(payload[:2], "big")
                if told == wire.INFO_EXPORT:
                    size, export_flags = struct.unpack(">QH", payload[2:12])
                elif told == wire.INFO_BLOCK_SIZE:
                    blocks = struct.unpack(">III", payload[2:14])
        if size < 0:
            raise WireBroken(name=self.name, problem="it did not tell the export's size")
        return ExportFacts(size, export_flags, blocks[0], min(blocks[2], 32 * 1024 * 1024), structured)

    def _option(self, option: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
        """Send an option; the answers up to and including the last. An error answer is given, not raised."""
        self._send(struct.pack(">QII", wire.OPTION_MAGIC, option, len(payload)), payload)
        while True:
            magic, echoed, kind, size = struct.unpack(">QIII", self._receive(20))
            if magic != wire.OPTION_REPLY_MAGIC or echoed != option or size > 1 << 20:
                raise WireBroken(name=self.name, problem="a wrong answer to an option")
            yield kind, self._receive(size)
            if kind == wire.REP_ACK or kind & wire.REP_ERROR_BIT:
                return

    # -- requests ----------------------------------------------------------------------------------------------------

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer, in requests of 256 KiB that overlap in flight."""
        step = min(256 * 1024, self.facts.maximum_block)
        size = len(buffer)
        for at in range(0, size, step):
            part = buffer[at : at + step]
            self._submit(_Waiting(wire.CMD_READ, offset + at, len(part), buffer=part))
        self.settle()

    def write(self, offset: int, data: memoryview) -> None:
        """Send; the answer may come later. An error surfaces at a later write or at `settle`."""
        step = self.facts.maximum_block
        for at in range(0, len(data), step):
            part = data[at : at + step]
            self._submit(_Waiting(wire.CMD_WRITE, offset + at, len(part)), payload=part)

    def write_zeroes(self, offset: int, size: int) -> None:
        """Send; may leave a hole, which reads zeros."""
        at, end = offset, offset + size
        while at < end:  # a request carries 32 bits of length
            count = min(end - at, 1 << 30)
            self._submit(_Waiting(wire.CMD_WRITE_ZEROES, at, count))
            at += count

    def flush(self) -> None:
        """Return when the server says that all writes answered before are durable."""
        self.settle()
        if self.facts.can_flush:
            self._submit(_Waiting(wire.CMD_FLUSH, 0, 0))
            self.settle()

    def status(self, offset: int, size: int, context: str) -> list[tuple[int, int, int]]:
        """(start, end, flags) from `offset` on for a negotiated context; may stop short of `size`."""
        status = _Status(self.contexts[context], [])
        self._submit(_Waiting(wire.CMD_BLOCK_STATUS, offset, min(size, wire.MAX_BLOCK_STATUS), status=status))
        self.settle()
        if not status.found:
            raise WireBroken(name=self.name, problem="it did not answer for the context that it had agreed to")
        return status.found

    def settle(self) -> None:
        """Wait for all answers. Raises the first error among them."""
        while self._waiting:
            self._take_answer()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _submit(self, request: _Waiting, payload: memoryview = memoryview(b"")) -> None:  # noqa: B008
        while len(self._waiting) >= _DEPTH:
            self._take_answer()
        if request.command != wire.CMD_FLUSH:
            self._raise_error()
        if request.command in (wire.CMD_WRITE, wire.CMD_WRITE_ZEROES):
            self._await_overlapping(request.offset, request.offset + request.size)
        self._handle += 1
        self._waiting[self._handle] = request
        head = wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, request.command, self._handle, request.offset, request.size)
        self._send(head, payload)

    def _await_overlapping(self, start: int, end: int) -> None:
        """Requests in flight have no order: a write waits for earlier ones that touch the same bytes."""
        while any(w.offset < end and start < w.offset + w.size for w in self._waiting.values()):
            self._take_answer()

    # -- answers -----------------------------------------------------------------------------------------------------

    def _take_answer(self) -> None:
        magic = int.from_bytes(self._receive(4), "big")
        if magic == wire.SIMPLE_MAGIC:
            code, handle = struct.unpack(">IQ", self._receive(12))
            request = self._of(handle)
            del self._waiting[handle]
            if code:
                self._failed(request, code, "")
            elif request.buffer is not None:
                self._receive_into(request.buffer)
        elif magic == wire.STRUCTURED_MAGIC:
            flags, kind, handle, size = struct.unpack(">HHQI", self._receive(16))
            request = self._of(handle)
            self._chunk(request, kind, size)
            if flags & wire.CHUNK_DONE:
                del self._waiting[handle]
                if request.buffer is not None and request.filled < request.size and self._error is None:
                    self._failed(request, 5, "the answer is short")
        else:
            raise WireBroken(name=self.name, problem=f"a wrong magic number {magic:#x} in an answer")

    def _of(self, handle: int) -> _Waiting:
        if handle not in self._waiting:
            raise WireBroken(name=self.name, problem="an answer to a question that was not asked")
        return self._waiting[handle]

    def _chunk(self, request: _Waiting, kind: int, size: int) -> None:
        if kind == wire.CHUNK_DATA and request.buffer is not None and size >= 8:
            (at,) = struct.unpack(">Q", self._receive(8))
            self._receive_into(self._slice(request, at, size - 8))
        elif kind == wire.CHUNK_HOLE and request.buffer is not None and size == 12:
            at, count = struct.unpack(">QI", self._receive(12))
            view = self._slice(request, at, count)
            view[:] = bytes(len(view))
        elif kind == wire.CHUNK_BLOCK_STATUS and request.status is not None:
            self._note_status(request, self._receive(size))
        elif kind & wire.CHUNK_ERROR_BIT and 6 <= size <= 1 << 16:
            payload = self._receive(size)
            code, length = struct.unpack(">IH", payload[:6])
            self._failed(request, code, payload[6 : 6 + length].decode(errors="replace"))
        elif kind == wire.CHUNK_NONE and size == 0:
            return
        else:
            raise WireBroken(name=self.name, problem=f"an answer of unknown kind {kind}")

    def _slice(self, request: _Waiting, at: int, count: int) -> memoryview:
        assert request.buffer is not None
        begin = at - request.offset
        if begin < 0 or begin + count > request.size:
            raise WireBroken(name=self.name, problem="data that lies outside what was asked for")
        request.filled += count
        return request.buffer[begin : begin + count]

    def _note_status(self, request: _Waiting, payload: bytes) -> None:
        assert request.status is not None
        if len(payload) % 8 != 4:
            raise WireBroken(name=self.name, problem="a torn block status")
        if int.from_bytes(payload[:4], "big") != request.status.context_id:
            return
        at = request.offset
        for length, flags in struct.iter_unpack(">II", payload[4:]):
            if length == 0:
                raise WireBroken(name=self.name, problem="an extent of no length")
            request.status.found.append((at, at + length, flags))
            at += length

    def _failed(self, request: _Waiting, code: int, words: str) -> None:
        """Keep the first error; it is raised when the thread that asked looks."""
        if self._error is not None:
            return
        problem = f"{wire.ERRNO_NAMES.get(code, code)} {words}".strip()
        about = {"name": self.name, "offset": request.offset, "size_bytes": request.size}
        if request.command in (wire.CMD_READ, wire.CMD_BLOCK_STATUS):
            self._error = ReadFailed(**about, problem=problem)
        elif code == wire.ENOSPC:
            self._error = NoSpaceLeft(**about)
        else:
            self._error = WriteFailed(**about, problem=problem)

    def close(self) -> None:
        """Say good-bye and close; safe after any error."""
        try:
            self._send(wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, wire.CMD_DISC, 0, 0, 0))
        except WireBroken:
            pass  # it is closed already, which is what was wanted
        finally:
            self._socket.close()
