"""`azurelab`: start, stop and look at a local cloud. Heavy imports happen only where a lab really starts."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from azurelab import processes

__all__ = ["main"]

KEPT_BY_RESET = ("lab.json", "tls", "ports.json", "server.lock")
NOT_RUNNING = 3
"""Exit code of `status` and `env` where no lab runs (as init scripts have it)."""


def default_home() -> Path:
    return Path(os.environ.get("AZURELAB_HOME") or Path.home() / ".azurelab")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["guest-image"]:
        from azurelab.guests import image

        return image.main(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 2
    options.home = options.home.absolute()
    code: int = options.handle(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="azurelab", description="A local cloud that az and the Azure SDKs can talk to."
    )
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND")

    def verb(name: str, handle: object, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text)
        added.add_argument("--home", type=Path, default=default_home(), help="where the lab's state lies")
        added.set_defaults(handle=handle)
        return added

    up = verb("up", _up, "Start the lab of a home; its state is as it was.")
    up.add_argument("--detach", action="store_true", help="go to the background once both ports answer")
    up.add_argument(
        "--guests", choices=("none", "qemu"), default="none", help="none: power states only; qemu: real ones"
    )
    up.add_argument("--https-port", type=int, help="default: one that stays the same for this home")
    up.add_argument("--http-port", type=int, help="default: one that stays the same for this home")
    verb("down", _down, "End every process of the lab, guests included.")
    status = verb("status", _status, "Say whether the lab runs, and where.")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    verb("env", _env, "Print `export NAME=VALUE` lines for az, the SDKs and holdfast.")
    verb("reset", _reset, "Throw all resources away; ids, secrets, certificates and ports stay.")
    verbs.add_parser("guest-image", help="Build the guest image once and cache it.", add_help=False)
    return parser


def _fail(text: str, code: int = 1) -> int:
    print(f"azurelab: {text}", file=sys.stderr)
    return code


# -- ports --------------------------------------------------------------------------------------------------------


def _ports(home: Path, https: int | None, http: int | None) -> tuple[int, int]:
    """Asked for, else as before, else derived from the home's path (20000 … 28191, below the ephemeral range)."""
    path = home / "ports.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    base = 20000 + 2 * (int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:2], "big") % 4096)
    return (
        https if https is not None else int(before.get("https", base)),
        http if http is not None else int(before.get("http", base + 1)),
    )


def _remember_ports(home: Path, https_url: str, http_url: str) -> None:
    ports = {"https": int(https_url.rsplit(":", 1)[1]), "http": int(http_url.rsplit(":", 1)[1])}
    (home / "ports.json").write_text(json.dumps(ports) + "\n")


# -- verbs --------------------------------------------------------------------------------------------------------


def _up(options: argparse.Namespace) -> int:
    home: Path = options.home
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    running = processes.read(home)
    if running is not None:
        if options.detach:
            print(f"azurelab runs on {home}: {running.https_url} {running.http_url}")
            return 0
        return _fail(f"a lab runs on {home} already (process {running.pid})")
    return _up_detached(options) if options.detach else _up_here(options)


def _up_detached(options: argparse.Namespace) -> int:
    home: Path = options.home
    command = [sys.executable, "-m", "azurelab.cli", "up", "--home", str(home), "--guests", options.guests]
    if options.https_port is not None:
        command += ["--https-port", str(options.https_port)]
    if options.http_port is not None:
        command += ["--http-port", str(options.http_port)]
    log = home / "azurelab.log"
    with log.open("ab") as out:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # The record is written when both ports answer.
        record = processes.read(home)
        if record is not None:
            print(f"azurelab runs on {home}: {record.https_url} {record.http_url}")
            return 0
        if child.poll() is not None:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
            return _fail(f"the lab did not start; the end of {log}:\n{tail}")
        time.sleep(0.02)
    processes.end(child.pid, timeout_s=5)
    return _fail(f"the lab did not answer within 60 s; see {log}")


