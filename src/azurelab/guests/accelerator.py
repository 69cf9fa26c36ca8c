"""Which accelerator guests get: KVM where a guest truly boots with it, TCG (emulation) otherwise.

/dev/kvm alone says little: inside some virtual machines QEMU aborts with it, or the guest falls silent. So the guest's
kernel and initrd are booted once with KVM and must print their line. The verdict is cached by boot of the host, version
of QEMU and image.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from azurelab.guests.bootloader import CMDLINE
from azurelab.guests.command import TRANSLATION_CACHE_MIB
from azurelab.guests.image import GuestImage

__all__ = ["Accelerator", "choose", "qemu_version"]

PROBE_S = 10.0  # a KVM guest prints its line within one second
MARK = b"azurelab-probe-ok"


@dataclass(frozen=True)
class Accelerator:
    """`name` is kvm or tcg; `reason` tells a person why."""

    name: str
    reason: str

    def words(self) -> list[str]:
        if self.name == "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        # qemu64 has the fewest features to set up: 0.2 to 0.6 s less than max
        return ["-accel", f"tcg,thread=multi,tb-size={TRANSLATION_CACHE_MIB}", "-cpu", "qemu64"]


def qemu_version(qemu: str = "qemu-system-x86_64") -> str:
    done = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def choose(cache: Path, image: Callable[[], GuestImage], qemu: str = "qemu-system-x86_64") -> Accelerator:
    """The verdict for this machine; `image` is asked for only when a probe boot is needed."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Accelerator("tcg", "this user cannot open /dev/kvm: guests are emulated")
    probed = image()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = f"{boot} {qemu_version(qemu)} {probed.key} {os.getuid()}"
    file = cache / "accelerator.json"
    if file.exists():
        kept = json.loads(file.read_text())
        if kept["key"] == key:
            return Accelerator(kept["name"], kept["reason"])
    verdict = _probe(probed, qemu)
    new = file.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps({"key": key, "name": verdict.name, "reason": verdict.reason}))
    new.replace(file)
    return verdict


def _probe(image: GuestImage, qemu: str) -> Accelerator:
    words = [qemu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "96"]
    words += [*Accelerator("kvm", "").words(), "-serial", "stdio", "-kernel", str(image.kernel)]
    words += ["-initrd", str(image.initrd), "-append", f"{CMDLINE} azurelab.probe"]
    began = time.monotonic()
    qemu_program = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        printed, complaint = qemu_program.communicate(timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        qemu_program.kill()
        printed, complaint = qemu_program.communicate()
        if MARK not in printed:
            return Accelerator("tcg", f"a guest with KVM stayed silent for {PROBE_S:.0f} s: guests are emulated")
    if MARK in printed:
        return Accelerator("kvm", f"a guest booted with KVM in {time.monotonic() - began:.1f} s")
    words_of_qemu = complaint.decode(errors="replace").strip().splitlines()
    return Accelerator("tcg", f"QEMU ends with KVM ({words_of_qemu[0] if words_of_qemu else 'no message'}): emulated")
