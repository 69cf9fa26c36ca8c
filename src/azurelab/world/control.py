"""The control API under /azurelab/: what tests, the demo and people who rehearse turn and read. Loopback, HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["Control"]

Handler = Callable[[Call], Any]


class Control:
    """Handlers by method and path. Rooms add theirs: `lab.control.add("PUT", "/azurelab/disks/write", handle)`.

    A handler gets the call (query keys in lower case, `raw` body) in a worker thread and returns JSON (or a Response).
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._add_own()

    def add(self, method: str, path: str, handle: Handler) -> None:
        self._handlers[(method, path.lower())] = handle

    def handle(self, call: Call) -> Response:
        handler = self._handlers.get((call.method, re.sub("/+$", "", call.path.lower())))
        if handler is None:
            raise ArmError(404, "NotFound", f"The control API has no {call.method} {call.path}.")
        result = handler(call)
        return result if isinstance(result, Response) else Response(200, result if result is not None else {})

    def _add_own(self) -> None:
        lab = self._lab

        def status(call: Call) -> Any:
            return {"home": str(lab.home), "guests": lab.guests_kind, "https": lab.https_url, "http": lab.http_url}

        self.add("GET", "/azurelab/status", status)
