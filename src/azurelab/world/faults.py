"""Faults on ARM calls, as data: which calls, when, and what goes wrong.

A fault is a JSON object kept in the store:

    {"id": "…", "method": "PUT", "path": "regex, searched without case in the path", "nth": 1, "times": 1,
     "kind": "error" | "throttle" | "hang" | "lost_response" | "half_done" | "lro_fails", …}

`nth` = the first matching call that it hits (1 = the next one), `times` = how many from there on (0 = all).
kind error: status, code, message, headers; throttle: 429 with retry_after; hang: seconds without an answer, then the
connection is dropped (nothing was done); lost_response: the call is carried out, its answer is not sent;
half_done: the effect ends at checkpoint `at` (number or name; default 1, or after the effect) with the error;
lro_fails: accepted, the operation ends Failed (`after_effect`: true = although its effect was done).
"""

from __future__ import annotations

import itertools
import re
import threading
from typing import Any

from azurelab.arm.store import Store

__all__ = ["KINDS", "Faults"]

KINDS = ("error", "throttle", "hang", "lost_response", "half_done", "lro_fails")


class Faults:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._faults: list[dict[str, Any]] = list(store.setting("faults", []))
        self._count = itertools.count(len(self._faults) + 1)

    def add(
        self,
        kind: str,
        *,
        method: str = "*",
        path: str = "",
        nth: int = 1,
        times: int = 1,
        status: int = 500,
        code: str = "InternalServerError",
        message: str = "An error occurred.",
        **more: Any,
    ) -> str:
        """The fault's id. More: headers, retry_after, seconds, at, after_effect (module text). ValueError."""
        if kind not in KINDS:
            raise ValueError(f"no such kind of fault: {kind} (one of {', '.join(KINDS)})")
        re.compile(path)
        with self._lock:
            fault = {
                "id": f"fault-{next(self._count)}",
                "kind": kind,
                "method": method.upper(),
                "path": path,
                "nth": nth,
                "times": times,
                "seen": 0,
                "hits": 0,
                "status": 429 if kind == "throttle" else status,
                "error": {"code": "TooManyRequests" if kind == "throttle" else code, "message": message},
                **more,
            }
            self._faults.append(fault)
            self._keep()
            return str(fault["id"])

    def take(self, method: str, path: str) -> dict[str, Any] | None:
        """The fault that this call meets, counted as met; the first that matches wins."""
        if not self._faults:
            return None
        with self._lock:
            chosen = None
            for fault in self._faults:
                if fault["method"] not in ("*", method) or not re.search(fault["path"], path, re.IGNORECASE):
                    continue
                fault["seen"] += 1
                open_end = fault["times"] == 0
                if chosen is None and fault["seen"] >= fault["nth"] and (open_end or fault["hits"] < fault["times"]):
                    fault["hits"] += 1
                    chosen = dict(fault)
            if chosen is not None:
                self._keep()
            return chosen

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            return [dict(f) for f in self._faults]

    def clear(self, fault_id: str | None = None) -> None:
        with self._lock:
            self._faults = [f for f in self._faults if fault_id is not None and f["id"] != fault_id]
            self._keep()

    def _keep(self) -> None:
        self._store.set_setting("faults", self._faults)
