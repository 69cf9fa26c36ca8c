"""HTTP ends in the hands of servers that lie, and of people who mistype: at once, typed, and without any secret."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.core.units import TIB
from holdfast.disks.changes import changes_of
from holdfast.disks.errors import (
    AddressExpired,
    DiskUsage,
    HostileImage,
    ServerRefused,
    SourceChanged,
    TransferDamaged,
    WireBroken,
)
from holdfast.disks.http.address import http_address, words_of
from holdfast.disks.http.client import HttpClient
from holdfast.disks.http.guards import CRC64
from holdfast.disks.http.pageblob import PageBlob
from holdfast.disks.jobs import CopyJob, run_copy
from holdfast.disks.model.locator import Locator, shown
from holdfast.disks.readers.httprange import HttpRangeReader
from holdfast.disks.writers.pageblob import PageBlobWriter

CONTENT = bytes(range(256)) * 4096
SECRET = "Ab3+dEf/9hIjKlMnOpQ="
SIGNED = "?sv=2021-08-06&sig=Ab3%2BdEf%2F9hIjKlMnOpQ%3D"


class Server(BaseHTTPRequestHandler):
    """A file of 1 MiB by ranges. `head` changes headers of a HEAD, `ranged` makes status, Content-Range and body of a
    ranged read, `refusal` answers everything with status, headers and body."""

    protocol_version = "HTTP/1.1"
    head: ClassVar[dict[str, str | None]] = {}
    ranged: Callable[[int, int], tuple[int, str | None, bytes]] | None = None
    refusal: tuple[int, dict[str, str], bytes] | None = None
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        type(self).asked.append(f"HEAD {self.path}")
        if self.refusal is not None:
            self._answer(self.refusal[0], self.refusal[1] | {"Content-Length": str(len(self.refusal[2]))}, b"")
            return
        told = {
            "Content-Length": str(len(CONTENT)),
            "ETag": '"1"',
            "Accept-Ranges": "bytes",
            "x-ms-blob-type": "PageBlob",
        }
        self._answer(200, {k: v for k, v in (told | self.head).items() if v is not None}, b"")

    def do_GET(self) -> None:
        type(self).asked.append(f"GET {self.path}")
        if self.refusal is not None:
            self._answer(
                self.refusal[0], self.refusal[1] | {"Content-Length": str(len(self.refusal[2]))}, self.refusal[2]
            )
            return
        asked = self.headers.get("Range") or self.headers["x-ms-range"]
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        status, place, body = (type(self).ranged or honest)(first, last)
        headers = {"Content-Length": str(len(body))} | ({} if place is None else {"Content-Range": place})
        if "x-ms-range-get-content-crc64" in self.headers:
            headers[CRC64.header] = CRC64.value(body)
        self._answer(status, headers, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def honest(first: int, last: int) -> tuple[int, str | None, bytes]:
    return 206, f"bytes {first}-{last}/{len(CONTENT)}", CONTENT[first : last + 1]


@pytest.fixture
def web() -> Iterator[tuple[Any, str]]:
    """The server's class, whose attributes say how it behaves, and its URL."""
    handler = type("Handler", (Server,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/disk.img"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """They do not wait between tries, and are closed."""
    plain, made = HttpClient.__init__, list[HttpClient]()

    def init(self: HttpClient, *args: Any, **more: Any) -> None:
        plain(self, *args, **{"sleep": lambda _s: None, **more})
        made.append(self)

    monkeypatch.setattr(HttpClient, "__init__", init)
    yield
    for client in made:
        client.close()


def words(error: HoldfastError) -> str:
    """All that a person or a log may see of an error."""
    return f"{error.message} {error.advice} {error.details} {error!r}"


# -- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "refusal", "match"),
    [
        (None, ServerRefused, "does not say how many bytes"),
        ("0", ServerRefused, "0 bytes"),
        ("-5", ServerRefused, "'-5'"),
        ("many", ServerRefused, "'many'"),
        ("9" * 5000, ServerRefused, "'9999"),
        (str(1 << 62), HostileImage, "a disk of 461168601842738"),
        (str(64 * TIB + 513), HostileImage, "a disk of"),
    ],
)
def test_server_that_tells_no_sane_size_is_refused(
    web: Any, tmp_path: Path, said: str | None, refusal: type[HoldfastError], match: str
) -> None:
    web[0].head = {"Content-Length": said}

    with pytest.raises(refusal, match=match):
        run_copy(CopyJob(Locator(web[1]), Locator(str(tmp_path / "d.raw"))))
    with pytest.raises(refusal, match=match):
        PageBlob(HttpClient(Locator(web[1]))).facts()
    assert list(tmp_path.iterdir()) == []


def test_largest_disk_there_is_is_not_refused(web: Any) -> None:
    web[0].head = {"Content-Length": str(64 * TIB)}
    assert HttpRangeReader(Locator(web[1])).size_bytes == 64 * TIB

    web[0].head = {"Content-Length": str(64 * TIB + 512)}
    assert PageBlob(HttpClient(Locator(web[1]))).facts().size_bytes == 64 * TIB + 512


def test_size_that_is_gone_at_the_end_of_a_copy_is_told(web: Any) -> None:
    reader = HttpRangeReader(Locator(web[1]))
    web[0].head = {"Content-Length": None}

    with pytest.raises(ServerRefused, match="does not say how many bytes"):
        reader.identity_now()
    reader.close()


# -- ranges ---------------------------------------------------------------------------------------------------------

LIES: dict[str, Callable[[int, int], tuple[int, str | None, bytes]]] = {
    "always its beginning": lambda a, b: (206, f"bytes 0-{b - a}/{len(CONTENT)}", CONTENT[: b + 1 - a]),
    "another end": lambda a, b: (206, f"bytes {a}-{b + 1}/{len(CONTENT)}", CONTENT[a : b + 1]),
    "no place": lambda a, b: (206, None, CONTENT[a : b + 1]),
    "no range at all": lambda a, b: (206, "bytes */99", CONTENT[a : b + 1]),
}


@pytest.mark.parametrize("lie", LIES)
def test_range_that_was_not_asked_for_is_refused_at_once(web: Any, lie: str) -> None:
    web[0].ranged = staticmethod(LIES[lie])
    client = HttpClient(Locator(web[1]))
    blob, reader = PageBlob(client), HttpRangeReader(Locator(web[1]))
    web[0].asked.clear()

    for read_into in (blob.read_into, reader.read_into):
        with pytest.raises(ServerRefused, match="bytes 4096-8191 were asked for"):
            read_into(4096, memoryview(bytearray(4096)))
    assert len(web[0].asked) == 2

    web[0].ranged = None
    buffer = bytearray(4096)
    for read_into in (blob.read_into, reader.read_into):
        read_into(4096, memoryview(buffer))
        assert buffer == CONTENT[4096:8192]
    reader.close()
    client.close()


def test_copy_from_a_server_that_serves_its_beginning_for_every_range_fails(web: Any, tmp_path: Path) -> None:
    disk = CONTENT * 16
    web[0].head = {"Content-Length": str(len(disk))}
    web[0].ranged = staticmethod(lambda a, b: (206, f"bytes 0-{b - a}/{len(disk)}", disk[: b - a + 1]))

    with pytest.raises(ServerRefused):
        run_copy(CopyJob(Locator(web[1]), Locator(str(tmp_path / "d.raw"))))
    assert not (tmp_path / "d.raw").exists()


def test_whole_of_another_size_than_at_first_is_a_changed_source(web: Any) -> None:
    reader = HttpRangeReader(Locator(web[1]))
    web[0].ranged = staticmethod(lambda a, b: (206, f"bytes {a}-{b}/{len(CONTENT) + 1}", CONTENT[a : b + 1]))

    with pytest.raises(SourceChanged):
        reader.read_into(4096, memoryview(bytearray(4096)))
    web[0].ranged = staticmethod(lambda a, b: (206, f"bytes {a}-{b}/*", CONTENT[a : b + 1]))
    reader.read_into(4096, memoryview(bytearray(4096)))
    reader.close()


def test_all_of_a_file_in_place_of_a_range_is_refused_and_not_taken_in(web: Any) -> None:
    web[0].ranged = staticmethod(lambda _a, _b: (200, None, CONTENT * 64))
    reader = HttpRangeReader(Locator(web[1]))

    with pytest.raises(ServerRefused, match="answered 200: all of the file, where a range") as caught:
        reader.read_into(0, memoryview(bytearray(4096)))
    assert len(words(caught.value)) < 1000
    reader.close()


@pytest.mark.parametrize("size", [4096, len(CONTENT)])
def test_page_blob_that_answers_ranges_with_the_whole_is_not_believed(web: Any, size: int) -> None:
    """With a checksum that is right, of bytes that stand elsewhere."""
    web[0].ranged = staticmethod(lambda _a, _b: (200, None, CONTENT[:size]))
    blob = PageBlob(HttpClient(Locator(web[1])))

    with pytest.raises(WireBroken):
        blob.read_into(4096, memoryview(bytearray(4096)))


# -- addresses ------------------------------------------------------------------------------------------------------

BAD = {
    "a space": "http://h/a b.raw?sig=SECRETSECRET",
    "a space in the query": "http://h/a.raw?a=b c&sig=SECRETSECRET",
    "a line feed": "http://h/a.raw?sig=SECRETSECRET\nX: y",
    "a terminal's escape": "http://h/\x1b[31ma.raw?sig=SECRETSECRET",
    "half an address": "http://[::1/x?sig=SECRETSECRET",
    "a port too high": "http://h:99999/x?sig=SECRETSECRET",
    "a port in letters": "http://h:abc/x?sig=SECRETSECRET",
    "port 0": "http://h:0/x?sig=SECRETSECRET",
    "no host": "http:///x?sig=SECRETSECRET",
    "an impossible host": "http://a..b/x?sig=SECRETSECRET",
    "a host in a look-alike": "http://h\u2100/x?sig=SECRETSECRET",
    "a password": "http://user:SECRETSECRET@host/x",
    "a password with a slash": "http://user:SECRET/SECRET@host/x",
    "a password with a question mark": "http://user:SECRET?SECRET@host/x",
    "a user": "http://SECRETSECRET@host/x",
    "ftp": "ftp://h/x?sig=SECRETSECRET",
    "x": "x://h/x?sig=SECRETSECRET",
    "http over a socket": "http+unix://%2Fsock/x?sig=SECRETSECRET",
    "nbd": "nbd://h/x?tls-password=SECRETSECRET",
    "one slash": "https:/h/x?sig=SECRETSECRET",
    "a path": "s.raw",
}


@pytest.mark.parametrize("bad", BAD)
def test_address_that_cannot_be_asked_is_refused_at_once_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: pytest.fail("a name was asked for"))

    with pytest.raises(DiskUsage) as caught:
        HttpClient(Locator(BAD[bad]))

    assert caught.value.about == "address"
    assert "SECRET" not in words(caught.value)
    assert caught.value.message.isprintable()
    assert "SECRET" not in repr(Locator(BAD[bad]))


@pytest.mark.parametrize("scheme", ["ftp", "x", "http+unix"])
def test_unknown_scheme_is_told_the_known_ones(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(DiskUsage, match="http, https, nbd and nbd\\+unix"):
        run_copy(CopyJob(Locator(f"{scheme}://h/x.raw"), Locator(str(tmp_path / "d.raw"))))


@pytest.mark.parametrize("kind", ["page-blob", "azure-disk"])
def test_path_is_no_page_blob(tmp_path: Path, kind: str) -> None:
    (tmp_path / "s.raw").write_bytes(b"x" * 4096)

    with pytest.raises(DiskUsage, match="n5 is no http"):
        PageBlobWriter(Locator("n5", kind), 4096, fresh=True)
    with pytest.raises(DiskUsage, match="is no http"):
        run_copy(CopyJob(Locator(str(tmp_path / "s.raw")), Locator(str(tmp_path / "n5"), kind)))
    with pytest.raises(DiskUsage):
        changes_of(Locator(str(tmp_path / "s.raw")), previous="https://h/older?sig=x")


def test_non_ascii_address_is_sent_as_utf8(web: Any) -> None:
    url = web[1].replace("disk.img", "дисk é%20.img?name=ü")

    HttpRangeReader(Locator(url.replace(" ", ""))).close()

    assert web[0].asked == ["HEAD /%D0%B4%D0%B8%D1%81k%C3%A9%20.img?name=%C3%BC"]
    assert http_address(Locator("http://bücher.example:81/x")).host == "xn--bcher-kva.example:81"
    assert http_address(Locator("http://h/\udcff")).target == "/%FF"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://H.example/c/abcd?sv=1&sig=S", "https://h.example/c/abcd"),
        ("https://md-x.blob:443/c/abcd", "https://md-x.blob:443/c/abcd"),
        ("http://h", "http://h"),
        ("http://h/a/b.raw#f", "http://h/a/b.raw"),
        ("http://h/x;sig=SECRET", "http://h/x"),
        ("http://h/x;sig=SECRET/y.raw?a=b", "http://h/x"),
        ("nbd://h/e;1", "nbd://h/e;1"),
        ("nbd://h:10809/e?tls-password=PW", "nbd://h:10809/e"),
        ("nbd+unix:///e?socket=/x", "nbd+unix:/e?socket=/x"),
        ("nbd+unix:///?socket=/tmp/s1", "nbd+unix:/?socket=/tmp/s1"),
        ("nbd+unix:///e?socket=/x&tls-password=PW", "nbd+unix:/e?socket=/x"),
        ("nbd+unix:///e?tls-password=PW&socket=/x", "nbd+unix:/e?socket=/x"),
        ("nbd://h:99999/x", "nbd://h:99999/x"),
        ("nbd://h:abc/x", "nbd://h/x"),
        ("nbd://u:PW@h:abc/x?y=z", "nbd://h/x"),
        ("http://h/\x1b]0;x\x07", "http://h/?]0"),
        ("/a b/ü?x;y.raw", "/a b/ü?x;y.raw"),
        ("-", "-"),
    ],
)
def test_name_of_an_address_has_no_secret_and_is_otherwise_what_it_was(address: str, name: str) -> None:
    assert shown(address) == name


# -- a server's words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "echo",
    [
        "GET /disk.img?sv=2021-08-06&sig=Ab3%2BdEf%2F9hIjKlMnOpQ%3D HTTP/1.1",
        "GET /disk.img?sv=2021-08-06&amp;sig=Ab3%2bdEf%2f9hIjKlMnOpQ%3d",
        "no such thing: Ab3+dEf/9hIjKlMnOpQ=",
        '{"url": "https:\\/\\/h?sv=1\\u0026sig=Ab3\\u002BdEf\\/9hIjKlMnOpQ="}',
        "<p>Ab3&#43;dEf&#x2F;9hIjKlMnOpQ=</p>",
        "cut off at ?sig=Ab3%2BdEf%2F9hIj",
    ],
)
@pytest.mark.parametrize("where", ["body", "code"])
def test_secret_that_a_server_repeats_is_not_in_the_error(web: Any, echo: str, where: str) -> None:
    body, headers = (echo.encode(), {}) if where == "body" else (b"", {"x-ms-error-code": echo})
    web[0].refusal = (400, headers, body)

    with pytest.raises(ServerRefused) as caught:
        HttpClient(Locator(web[1] + SIGNED)).request("GET")

    for part in (SECRET, "dEf", "hIj"):
        assert part not in words(caught.value)


def test_path_parameter_and_address_of_the_older_snapshot_are_secrets_too(web: Any) -> None:
    web[0].refusal = (400, {}, b"bad: /disk.img;sig=PATHSECRET, old SNAPSECRET and TOKENTOKEN")
    blob = PageBlob(HttpClient(Locator(web[1] + ";sig=PATHSECRET?TOKENTOKEN")))

    with pytest.raises(ServerRefused) as caught:
        list(blob.page_ranges(0, 4096, previous="http://h/old?sig=SNAPSECRET"))

    assert "bad: /disk.img;sig=" in words(caught.value)
    assert not any(part in words(caught.value) for part in ("PATHSECRET", "SNAPSECRET", "TOKENTOKEN"))


def test_escapes_and_binary_of_a_server_are_not_printed(web: Any) -> None:
    web[0].refusal = (400, {}, b"\x1b[2Jno\r\n\tway\x00\x9b\xff\xfe %1b]0;x &#27;[31m \\u001b[1m" + b"z" * 100_000)

    with pytest.raises(ServerRefused) as caught:
        HttpClient(Locator(web[1])).request("GET")

    assert caught.value.message.isprintable()
    assert "\ufffd" not in caught.value.message
    assert "no way" in caught.value.message
    assert len(caught.value.message) < 400


def test_status_line_that_is_none_repeats_nothing(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"\x1b[31m " + connection.recv(65536).split(b"\r\n")[0] + b"\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x{SIGNED}"
    with listener, pytest.raises(WireBroken) as caught:
        HttpClient(Locator(url), tries=1).request("GET")
    thread.join()

    assert "BadStatusLine" in caught.value.message
    assert caught.value.message.isprintable()
    assert "dEf" not in words(caught.value)


def test_short_values_leave_words_alone() -> None:
    assert words_of("a blob of b", ("http://h/?a=b&sp=rw&comp=x",)) == "a blob of b"


def test_redirect_is_told_with_its_end_and_without_its_query(web: Any) -> None:
    web[0].refusal = (302, {"Location": "https://cdn.example/disk.img?sig=OTHERSECRET"}, b"")

    with pytest.raises(
        ServerRefused, match=r"redirects are not followed; use .* \(https://cdn.example/disk.img\)"
    ) as caught:
        HttpRangeReader(Locator(web[1]))
    assert "SECRET" not in words(caught.value)

    web[0].refusal = (307, {"Location": "//[x?sig=OTHERSECRET"}, b"")
    with pytest.raises(ServerRefused, match="redirects are not followed") as caught:
        HttpRangeReader(Locator(web[1]))
    assert "SECRET" not in words(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_address_without_a_signature_does_not_expire(web: Any, status: int) -> None:
    web[0].refusal = (status, {}, b"")

    with pytest.raises(ServerRefused, match=f"answered {status}: it wants an authorization"):
        HttpRangeReader(Locator(web[1] + "?version=3"))
    with pytest.raises(AddressExpired):
        HttpRangeReader(Locator(web[1] + SIGNED))


# -- patience -------------------------------------------------------------------------------------------------------


class Clock:
    """Passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_server_that_was_never_there_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for trouble in ("refused", "no such host"):
        clock = Clock()
        url = f"http://127.0.0.1:{port}/x" if trouble == "refused" else "http://nowhere.example/x"
        if trouble != "refused":
            monkeypatch.setattr(socket, "getaddrinfo", _no_such_host)

        with pytest.raises(WireBroken):
            HttpClient(Locator(url), sleep=clock.sleep, monotonic=lambda c=clock: c.now_s).request("HEAD")  # type: ignore[misc]

        assert 1.0 < clock.now_s <= 3.0


def _no_such_host(*_args: Any, **_more: Any) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_server_that_went_away_after_an_answer_is_waited_for_as_long_as_tries_last(web: Any) -> None:
    clock, waits = Clock(), list[float]()
    client = HttpClient(
        Locator(web[1]), sleep=lambda s: (clock.sleep(s), waits.append(s)), monotonic=lambda: clock.now_s
    )
    client.request("HEAD")
    client._drop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", _refusing)

        with pytest.raises(WireBroken, match="ConnectionRefused"):
            client.request("HEAD")

    assert len(waits) == 8
    assert clock.now_s > 3.0
    client.close()


def _refusing(*_args: Any, **_more: Any) -> Any:
    raise ConnectionRefusedError(111, "Connection refused")


def test_torn_refusal_is_asked_for_again(web: Any) -> None:
    """As a proxy that restarts gives it: the status of one answer and half of its body."""
    web[0].refusal = (400, {}, b"")
    count = list[int]()

    def torn(self: Server) -> None:
        count.append(1)
        self.send_response(400)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)
        self.close_connection = True

    web[0].do_GET = torn

    with pytest.raises((WireBroken, TransferDamaged)):
        HttpClient(Locator(web[1])).request("GET")
    assert len(count) == 8
