"""Where the disk behind an http(s) address is asked for; and what of a server's words may be shown.

A server may repeat the request that it refuses, and with it the signature that opens the disk. So whatever a server
says goes through `words_of` before it stands in an error.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from holdfast.disks.errors import DiskUsage
from holdfast.disks.model.locator import Locator, asciied_host

__all__ = ["HttpAddress", "http_address", "words_of"]

_KNOWN = "http, https, nbd and nbd+unix"
_NEVER = re.compile(r"[\x00-\x20\x7f]")
_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))
_WORDS = 300  # characters of an answer that are shown
_SECRET_FROM = 7  # characters; what is shorter stands in words by chance
_SIGNATURES = ("sig", "signature", "x-amz-signature", "x-goog-signature")


@dataclass(frozen=True)
class HttpAddress:
    """`host` has the port, `target` is path and query as they are sent; `address` is what all that was made from."""

    scheme: str
    host: str
    target: str = field(repr=False)
    address: str = field(repr=False)

    @property
    def url(self) -> str:
        """The whole address in ASCII, for a header. A secret."""
        return f"{self.scheme}://{self.host}{self.target}"

    @property
    def is_signed(self) -> bool:
        """Whether it carries a signature, as a SAS does."""
        return any(name.lower() in _SIGNATURES for name, _ in _parameters(self.address))


def http_address(locator: Locator) -> HttpAddress:
    """Take an address apart. Characters outside ASCII are percent-encoded as UTF-8.

    Raises DiskUsage, without any secret, for what no server can be asked for.
    """
    address, name = locator.address, locator.name
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as exc:
        raise _refused(f"{name} is no well-formed URL: look at its host and port") from exc
    if parts.scheme not in ("http", "https"):
        raise _refused(f"{name} is no http(s) URL (schemes that are known: {_KNOWN})")
    if _NEVER.search(address):
        raise _refused(f"{name} has a space or control character in it, which must be percent-encoded")
    if "@" in parts.netloc:
        raise _refused(f"{name} is given with a user or password, which are not sent; use a signed URL")
    if not parts.hostname or port == 0:
        raise _refused(f"{name} names no host and port")
    path = quote(parts.path or "/", safe=_AS_IT_IS, errors="surrogateescape")
    query = quote(parts.query, safe=_AS_IT_IS, errors="surrogateescape")
    return HttpAddress(parts.scheme, _host(parts, name), path + ("?" + query if query else ""), address)


def _refused(problem: str) -> DiskUsage:
    return DiskUsage(field="address", problem=problem)


def _host(parts: SplitResult, name: str) -> str:
    host = asciied_host(parts.hostname or "", name)
    if parts.netloc.isascii():
        return parts.netloc
    return f"{host}:{parts.port}" if parts.port else host


def words_of(said: str, addresses: Iterable[str]) -> str:
    """What a server said, fit to be shown: one line of printable characters, and nothing of the queries and path
    parameters of `addresses`, also where it is spelled as HTML, JSON or URLs spell it."""
    plain = _plain(said).replace("\ufffd", " ")
    for address in addresses:
        pairs = _parameters(address)
        for value in sorted((value for _, value in pairs if len(value) >= _SECRET_FROM), key=len, reverse=True):
            plain = plain.replace(value, "…")
        for name in {name for name, _ in pairs if name} | {"sig"}:  # also where the server gives a part of the value
            plain = re.sub(rf"(?i)(?<![\w-]){re.escape(name)}=[^\s\"'<>&]+", f"{name}=…", plain)
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())[:_WORDS]


def _plain(text: str) -> str:
    """Without the escapes of JSON, HTML and URLs."""
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace("\\/", "/")
    return unquote(html.unescape(text))


def _parameters(address: str) -> list[tuple[str, str]]:
    """Names and values in query and path parameters; what has no name has an empty one."""
    found = []
    for part in re.split(r"[?;&#]", address)[1:]:
        name, equals, value = part.partition("=")
        found.append((name, _plain(value)) if equals else ("", _plain(part)))
    return found
