"""One look at a machine's service: a connection, or an HTTP answer. Not reachable is a result, not an error."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

from holdfast.clouds.protocols import Probe, ProbeResult
from holdfast.core.errors import InvalidInput

__all__ = ["TIMEOUT_S", "look", "parse_probe"]

TIMEOUT_S = 3.0
_PORTS = {"http": 80, "https": 443}


def parse_probe(probe: Probe) -> SplitResult:
    """Raises InvalidInput for anything but tcp, http and https, and for tcp without a port."""
    parts = urlsplit(probe.url)
    if parts.scheme not in ("tcp", "http", "https"):
        raise InvalidInput(field="probe", problem=f"'{probe.url}' is not a tcp, http or https URL")
    try:
        port = parts.port
    except ValueError as exc:
        raise InvalidInput(field="probe", problem=f"'{probe.url}' has no valid port") from exc
    if parts.scheme == "tcp" and port is None:
        raise InvalidInput(field="probe", problem=f"'{probe.url}' needs a port, as in tcp://:22")
    return parts


def look(probe: Probe, default_host: str | None) -> ProbeResult:
    """tcp passes when the connection is taken; http(s) when the status is below 400.

    A certificate is not verified: the machine is asked by address, so no name could match, as for a load balancer's
    probe. A proxy is never used.
    """
    parts = parse_probe(probe)
    host = parts.hostname or default_host
    if host is None:
        return ProbeResult(False, "the machine has no address")
    port = parts.port or _PORTS[parts.scheme]
    try:
        if parts.scheme == "tcp":
            with socket.create_connection((host, port), TIMEOUT_S):
                return ProbeResult(True, f"{host}:{port} takes connections")
        return _asked(parts, host, port)
    except (OSError, http.client.HTTPException) as exc:
        return ProbeResult(False, f"{host}:{port}: {str(exc) or type(exc).__name__}")


def _asked(parts: SplitResult, host: str, port: int) -> ProbeResult:
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "holdfast-probe"})
        status = connection.getresponse().status
        return ProbeResult(status < 400, f"{host}:{port} answers {status}")
    finally:
        connection.close()
