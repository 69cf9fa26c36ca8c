"""The control API under /azurelab/: what tests, the demo and people who rehearse turn and read. Loopback, HTTP."""

from __future__ import annotations

import re
import time
import uuid
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
            return {
                "home": str(lab.home),
                "guests": lab.guests_kind,
                "https": lab.https_url,
                "http": lab.http_url,
                "time": lab.clock.now(),
                "rate": lab.clock.rate,
                "events": len(lab.store.events()),
                "unfinishedOperations": [
                    {"id": op.id, "resource": op.resource, "method": op.method} for op in lab.operations.unfinished()
                ],
                "bugs": lab.bugs,
            }

        def events(call: Call) -> Any:
            """`wait` seconds (at most 30) for the first event after `after`."""
            after = int(call.query.get("after", "0"))
            deadline = time.monotonic() + min(float(call.query.get("wait", "0")), 30.0)
            while True:
                found = lab.store.events(after)
                if found or time.monotonic() >= deadline:
                    return {"events": [e.to_dict() for e in found[:10_000]]}
                time.sleep(0.05)

        def clock(call: Call) -> Any:
            """{"advance": seconds} and {"rate": lab seconds per real second}; answers the lab's time."""
            body = call.object if call.raw.strip() else {}
            if "rate" in body:
                lab.clock.set_rate(float(body["rate"]))
            if "advance" in body:
                lab.clock.advance(float(body["advance"]))
            return {"time": lab.clock.now(), "rate": lab.clock.rate}

        def profile(call: Call) -> None:
            lab.time.set(str(call.object["profile"]), float(call.object.get("scale", 1.0)))

        def add_fault(call: Call) -> Any:
            wish = dict(call.object)
            return {"id": lab.faults.add(str(wish.pop("kind", "")), **wish)}

        def clear_faults(call: Call) -> None:
            lab.faults.clear(call.query.get("id"))

        def capacity(call: Call) -> None:
            wish = call.object
            lab.market.set_capacity(left=wish.get("left"), **_texts(wish, "location", "size", "zone", "priority"))

        def quota(call: Call) -> None:
            lab.market.set_quota(str(call.object["location"]), str(call.object["name"]), int(call.object["limit"]))

        def restriction(call: Call) -> None:
            wish = call.object
            lab.market.restrict(
                str(wish["location"]), str(wish["size"]), wish.get("zones"), str(wish.get("reason") or "")
            )

        def no_restriction(call: Call) -> None:
            lab.market.unrestrict(call.query["location"], call.query["size"])

        def price(call: Call) -> None:
            wish = call.object
            spot = bool(wish.get("spot", True))
            lab.market.set_price(str(wish["location"]), str(wish["size"]), float(wish["price"]), spot=spot)

        def role(call: Call) -> None:
            wish = call.object
            lab.roles.set(str(wish.get("principal", "*")), list(wish["actions"]), list(wish.get("notActions") or []))

        def application(call: Call) -> Any:
            wish = call.object
            client, secret = str(wish.get("clientId") or uuid.uuid4()), str(wish.get("secret") or uuid.uuid4())
            lab.applications.add(client, str(wish.get("objectId") or uuid.uuid4()), secret)
            return {"clientId": client, "secret": secret}

        def throttling(call: Call) -> None:
            lab.store.set_setting("throttling.enforce", bool(call.object["enforce"]))

        def paging(call: Call) -> None:
            lab.store.set_setting("paging.size", max(1, int(call.object["size"])))

        for method, path, handle in (
            ("GET", "status", status),
            ("GET", "events", events),
            ("GET", "clock", clock),
            ("PUT", "clock", clock),
            ("PUT", "time", profile),
            ("POST", "faults", add_fault),
            ("GET", "faults", lambda call: {"faults": lab.faults.all()}),
            ("DELETE", "faults", clear_faults),
            ("PUT", "capacity", capacity),
            ("PUT", "quota", quota),
            ("PUT", "restriction", restriction),
            ("DELETE", "restriction", no_restriction),
            ("PUT", "price", price),
            ("PUT", "role", role),
            ("POST", "application", application),
            ("PUT", "throttling", throttling),
            ("PUT", "paging", paging),
        ):
            self.add(method, f"/azurelab/{path}", _told(handle))


def _texts(wish: dict[str, Any], *names: str) -> dict[str, str]:
    return {n: str(wish[n]) for n in names if n in wish}


def _told(handle: Handler) -> Handler:
    """What a script got wrong comes back as 400 with the words of the check that failed."""

    def checked(call: Call) -> Any:
        try:
            return handle(call)
        except (KeyError, TypeError, ValueError) as exc:
            raise ArmError(400, "InvalidControlRequest", f"{type(exc).__name__}: {exc}") from exc

    return checked
