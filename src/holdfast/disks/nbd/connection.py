"""One NBD connection: handshake, then requests of which several may be in flight. Used by one thread at a time."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.disks.errors import (
    DiskNotFound,
    HostileImage,
    NoSpaceLeft,
    ReadFailed,
    ServerRefused,
    WireBroken,
    WriteFailed,
)
from holdfast.disks.intake.inspecting import MOST_BYTES
from holdfast.disks.model.locator import visible
from holdfast.disks.nbd import wire
from holdfast.disks.nbd.wire import NbdAddress

__all__ = ["Connection", "ExportFacts", "Request"]

# Requests sent before an answer is awaited. On one machine 4 to 16 of 1 MiB are equally good, and 2 cost a tenth. Many
# hide the round trips of a network: at 20 ms, writes of 64 KiB move 23 MB/s with 8 of them and 172 MB/s with 64.
_DEPTH = 64
_DEPTH_BYTES = 32 * 1024 * 1024
# A read: smaller ones cost both sides a wake-up each, larger ones leave the server idle while we digest.
_READ_BYTES = 512 * 1024
_SOCKET_BUFFER = 1 << 20
_SCRATCH_BYTES = 64 * 1024
_WORDS = 300  # characters of a refusal that are shown


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

    @property
    def multi_conn(self) -> bool:
        """Several connections see one state, and a flush on one of them covers the answered writes of all."""
        return bool(self.flags & wire.CAN_MULTI_CONN)


@dataclass
class _Status:
    """What is told of one context: (start, end, flags)."""

    context_id: int
    found: list[tuple[int, int, int]]


@dataclass
class Request:
    """`buffer` takes the data of a read, `status` the extents of a block status; `done` when its answer is here.

    A read without a buffer throws its data away.
    """

    command: int
    offset: int
    size: int
    buffer: memoryview | None = None
    status: _Status | None = None
    flags: int = 0
    filled: int = 0
    done: bool = False
    error: Exception | None = None
    code: int = 0


class Connection:
    """Speaks fixed-newstyle NBD with structured replies where the server has them.

    A write that failed is never forgotten: every later write, `settle` and flush raises it again, so that nothing that
    depends on it can be recorded as durable. Once the stream of bytes is torn, nothing is sent on it any more.
    """

    def __init__(
        self, address: NbdAddress, name: str, *, contexts: tuple[str, ...] = (), timeout_s: float = 60
    ) -> None:
        self.name, self._address = name, address
        self._handle = 0
        self._waiting: dict[int, Request] = {}  # by handle, so the first is the oldest
        self._flying_bytes = 0
        self._write_error: Exception | None = None
        self._broken: str | None = None
        self._read_flags = 0
        self._head = bytearray(wire.STRUCTURED_REPLY.size)
        self._head_view = memoryview(self._head)
        self.contexts: dict[str, int] = {}
        try:
            if address.socket_path is not None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._socket.settimeout(timeout_s)
                self._socket.connect(address.socket_path)
            else:
                self._socket = socket.create_connection((address.host, address.port), timeout_s)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
            # The kernel's own timeouts: Python's would make the descriptor non-blocking, and a megabyte many calls.
            self._socket.settimeout(None)
            limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1_000_000))
            for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, limit)
        except OSError as exc:
            raise DiskNotFound(kind="NBD export", name=f"{name} ({exc})") from exc
        self._timeout_s = timeout_s
        try:
            self.facts = self._handshake(contexts)
        except BaseException:
            self._socket.close()
            raise
        if self.facts.structured and self.facts.flags & wire.SEND_DF:
            self._read_flags = wire.CMD_FLAG_DF

    # -- bytes -------------------------------------------------------------------------------------------------------

    def _torn(self, problem: str | OSError) -> WireBroken:
        """What was sent or received in part cannot be gone on with: the connection is dead from now on."""
        if isinstance(problem, BlockingIOError):
            problem = f"it did not answer for {self._timeout_s:g} s"
        self._broken = str(problem) or type(problem).__name__
        return WireBroken(name=self.name, problem=self._broken)

    def _receive(self, size: int) -> bytes:
        data = bytearray(size)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, view: memoryview) -> None:
        at = 0
        try:
            while at < len(view):
                count = self._socket.recv_into(view[at:] if at else view, 0, socket.MSG_WAITALL)
                if count == 0:
                    raise self._torn("the server closed it")
                at += count
        except OSError as exc:
            raise self._torn(exc) from exc

    def _throw_away(self, size: int) -> None:
        scratch = memoryview(bytearray(min(size, _SCRATCH_BYTES)))
        while size > 0:
            self._receive_into(scratch[: min(size, len(scratch))])
            size -= len(scratch)

    def _send(self, *parts: bytes | memoryview) -> None:
        self.require_whole()
        try:
            left = [memoryview(part) for part in parts if len(part)]
            while left:
                sent = self._socket.sendmsg(left)
                while left and sent >= len(left[0]):
                    sent -= len(left.pop(0))
                if left and sent:
                    left[0] = left[0][sent:]
        except OSError as exc:
            raise self._torn(exc) from exc

    # -- handshake ---------------------------------------------------------------------------------------------------

    def _handshake(self, contexts: tuple[str, ...]) -> ExportFacts:
        magic, kind, flags = struct.unpack(">QQH", self._receive(18))
        if magic != wire.INIT_MAGIC or kind != wire.OPTION_MAGIC or not flags & wire.FLAG_FIXED_NEWSTYLE:
            raise self._torn("it does not speak fixed newstyle NBD")
        self._send(struct.pack(">I", wire.FLAG_FIXED_NEWSTYLE | (flags & wire.FLAG_NO_ZEROES)))
        structured = any(kind == wire.REP_ACK for kind, _ in self._option(wire.OPT_STRUCTURED_REPLY, b""))
        export = self._address.export.encode()
        if structured and contexts:
            queries = b"".join(struct.pack(">I", len(c)) + c.encode() for c in contexts)
            asked = struct.pack(">I", len(export)) + export + struct.pack(">I", len(contexts)) + queries
            for kind, payload in self._option(wire.OPT_SET_META_CONTEXT, asked):
                if kind == wire.REP_META_CONTEXT:
                    self.contexts[payload[4:].decode(errors="replace")] = int.from_bytes(payload[:4], "big")
        size, export_flags, blocks = -1, 0, (1, 4096, 32 * 1024 * 1024)
        go = struct.pack(">I", len(export)) + export + struct.pack(">HH", 1, wire.INFO_BLOCK_SIZE)
        for kind, payload in self._option(wire.OPT_GO, go):
            if kind & wire.REP_ERROR_BIT:
                raise self._refusal(kind, payload)
            if kind == wire.REP_INFO and len(payload) >= 2:
                told = int.from_bytes(payload[:2], "big")
                if told == wire.INFO_EXPORT and len(payload) >= 12:
                    size, export_flags = struct.unpack(">QH", payload[2:12])
                elif told == wire.INFO_BLOCK_SIZE and len(payload) >= 14:
                    blocks = struct.unpack(">III", payload[2:14])
        if size < 0:
            raise self._torn("it did not tell the export's size")
        if not blocks[2]:
            raise self._torn("it takes no block of any size")
        if size > MOST_BYTES:  # asking for the holes of 8 EiB takes minutes, reading them years
            raise HostileImage(name=self.name, rule="sizes", problem=f"a disk of {size} bytes", field="address")
        return ExportFacts(size, export_flags, blocks[0], min(blocks[2], 32 * 1024 * 1024), structured)

    def _refusal(self, kind: int, payload: bytes) -> Exception:
        """The error that an error answer to the last option is."""
        if kind == wire.REP_ERR_UNKNOWN:
            return DiskNotFound(kind="NBD export", name=self.name)
        said = visible(payload.decode(errors="replace").strip())[:_WORDS]
        means = wire.REFUSALS.get(kind, "")
        problem = f"{means} ({said})" if means and said else means or said or "no words"
        return ServerRefused(name=self.name, status=kind & 0xFF, problem=problem)

    def _option(self, option: int, payload: bytes) -> Iterator[tuple[int, bytes]]:
        """Send an option; the answers up to and including the last. An error answer is given, not raised."""
        self._send(struct.pack(">QII", wire.OPTION_MAGIC, option, len(payload)), payload)
        while True:
            magic, echoed, kind, size = struct.unpack(">QIII", self._receive(20))
            if magic != wire.OPTION_REPLY_MAGIC or echoed != option or size > 1 << 20:
                raise self._torn("a wrong answer to an option")
            yield kind, self._receive(size)
            if kind == wire.REP_ACK or kind & wire.REP_ERROR_BIT:
                return

    # -- requests ----------------------------------------------------------------------------------------------------

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer, in requests that overlap in flight. Raises ReadFailed and leaves the connection usable."""
        step = min(_READ_BYTES, self.facts.maximum_block)
        asked = []
        for at in range(0, len(buffer), step):
            part = buffer[at : at + step]
            asked.append(self._submit(Request(wire.CMD_READ, offset + at, len(part), part, flags=self._read_flags)))
        self._await(asked)
        if self._read_flags and any(request.code == wire.EOVERFLOW for request in asked):
            self._read_flags = 0  # it cannot answer in one piece; ask again for as many as it likes
            self.read_into(offset, buffer)
            return
        for request in asked:
            if request.error is not None:
                raise request.error

    def read_away(self, offset: int, size: int) -> int:
        """Read what nobody wants, and forget also its error; the number of bytes that had to be sent for it, or all.

        At most the server's largest block. Its pieces may come as holes, so that nothing is sent for what is empty. The
        answer is waited for: a server that does one thing at a time would wait for us to take it, while we waited for
        it to take the next write.
        """
        request = self._submit(Request(wire.CMD_READ, offset, size))
        self._await([request])
        return size if request.error is not None else request.filled

    def write(self, offset: int, data: memoryview) -> None:
        """Send; the answer may come later. An error surfaces at a later write, or at `settle` or a flush."""
        step = self.facts.maximum_block
        if len(data) <= step:
            self._submit(Request(wire.CMD_WRITE, offset, len(data)), data)
            return
        for at in range(0, len(data), step):
            part = data[at : at + step]
            self._submit(Request(wire.CMD_WRITE, offset + at, len(part)), part)

    def write_zeroes(self, offset: int, size: int) -> None:
        """Send; may leave a hole, which reads zeros."""
        at, end = offset, offset + size
        while at < end:  # a request carries 32 bits of length
            count = min(end - at, 1 << 30)
            self._submit(Request(wire.CMD_WRITE_ZEROES, at, count))
            at += count

    def begin_flush(self) -> Request:
        """Ask that all writes answered before now become durable; `done` when they are, unless there is an error."""
        self.raise_write_error()
        return self._submit(Request(wire.CMD_FLUSH, 0, 0))

    def status(self, offset: int, size: int, context: str) -> list[tuple[int, int, int]]:
        """(start, end, flags) from `offset` on for a negotiated context; may stop short of `size`."""
        status = _Status(self.contexts[context], [])
        request = Request(wire.CMD_BLOCK_STATUS, offset, min(size, wire.MAX_BLOCK_STATUS), status=status)
        self._await([self._submit(request)])
        if request.error is not None:
            raise request.error
        if not status.found:
            raise self._torn("it did not answer for the context that it had agreed to")
        return status.found

    def settle(self) -> None:
        """Wait for all answers. Raises the first error of any write so far."""
        while self._waiting:
            self.take_answer()
        self.raise_write_error()

    def raise_write_error(self) -> None:
        if self._write_error is not None:
            raise self._write_error

    def mark(self) -> int:
        """A moment in the row of requests, for `answered`."""
        return self._handle

    def answered(self, mark: int) -> bool:
        """Whether everything sent before the mark has its answer. Raises WireBroken where none can come any more."""
        if not self._waiting or next(iter(self._waiting)) > mark:
            return True
        self.require_whole()
        return False

    def require_whole(self) -> None:
        """Raises WireBroken if the stream is torn, so that no answer can come any more."""
        if self._broken is not None:
            raise WireBroken(name=self.name, problem=self._broken)

    def readable(self, timeout_s: float) -> bool:
        """Whether an answer has begun to arrive; waits for it. May be asked without owning the connection."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def _await(self, requests: list[Request]) -> None:
        for request in requests:
            while not request.done:
                self.take_answer()

    def _submit(self, request: Request, payload: memoryview = memoryview(b"")) -> Request:  # noqa: B008
        moved = request.size if request.command in (wire.CMD_READ, wire.CMD_WRITE) else 0
        while len(self._waiting) >= _DEPTH or (self._waiting and self._flying_bytes + moved > _DEPTH_BYTES):
            self.take_answer()
        if request.command in (wire.CMD_WRITE, wire.CMD_WRITE_ZEROES):
            self.raise_write_error()
            self._await_overlapping(request.offset, request.offset + request.size)
        self._handle += 1
        self._waiting[self._handle] = request
        self._flying_bytes += moved
        head = wire.REQUEST.pack(
            wire.REQUEST_MAGIC, request.flags, request.command, self._handle, request.offset, request.size
        )
        self._send(head, payload)
        return request

    def _await_overlapping(self, start: int, end: int) -> None:
        """Requests in flight have no order: a write waits for earlier ones that touch the same bytes."""
        while any(w.offset < end and start < w.offset + w.size for w in self._waiting.values()):
            self.take_answer()

    # -- answers -----------------------------------------------------------------------------------------------------

    def take_answer(self) -> None:
        """Receive one answer, or a part of one, and note it at its request. Raises WireBroken only."""
        self.require_whole()
        view = self._head_view
        self._receive_into(view[:16])
        magic = int.from_bytes(view[:4], "big")
        if magic == wire.SIMPLE_MAGIC:
            _, code, handle = wire.SIMPLE_REPLY.unpack_from(view)
            request = self._of(handle)
            if code:
                self._failed(request, code, "")
            elif request.command == wire.CMD_READ:
                if self.facts.structured:
                    raise self._torn("a simple answer to a read after structured ones were agreed")
                if request.buffer is None:
                    self._throw_away(request.size)
                    request.filled = request.size
                else:
                    self._receive_into(request.buffer)
            self._done(handle)
        elif magic == wire.STRUCTURED_MAGIC:
            self._receive_into(view[16:])
            _, flags, kind, handle, size = wire.STRUCTURED_REPLY.unpack_from(view)
            request = self._of(handle)
            self._chunk(request, kind, size)
            if flags & wire.CHUNK_DONE:
                if request.buffer is not None and request.filled < request.size and request.error is None:
                    self._failed(request, 5, "the answer is short")
                self._done(handle)
        else:
            raise self._torn(f"a wrong magic number {magic:#x} in an answer")

    def _done(self, handle: int) -> None:
        request = self._waiting.pop(handle)
        request.done = True
        if request.command in (wire.CMD_READ, wire.CMD_WRITE):
            self._flying_bytes -= request.size

    def _of(self, handle: int) -> Request:
        if handle not in self._waiting:
            raise self._torn("an answer to a question that was not asked")
        return self._waiting[handle]

    def _chunk(self, request: Request, kind: int, size: int) -> None:
        if kind in (wire.CHUNK_DATA, wire.CHUNK_HOLE) and _unwanted(request) and size <= request.size + 8:
            self._throw_away(size)
            request.filled += size - 8 if kind == wire.CHUNK_DATA else 0
        elif kind == wire.CHUNK_DATA and request.buffer is not None and size >= 8:
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
            raise self._torn(f"an answer of unknown kind {kind}")

    def _slice(self, request: Request, at: int, count: int) -> memoryview:
        assert request.buffer is not None
        begin = at - request.offset
        if begin < 0 or begin + count > request.size:
            raise self._torn("data that lies outside what was asked for")
        request.filled += count
        return request.buffer[begin : begin + count]

    def _note_status(self, request: Request, payload: bytes) -> None:
        assert request.status is not None
        if len(payload) % 8 != 4:
            raise self._torn("a torn block status")
        if int.from_bytes(payload[:4], "big") != request.status.context_id:
            return
        at = request.offset
        for length, flags in struct.iter_unpack(">II", payload[4:]):
            if length == 0:
                raise self._torn("an extent of no length")
            request.status.found.append((at, at + length, flags))
            at += length

    def _failed(self, request: Request, code: int, words: str) -> None:
        """Note the first error at its request, and that of a write for good."""
        if request.error is not None:
            return
        problem = f"{wire.ERRNO_NAMES.get(code, code)} {visible(words)[:_WORDS]}".strip()
        about = {"name": self.name, "offset": request.offset, "size_bytes": request.size}
        request.code = code
        if request.command in (wire.CMD_READ, wire.CMD_BLOCK_STATUS):
            request.error = ReadFailed(**about, problem=problem)
        elif code == wire.ENOSPC:
            request.error = NoSpaceLeft(**about)
        else:
            request.error = WriteFailed(**about, problem=problem)
        if request.command not in (wire.CMD_READ, wire.CMD_BLOCK_STATUS):
            self._write_error = self._write_error or request.error

    def close(self) -> None:
        """Say good-bye and close; safe after any error."""
        try:
            self._send(wire.REQUEST.pack(wire.REQUEST_MAGIC, 0, wire.CMD_DISC, 0, 0, 0))
        except WireBroken:
            pass  # it is closed already, which is what was wanted
        finally:
            self._socket.close()


def _unwanted(request: Request) -> bool:
    return request.command == wire.CMD_READ and request.buffer is None
