"""Long-running operations: recorded when accepted, carried to the end also over a kill -9, polled as Azure has it.

One operation per resource runs at a time; the next waits its turn (`Verb.locks` names further resources). An operation
ends when its effect has run *and* its time is over: at once with the `instant` profile, after the type's duration ×
scale with `azure`. After a restart every unfinished operation runs its effect again, which is why effects are
repeatable.
"""

from __future__ import annotations

import threading
import traceback
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal
from azurelab.arm.ids import parse_id
from azurelab.arm.types import Verb

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["Operation", "Operations"]

KEPT_FINISHED = 4000
"""Finished operations that stay pollable. Azure keeps them for a day; 200 imports at once make about 3,500."""


@dataclass(slots=True)
class Operation:
    """One accepted long-running call. All but `ctx` is kept on disk."""

    id: str
    resource: str
    type: str
    method: str
    status: str = "InProgress"
    started: str = ""
    ended: str = ""
    due_s: float = 0.0
    """Lab time before which it does not end."""
    ran: bool = False
    """The effect has run; only time and `finish` are missing."""
    error: dict[str, Any] | None = None
    error_status: int = 500
    output: Any = None
    location: str = ""
    api_version: str = ""
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)
    caller: list[str] = field(default_factory=lambda: ["", ""])
    request: str = ""
    memo: dict[str, Any] = field(default_factory=dict)
    locks: list[str] = field(default_factory=list)
    fault: dict[str, Any] | None = None
    done_status: int = 200
    polls: int = 0
    inline: bool = False
    """Carried out by the thread that asked (`run_here`), never given to the pool."""
    ctx: Context | None = None

    @property
    def done(self) -> bool:
        return self.status != "InProgress"

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("ctx", "polls", "inline")}