def _up_here(options: argparse.Namespace) -> int:
    home: Path = options.home
    claimed = processes.claim(home)
    if claimed is None:
        return _fail(f"another process holds {home}")
    os.environ[processes.HOME_MARK] = str(home)
    from azurelab.app import Lab

    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    https, http = _ports(home, options.https_port, options.http_port)
    try:
        lab = Lab.start(home, options.guests, https_port=https, http_port=http)
    except OSError as exc:
        if options.https_port is not None or options.http_port is not None:
            return _fail(f"cannot listen on the ports {https} and {http}: {exc.strerror}")
        # The home's usual ports are taken by somebody else: take free ones and keep to them from now on.
        lab = Lab.start(home, options.guests)
    with lab:
        _remember_ports(home, lab.https_url, lab.http_url)
        ticks = processes.start_time(os.getpid())
        assert ticks is not None
        processes.write(home, processes.Record(os.getpid(), ticks, lab.https_url, lab.http_url, options.guests))
        print(f"azurelab runs on {home}: {lab.https_url} {lab.http_url} (guests: {options.guests})", flush=True)
        while not done.wait(3600):
            pass
        print("azurelab ends", flush=True)
    (home / "server.json").unlink(missing_ok=True)
    return 0


def _down(options: argparse.Namespace) -> int:
    home: Path = options.home
    record = processes.read(home)
    if record is not None:
        processes.end(record.pid, timeout_s=60)
    # What a killed server left behind: its guests and helpers.
    for pid in processes.of_home(home):
        processes.end(pid, timeout_s=5)
    (home / "server.json").unlink(missing_ok=True)
    print(f"azurelab on {home} is down")
    return 0


def _status(options: argparse.Namespace) -> int:
    home: Path = options.home
    record = processes.read(home)
    shown = {
        "home": str(home),
        "running": record is not None,
        "pid": record.pid if record else None,
        "https": record.https_url if record else None,
        "http": record.http_url if record else None,
        "guests": record.guests if record else None,
    }
    if options.json:
        print(json.dumps(shown))
    elif record is None:
        print(f"azurelab on {home} is not running")
    else:
        print(f"azurelab runs on {home}: {record.https_url} {record.http_url} (guests: {record.guests})")
    return 0 if record is not None else NOT_RUNNING


def _env(options: argparse.Namespace) -> int:
    """Also while the lab is down: its ports stay the same."""
    home: Path = options.home
    if not (home / "lab.json").exists():
        return _fail(
            f"there is no lab in {home}; start one with: azurelab up --home {shlex.quote(str(home))}", NOT_RUNNING
        )
    identity = json.loads((home / "lab.json").read_text())
    record = processes.read(home)
    if record is not None:
        https_url, http_url = record.https_url, record.http_url
    else:
        https, http = _ports(home, None, None)
        https_url, http_url = f"https://127.0.0.1:{https}", f"http://127.0.0.1:{http}"
    for name, value in {
        "AZURE_SUBSCRIPTION_ID": identity["subscription"],
        "AZURE_TENANT_ID": identity["tenant"],
        "AZURE_CLIENT_ID": identity["client_id"],
        "AZURE_CLIENT_SECRET": identity["client_secret"],
        "AZURE_AUTHORITY_HOST": https_url,
        "REQUESTS_CA_BUNDLE": str(home / "tls" / "ca-bundle.pem"),
        "AZURELAB_HOME": str(home),
        "AZURELAB_URL": https_url,
        "AZURELAB_HTTP_URL": http_url,
    }.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _reset(options: argparse.Namespace) -> int:
    """A lab that ran runs again afterwards, empty."""
    home: Path = options.home
    record = processes.read(home)
    _down(options)
    for entry in home.iterdir() if home.exists() else ():
        if entry.name in KEPT_BY_RESET:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    print(f"azurelab on {home} is empty")
    if record is None:
        return 0
    options.detach, options.guests, options.https_port, options.http_port = True, record.guests, None, None
    return _up(options)


if __name__ == "__main__":
    sys.exit(main())
