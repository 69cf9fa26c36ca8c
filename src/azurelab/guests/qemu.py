"""The hypervisor with real guests: QEMU, one process per machine, that outlives azurelab and is found again.

Nothing here needs privileges. See docs/guests.md for what the guest does and what this way of networking cannot do.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from azurelab.guests import image as images
from azurelab.guests import relay
from azurelab.guests.accelerator import Accelerator, choose
from azurelab.guests.command import Paths, command_line
from azurelab.guests.events import ScheduledEvents
from azurelab.guests.guest import Guest
from azurelab.guests.hypervisor import Agent, BootFailed, DiskAttachment, GuestBusy, GuestSpec, Power
from azurelab.guests.metadata import Request, Response, respond
from azurelab.guests.metadata_server import MetadataServer
from azurelab.guests.process import Process, find_by_word, spawn
from azurelab.guests.qmp import QmpClosed, QmpError

__all__ = ["QemuGuests"]

_log = logging.getLogger(__name__)

STEP_S = 0.15  # how soon a port opened in a guest is forwarded
BOOT_SLOT_S = 90.0  # a guest that is not ready by then lets the next one boot
QMP_COMES_WITHIN_S = 30.0
REBOOT_S = 20.0
LONGEST_SOCKET_PATH = 107


class QemuGuests:
    """Real guests of one home. `home` holds a folder per guest with console, QEMU's words and sockets."""

    def __init__(
        self,
        home: Path,
        cache: Path | None = None,
        *,
        boots_at_once: int | None = None,
        qemu: str = "qemu-system-x86_64",
    ) -> None:
        self.folder = home.resolve() / "guests"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.sockets = _socket_folder(self.folder)
        self.qemu = qemu
        self._cache = cache or images.cache_folder()
        self._lock = threading.Lock()
        self._guests: dict[str, Guest] = {}
        self._listeners: list[Callable[[str, Power], None]] = []
        self._accelerator: Accelerator | None = None
        self._choosing = threading.Lock()
        # more boots than cores make all of them late; one after the other each is as fast as alone
        self._slots = threading.Semaphore(boots_at_once or os.cpu_count() or 1)
        self._holding: dict[Guest, float] = {}
        self._metadata = MetadataServer()
        self._closing = threading.Event()
        self._stepper = threading.Thread(target=self._step, name="guests", daemon=True)
        self._stepper.start()

    @property
    def accelerator(self) -> Accelerator:
        """What guests run with; decided (by a probe boot where needed) when first asked."""
        with self._choosing:
            if self._accelerator is None:
                self._accelerator = choose(self._cache, self._image, self.qemu)
                _log.info("guests run with %s: %s", self._accelerator.name, self._accelerator.reason)
            return self._accelerator

    def _image(self) -> images.GuestImage:
        return images.ensure(self._cache, _log.info)

    # -- life of a guest ----------------------------------------------------------------------------------------

    def start(self, spec: GuestSpec) -> None:
        running = self._find(spec.key)
        if running is not None:
            self.readdress(spec)
            return
        accelerator = self.accelerator
        paths = self._paths(spec.key)
        self._slots.acquire()
        try:
            guest = self._boot(spec, paths, accelerator)
        except BaseException:
            self._slots.release()
            raise
        with self._lock:
            self._guests[spec.key] = guest
            self._holding[guest] = time.monotonic() + BOOT_SLOT_S
        if not guest.process.alive():
            self._ended(guest)

    def _boot(self, spec: GuestSpec, paths: Paths, accelerator: Accelerator) -> Guest:
        left_over = find_by_word(_qmp_word(paths)).values()
        for process in left_over:  # started by an azurelab that died before it could note it
            process.kill()
            process.wait(30)
        for folder in (paths.folder, paths.sockets):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in (paths.qmp, paths.agent, paths.console, paths.report, paths.log, paths.custom_data):
            stale.unlink(missing_ok=True)
        if spec.custom_data is not None:
            paths.custom_data.write_bytes(spec.custom_data)
        events = ScheduledEvents(paths.events)
        events.clear()
        helper = [sys.executable, "-I", "-S", str(Path(relay.__file__).resolve())]
        words = command_line(spec, paths, accelerator.words(), helper, self.qemu)
        try:
            process = spawn(words, paths.log)
        except OSError as error:
            raise BootFailed(f"QEMU cannot be started: {error}") from error
        try:
            guest = Guest(spec, paths, process, events, self._ended, qmp_timeout_s=QMP_COMES_WITHIN_S)
        except (QmpClosed, QmpError) as error:
            process.kill()
            process.wait(30)
            said = paths.log.read_text(errors="replace").strip()[-600:]
            raise BootFailed(f"QEMU did not start: {said or error}") from error
        self._metadata.serve(paths.metadata, lambda request: self._answer(guest, request))
        return guest

    def _answer(self, guest: Guest, request: Request) -> Response:
        return respond(request, guest.spec, guest.events)

    def stop(self, key: str, *, graceful: bool, timeout_s: float = 60) -> None:
        guest = self._find(key)
        if guest is None:
            return
        guest.stop(graceful=graceful, timeout_s=timeout_s)
        self._forget(guest)

    def restart(self, key: str) -> None:
        guest = self._find(key)
        if guest is None:
            raise BootFailed("the machine is off")
        try:
            guest.restart(REBOOT_S)
        except (QmpClosed, QmpError) as error:
            raise BootFailed(f"QEMU ended during the restart: {error}") from error

    def remove(self, key: str) -> None:
        self.stop(key, graceful=False)
        paths = self._paths(key)
        for folder in {paths.folder, paths.sockets}:
            shutil.rmtree(folder, ignore_errors=True)

    # -- looking at a guest -------------------------------------------------------------------------------------

    def power(self, key: str) -> Power:
        guest = self._find(key)
        return Power.RUNNING if guest is not None and guest.process.alive() else Power.OFF

    def agent(self, key: str) -> Agent:
        guest = self._find(key)
        return Agent.ABSENT if guest is None else guest.agent_state()

    def console(self, key: str) -> bytes:
        try:
            return self._paths(key).console.read_bytes()
        except FileNotFoundError:
            return b""

    def listening(self, key: str) -> tuple[int, ...]:
        """TCP ports that the guest says it listens on; empty while it boots or is off."""
        guest = self._find(key)
        return () if guest is None else guest.listening

    def complaints(self, key: str) -> list[str]:
        """Forwards that this host refused, in words."""
        guest = self._find(key)
        return [] if guest is None else list(guest.complaints)

    # -- changing a running guest -------------------------------------------------------------------------------

    def attach(self, key: str, disk: DiskAttachment) -> None:
        guest = self._find(key)
        if guest is not None:
            with self._unless_off(guest):
                guest.attach(disk)

    def detach(self, key: str, lun: int) -> None:
        guest = self._find(key)
        if guest is not None:
            with self._unless_off(guest):
                guest.detach(lun)

    @contextlib.contextmanager
    def _unless_off(self, guest: Guest):  # type: ignore[no-untyped-def]
        """A guest that ends meanwhile needs nothing; a refusal of QEMU is GuestBusy."""
        try:
            yield
        except QmpClosed:
            if guest.process.wait(QMP_COMES_WITHIN_S):
                return
            raise GuestBusy("QEMU does not answer") from None
        except QmpError as error:
            raise GuestBusy(str(error)) from error

    def readdress(self, spec: GuestSpec) -> None:
        guest = self._find(spec.key)
        if guest is not None:
            guest.readdress(spec)

    def notify_preempt(self, key: str, not_before_s: float) -> None:
        guest = self._find(key)
        if guest is not None:
            guest.events.preempt(str(guest.spec.compute.get("name", "")), not_before_s)

    # -- all guests ---------------------------------------------------------------------------------------------

    def adopt(self, specs: Mapping[str, GuestSpec]) -> None:
        folders = {self._paths(key).folder.name: key for key in specs}
        for word, process in find_by_word(f"unix:{self.sockets}{os.sep}".replace(",", ",,")).items():
            name = Path(word.removeprefix("unix:").split(",server=")[0].replace(",,", ",")).parent.name
            key = folders.get(name)
            if key is not None and self._find(key) is not None:
                continue
            if key is None or not self._take_over(specs[key], process):
                process.kill()
                process.wait(30)
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name not in folders:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.rmtree(self.sockets / folder.name, ignore_errors=True)

    def _take_over(self, spec: GuestSpec, process: Process) -> bool:
        """False when QEMU does not answer: nothing could control it."""
        paths = self._paths(spec.key)
        try:
            guest = Guest(
                spec, paths, process, ScheduledEvents(paths.events), self._ended, qmp_timeout_s=QMP_COMES_WITHIN_S
            )
        except (QmpClosed, QmpError):
            _log.warning("guest %s does not answer after a restart of azurelab and is ended", spec.key)
            return False
        self._metadata.serve(paths.metadata, lambda request: self._answer(guest, request))
        with self._lock:
            self._guests[spec.key] = guest
        return True

    def on_power_change(self, listener: Callable[[str, Power], None]) -> None:
        self._listeners.append(listener)

    def close(self, *, stop_guests: bool) -> None:
        self._closing.set()
        self._stepper.join()
        for guest in list(self._guests.values()):
            if stop_guests:
                self.stop(guest.spec.key, graceful=False)
            else:
                guest.qmp.close()
        if stop_guests:  # those that were never adopted, too
            for process in find_by_word(f"unix:{self.sockets}{os.sep}".replace(",", ",,")).values():
                process.kill()
                process.wait(30)
        self._metadata.close()

    # -- threads ------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        while not self._closing.wait(STEP_S):
            with self._lock:
                guests = list(self._guests.values())
            for guest in guests:
                try:
                    guest.step()
                except Exception:  # noqa: BLE001 - one guest's trouble must not stop the others' forwards
                    _log.exception("guest %s", guest.spec.key)
            now = time.monotonic()
            with self._lock:
                done = [g for g, until in self._holding.items() if g.ready or now > until or not g.process.alive()]
                for guest in done:
                    del self._holding[guest]
                    self._slots.release()

    def _ended(self, guest: Guest) -> None:
        """QEMU closed its socket: the guest powered off, crashed, or was killed. Runs in the QMP reader's thread."""
        if not guest.process.wait(QMP_COMES_WITHIN_S):
            guest.process.kill()
            guest.process.wait(QMP_COMES_WITHIN_S)
        if guest.stopping:
            return  # `stop` tidies up and its caller knows
        if self._forget(guest):
            for listener in self._listeners:
                listener(guest.spec.key, Power.OFF)

    def _forget(self, guest: Guest) -> bool:
        with self._lock:
            known = self._guests.get(guest.spec.key) is guest
            if known:
                del self._guests[guest.spec.key]
        if known:
            self._metadata.withdraw(guest.paths.metadata)
            guest.events.clear()
        return known

    def _find(self, key: str) -> Guest | None:
        with self._lock:
            return self._guests.get(key)

    def _paths(self, key: str) -> Paths:
        name = hashlib.sha256(key.encode()).hexdigest()[:12]
        return Paths(self.folder / name, self.sockets / name)


def _qmp_word(paths: Paths) -> str:
    """The argument by which a guest's QEMU is recognised in the process list."""
    return f"unix:{paths.qmp}".replace(",", ",,")


def _socket_folder(folder: Path) -> Path:
    """Where guests' sockets lie: beside their files, or in a short private folder when the home's path is too long."""
    if len(os.fsencode(folder / "123456789012" / "imds")) <= LONGEST_SOCKET_PATH:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    short = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"azurelab-{os.getuid()}-{digest}"
    if len(os.fsencode(short / "123456789012" / "imds")) > LONGEST_SOCKET_PATH:
        short = Path("/tmp") / short.name
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid() or short.stat().st_mode & 0o077:
        raise PermissionError(f"{short} belongs to somebody else; guests' sockets cannot lie there")
    return short
