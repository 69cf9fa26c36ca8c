"""The instance metadata service's documents and rules. Pure.

Source: https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service and …/linux/scheduled-events.
Left out, answered 404: attested data, managed-identity tokens, load-balancer metadata.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from azurelab.guests.events import ScheduledEvents
from azurelab.guests.hypervisor import GuestSpec

__all__ = ["Request", "Response", "instance_document", "respond"]

VERSIONS = (
    "2017-04-02",
    "2018-10-01",
    "2019-06-01",
    "2020-06-01",
    "2020-09-01",
    "2021-02-01",
    "2021-12-13",
    "2023-07-01",
)
TEXT, JSON = "text/plain; charset=utf-8", "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    """`headers` have lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = JSON


def instance_document(spec: GuestSpec) -> dict[str, Any]:
    """`compute` as azurelab's compute room gives it, `network` made from the cards.

    osProfile.computerName is empty for a machine made by Attach: its guest keeps the name that stands on its OS disk.
    """
    compute = dict(spec.compute)
    compute.setdefault("vmId", spec.vm_id)
    profile = dict(compute.get("osProfile") or {})
    profile.setdefault("computerName", spec.host_name)
    profile.setdefault("adminUsername", "")
    compute["osProfile"] = profile
    interfaces = []
    for card in sorted(spec.nics, key=lambda nic: not nic.primary):
        subnet = ipaddress.ip_interface(f"{card.private_ip}/{card.prefix_length}").network
        address = {"privateIpAddress": card.private_ip, "publicIpAddress": card.public_ip or ""}
        interfaces.append(
            {
                "ipv4": {
                    "ipAddress": [address],
                    "subnet": [{"address": str(subnet.network_address), "prefix": str(card.prefix_length)}],
                },
                "ipv6": {"ipAddress": []},
                "macAddress": card.mac.replace("-", "").replace(":", "").upper(),
            }
        )
    return {"compute": compute, "network": {"interface": interfaces}}


def respond(request: Request, spec: GuestSpec, events: ScheduledEvents) -> Response:
    """The answer to one request of the guest."""
    url = urlsplit(request.target)
    parts = [unquote(part) for part in url.path.split("/") if part]
    query = {name.lower(): values[0] for name, values in parse_qs(url.query).items()}
    if parts[:1] != ["metadata"]:
        return _error(404, "Not found")
    if parts == ["metadata", "versions"]:
        return _json({"apiVersions": list(VERSIONS)})
    if "x-forwarded-for" in request.headers:
        return _error(400, "Bad request. Request must not contain an X-Forwarded-For header")
    if request.headers.get("metadata", "").lower() != "true":
        return _error(400, "Bad request. Required metadata header not specified")
    if "api-version" not in query:
        text = (
            "Bad request. api-version was not specified in the request. For more information refer to aka.ms/azureimds"
        )
        return Response(400, _bytes({"error": text, "newest-versions": list(VERSIONS[:-4:-1])}))
    if parts[1:2] == ["scheduledevents"] and len(parts) == 2:
        return _scheduled_events(request, events)
    if parts[1:2] == ["instance"] and request.method == "GET":
        return _leaf(instance_document(spec), parts[2:], query.get("format", "json"))
    return _error(
        404 if request.method == "GET" else 405, "Not found" if request.method == "GET" else "Method not allowed"
    )


def _leaf(document: Any, path: list[str], wanted_format: str) -> Response:
    """The part of the document at `path`; as text a leaf is its value and a folder the list of its children."""
    for part in path:
        if isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, dict) and (name := _spelling(document, part)) is not None:
            document = document[name]
        else:
            return _error(404, "Not found")
    if wanted_format != "text":
        return _json(document)
    if isinstance(document, dict):
        lines = [name + ("/" if isinstance(value, dict | list) else "") for name, value in document.items()]
        return Response(200, "\n".join(lines).encode(), TEXT)
    if isinstance(document, list):
        return Response(200, "\n".join(f"{number}/" for number in range(len(document))).encode(), TEXT)
    text = (
        {None: "", True: "true", False: "false"}.get(document, document) if not isinstance(document, str) else document
    )
    return Response(200, str(text).encode(), TEXT)


def _spelling(document: dict[str, Any], part: str) -> str | None:
    """Paths are compared without regard to case, as Azure does."""
    return next((name for name in document if name.lower() == part.lower()), None)


def _scheduled_events(request: Request, events: ScheduledEvents) -> Response:
    if request.method == "GET":
        return _json(events.document())
    if request.method != "POST":
        return _error(405, "Method not allowed")
    try:
        ids = [str(start["EventId"]) for start in json.loads(request.body)["StartRequests"]]
    except (ValueError, KeyError, TypeError):
        return _error(400, "Bad request. The body must hold StartRequests, a list of objects with EventId")
    if not events.approve(ids):
        return _error(400, "Bad request. No such event")
    return Response(200, b"")


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


def _json(value: Any) -> Response:
    return Response(200, _bytes(value))


def _error(status: int, text: str) -> Response:
    return Response(status, _bytes({"error": text}))