class Operations:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._all: OrderedDict[str, Operation] = OrderedDict()
        self._waiting: dict[str, deque[Operation]] = {}
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._pool = ThreadPoolExecutor(max_workers=48, thread_name_prefix="azurelab-lro")
        self._closed = False
        self._watchers: dict[str, list[Callable[[], None]]] = {}

    # -- life ---------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """After a start: finished ones stay pollable, the others run again."""
        loaded = [Operation(**raw) for raw in self._lab.store.load_operations()]
        loaded.sort(key=lambda op: op.started)
        for op in loaded:
            self._all[op.id] = op
        for op in loaded:
            if not op.done:
                op.ctx = self._context(op)
                self._enqueue(op)

    def close(self) -> None:
        """Effects that run come to their end; operations that do not run yet resume at the next start."""
        with self._lock:
            self._closed = True
            self._turn.notify_all()
            self._ended.notify_all()
            self._watchers.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -- accepting ----------------------------------------------------------------------------------------------

    def accept(self, ctx: Context, verb: Verb, seconds: float) -> Operation:
        """A new operation for this call; `record` keeps it, `launch` (after commit) or `run_here` carries it out."""
        lab = self._lab
        op = Operation(
            id=str(uuid.uuid4()),
            resource=ctx.id.text,
            type=ctx.type.name,
            method=ctx.method,
            started=lab.clock.timestamp(),
            due_s=lab.clock.now() + seconds if seconds > 0 else 0.0,
            api_version=ctx.api_version,
            body=ctx.body,
            query=dict(ctx.query),
            caller=[ctx.caller.appid, ctx.caller.oid],
            request=getattr(lab.store.request, "id", ""),
            memo=ctx.memo,
            done_status=verb.done_status or (204 if ctx.method == "DELETE" else 200),
        )
        op.ctx = ctx
        ctx.operation = op
        return op

    def record(self, op: Operation) -> None:
        with self._lock:
            if op.id not in self._all:
                self._all[op.id] = op
                self._forget_oldest()
        self._lab.store.put_operation(op.id, op.to_dict())

    def _forget_oldest(self) -> None:
        while len(self._all) > KEPT_FINISHED:
            oldest = next(iter(self._all.values()))
            if not oldest.done:
                self._all.move_to_end(oldest.id)
                break
            del self._all[oldest.id]
            self._lab.store.put_operation(oldest.id, None)

    def launch(self, op: Operation) -> None:
        """Give it to a worker, when its turn comes."""
        self._enqueue(op)

    def busy(self, key: str) -> bool:
        with self._lock:
            return bool(self._waiting.get(key))

    def _enqueue(self, op: Operation) -> None:
        with self._lock:
            for key in op.locks:
                self._waiting.setdefault(key, deque()).append(op)
            if self._may_run(op):
                self._pool.submit(self._work, op)

    def _may_run(self, op: Operation) -> bool:
        return all(self._waiting[k][0] is op for k in op.locks)

    def _release(self, op: Operation) -> None:
        with self._lock:
            heads: list[Operation] = []
            for key in op.locks:
                queue = self._waiting.get(key)
                if queue is None:
                    continue
                was_head = queue[0] is op
                queue.remove(op)
                if not queue:
                    del self._waiting[key]
                elif was_head:
                    heads.append(queue[0])
            for nxt in {id(h): h for h in heads}.values():
                if self._may_run(nxt) and not self._closed and not nxt.inline:
                    self._pool.submit(self._work, nxt)
            self._turn.notify_all()

    def run_here(self, op: Operation) -> None:
        """Carry it out in this thread (deployments, cascades), waiting for its turn; returns when it has ended."""
        with self._lock:
            op.inline = True
            for key in op.locks:
                self._waiting.setdefault(key, deque()).append(op)
            while not self._may_run(op) and not self._closed:
                self._turn.wait(0.5)
        self._work(op)
        self.wait(op.id)

    # -- carrying out -------------------------------------------------------------------------------------------

    def _work(self, op: Operation) -> None:
        """In a worker thread: the effect, then the end now or when its time is over."""
        ctx = op.ctx
        assert ctx is not None
        self._lab.store.request.id = op.request
        verb = self._verb(ctx)
        fault = op.fault
        if not op.ran:
            error = self._guarded(lambda: self._run_effect(ctx, verb, fault))
            with self._lab.store.transaction():
                op.ran = True
                op.memo = ctx.memo
                if error is not None:
                    op.error, op.error_status = error.error(), error.status
                if op.due_s > self._lab.clock.now():
                    self.record(op)
        if op.due_s > self._lab.clock.now():
            self._lab.timers.at(op.due_s, lambda: self._pool_end(op))
            return
        self._end(op)

    def _pool_end(self, op: Operation) -> None:
        with self._lock:
            if not self._closed:
                self._pool.submit(self._end, op)

    @staticmethod
    def _run_effect(ctx: Context, verb: Verb, fault: dict[str, Any] | None) -> None:
        if fault is not None and fault.get("kind") == "lro_fails" and not fault.get("after_effect"):
            raise ArmError.of(int(fault.get("status", 500)), fault["error"])
        gone_already = ctx.method == "DELETE" and ctx.found is None  # a second DELETE waited for the first
        if verb.run is not None and not gone_already:
            verb.run(ctx)
        if fault is not None and not fault.get("spent") and fault.get("kind") in ("lro_fails", "half_done"):
            raise ArmError.of(int(fault.get("status", 500)), fault["error"])

    def _whole_effect(self, ctx: Context, verb: Verb) -> None:
        with self._lab.store.transaction():
            self._run_effect(ctx, verb, None)

    def _guarded(self, effect: Callable[[], None]) -> ArmError | None:
        try:
            effect()
        except ArmError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001  a bug of ours must end the operation, be seen, and stop no worker
            return self._lab.bug(exc, traceback.format_exc())
        return None

    def complete_inline(self, op: Operation) -> None:
        """A quick verb within its acceptance, same thread and transaction: run, finish, and the result, all at once."""
        ctx = op.ctx
        assert ctx is not None
        verb = self._verb(ctx)
        if not op.ran:
            if op.fault is not None:  # half-done means that what was done stays
                error = self._guarded(lambda: self._run_effect(ctx, verb, op.fault))
            else:
                error = self._guarded(lambda: self._whole_effect(ctx, verb))
            op.ran = True
            if error is not None:
                op.error, op.error_status = error.error(), error.status
        if op.due_s <= self._lab.clock.now():
            self._conclude(op, ctx, verb)

    def _end(self, op: Operation) -> None:
        ctx = op.ctx
        assert ctx is not None
        self._lab.store.request.id = op.request
        verb = self._verb(ctx)
        with self._lab.store.transaction():
            if not op.done:
                self._conclude(op, ctx, verb)
                self.record(op)
        op.ctx = None
        self._release(op)
        with self._lock:
            self._ended.notify_all()
            watchers = self._watchers.pop(op.id, [])
        for call in watchers:
            call()

    def _conclude(self, op: Operation, ctx: Context, verb: Verb) -> None:
        """Under the lock: the last changes, the resource's state, the operation's result."""
        if op.error is None:

            def last() -> None:
                with self._lab.store.transaction():
                    self._lab.arm.settle(ctx, verb)

            error = self._guarded(last)
            if error is not None:
                op.error, op.error_status = error.error(), error.status
        if op.error is not None:
            op.status = "Failed"
            failure = op.error
            error = self._guarded(lambda: self._lab.arm.settle_failed(ctx, verb, failure))
            self._lab.store.log("operation-failed", op.resource, method=op.method, code=failure["code"])
        else:
            op.status = "Succeeded"
            op.output = self._lab.arm.result_of(ctx, verb)
        op.ended = self._lab.clock.timestamp()
        op.body = None

    # -- looking ------------------------------------------------------------------------------------------------

    def get(self, operation_id: str) -> Operation | None:
        return self._all.get(operation_id)

    def unfinished(self) -> list[Operation]:
        with self._lock:
            return [op for op in self._all.values() if not op.done]

    def wait(self, operation_id: str, timeout_s: float = 600) -> Operation:
        """Until it has ended. TimeoutError."""
        with self._lock:
            op = self._all[operation_id]
            if not self._ended.wait_for(lambda: op.done or self._closed, timeout_s):
                raise TimeoutError(f"operation {operation_id} on {op.resource} still runs")
            return op

    def when_done(self, operation_id: str, call: Callable[[], None]) -> bool:
        """Have `call` made when it ends; False when it has ended already or is not known. From a worker thread."""
        with self._lock:
            op = self._all.get(operation_id)
            if op is None or op.done or op.due_s or self._closed:
                return False
            self._watchers.setdefault(operation_id, []).append(call)
            return True

    # -- helpers ------------------------------------------------------------------------------------------------

    def _verb(self, ctx: Context) -> Verb:
        found = self._lab.arm.verb_of(ctx.type, ctx.method)
        assert found is not None, (ctx.type.name, ctx.method)
        return found

    def _context(self, op: Operation) -> Context:
        """The context again, after a restart."""
        rid = parse_id(op.resource)
        rtype = self._lab.arm.types.get(op.type.lower())
        assert rid is not None
        assert rtype is not None, op.type
        ctx = Context(
            self._lab,
            rtype,
            rid,
            method=op.method,
            api_version=op.api_version,
            body=op.body,
            query=op.query,
            caller=Principal(*op.caller),
            headers={},
        )
        ctx.memo = op.memo
        ctx.operation = op
        return ctx
