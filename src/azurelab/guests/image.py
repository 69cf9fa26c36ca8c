"""The guest image: a small real Linux, built once from the distribution's packages without root, and cached.

    python -m azurelab.guests.image        (or `azurelab guest-image`)

The cache holds, per recipe and set of packages, a raw disk that boots by BIOS (base layer of every OS disk), and kernel
and initrd (for the accelerator's probe). Nothing is shipped, so the guest's source is the distribution's.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azurelab.guests import bootloader, filesystem
from azurelab.guests.elf import libraries_for
from azurelab.guests.initrd import initrd
from azurelab.guests.packages import Apt, ImageError, unpack
from azurelab.guests.stage import Stage

__all__ = ["GuestImage", "ImageError", "cache_folder", "ensure", "find", "main", "missing_tools"]

LAND = Path(__file__).parent / "land"
RECIPE_SOURCES = ("packages", "elf", "modules", "cpio", "initrd", "stage", "filesystem", "bootloader", "image")
TOOLS = ("dbclient", "dropbearkey", "busybox", "mke2fs", "debugfs", "e2fsck")  # kept runnable beside the image
RUN_TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"}
BUILD_TOOLS = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"}


@dataclass(frozen=True)
class GuestImage:
    """One built image. `disk` is a raw file, sparse, read-only to everybody; `tools` a Stage with TOOLS."""

    folder: Path
    key: str

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def tools(self) -> Stage:
        return Stage(self.folder / "tools")


def cache_folder() -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/azurelab, shared by all homes of a user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azurelab"


def recipe() -> str:
    """Names the recipe: a digest of the files that decide the image's bytes."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for path in [*(here / f"{name}.py" for name in RECIPE_SOURCES), *sorted(p for p in LAND.iterdir() if p.is_file())]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def missing_tools(*, to_build: bool = True) -> list[str]:
    """Packages that this machine lacks to run guests (and, with `to_build`, to build the image); empty: it has all."""
    tools = {**RUN_TOOLS, **BUILD_TOOLS} if to_build else RUN_TOOLS
    return sorted({package for tool, package in tools.items() if shutil.which(tool) is None})


def _remedy(missing: Sequence[str]) -> str:
    return (
        f"Real guests need packages that this machine lacks: {', '.join(missing)}. Ask somebody who may install:\n"
        f"    sudo apt-get update && sudo apt-get install -y --no-install-recommends {' '.join(missing)}"
    )


def find(cache: Path | None = None) -> GuestImage | None:
    """The newest image of this recipe in the cache; None where none was built."""
    cache = cache or cache_folder()
    pointer = cache / f"guest-{recipe()}.json"
    if not pointer.exists():
        return None
    key = str(json.loads(pointer.read_text())["key"])
    image = GuestImage(cache / f"guest-{key}", key)
    return image if all(p.exists() for p in (image.disk, image.kernel, image.initrd)) else None


def ensure(cache: Path | None = None, say: Callable[[str], None] = print, *, refresh: bool = False) -> GuestImage:
    """The image, built if the cache has none (with `refresh`: if the packages have changed). ImageError."""
    cache = cache or cache_folder()
    if missing := missing_tools(to_build=refresh or find(cache) is None):
        raise ImageError(_remedy(missing))
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "guest.lock"):
        if not refresh and (found := find(cache)):
            return found
        if platform.machine() != "x86_64":
            raise ImageError(f"the guest image needs an x86-64 machine; this one is {platform.machine()}.")
        apt = Apt(cache / "apt", say)
        files = apt.resolve()
        key = hashlib.sha256("\n".join([recipe(), *sorted(files.values())]).encode()).hexdigest()[:16]
        image = GuestImage(cache / f"guest-{key}", key)
        if not image.disk.exists():
            packages = apt.download(files, cache / "packages")
            _build(image, packages, cache, say)
        pointer = cache / f"guest-{recipe()}.json"
        pointer.with_suffix(".new").write_text(json.dumps({"key": key}))
        pointer.with_suffix(".new").replace(pointer)
        return image


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One build at a time per cache; the second finds the first one's result."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wanted(path: str) -> bool:
    return path.startswith(("usr/lib/", "usr/bin/", "usr/sbin/", "boot/vmlinuz")) and "/gconv/" not in path


def _build(image: GuestImage, packages: Sequence[Path], cache: Path, say: Callable[[str], None]) -> None:
    """Unpack, lay out, make file system and boot loader in a temporary folder that becomes the image's at the end."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as name:
        work = Path(name)
        say(f"unpacking {len(packages)} packages")
        stage = Stage(work / "stage")
        for package in packages:
            unpack(package, stage.root, _wanted)
        kernel = next((stage.root / "boot").glob("vmlinuz-*"))
        result = work / "result"
        result.mkdir()

        say("making initrd, file system and boot loader")
        tree = stage.root / "usr/lib/modules" / kernel.name.removeprefix("vmlinuz-")
        try:
            first = initrd(stage.program("busybox").read_bytes(), tree, LAND)
            filesystem.lay_out(stage, work / "root", LAND)
        except (KeyError, FileNotFoundError) as gap:
            raise ImageError(f"the distribution's packages do not fit the recipe: {gap}") from gap
        filesystem.ext4(stage, work / "root", work / "partition", work)
        bootloader.assemble(LAND, kernel.read_bytes(), first, work / "partition", result / "disk.raw")

        shutil.copyfile(kernel, result / "vmlinuz")
        (result / "initrd").write_bytes(first)
        programs = [stage.program(tool) for tool in TOOLS]
        stage.keep_only(result / "tools", TOOLS, libraries_for(programs, stage.libraries))
        manifest = {
            "recipe": recipe(),
            "packages": sorted(package.name for package in packages),
            "sha256": {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest()
                for path in (result / "disk.raw", result / "vmlinuz", result / "initrd")
            },
        }
        (result / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        (result / "disk.raw").chmod(0o444)
        if image.folder.exists():  # incomplete: somebody deleted files
            shutil.rmtree(image.folder)
        result.rename(image.folder)
    say(f"guest image {image.key} built in {time.monotonic() - began:.1f} s: {image.folder}")


def main(argv: Sequence[str] | None = None) -> int:
    """`azurelab guest-image`: 0 when the image is there; 3 with the command a person should run when tools lack."""
    parser = argparse.ArgumentParser(
        prog="azurelab guest-image", description="Build the guest image once and cache it."
    )
    parser.add_argument("--cache", type=Path, help="folder of the cache (default: ~/.cache/azurelab)")
    parser.add_argument("--refresh", action="store_true", help="look for newer packages even if an image is cached")
    parser.add_argument("--json", action="store_true", help="print the image's files as JSON")
    options = parser.parse_args(argv)
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr if options.json else sys.stdout, flush=True)  # noqa: E731
    if missing := missing_tools(to_build=find(options.cache) is None):
        say(_remedy(missing))
        return 3
    try:
        image = ensure(options.cache, say, refresh=options.refresh)
    except (ImageError, subprocess.SubprocessError, OSError) as error:
        say(f"The guest image cannot be built: {error}")
        return 1
    if options.json:
        print(
            json.dumps(
                {"key": image.key, "disk": str(image.disk), "kernel": str(image.kernel), "initrd": str(image.initrd)}
            )
        )
    else:
        say(f"guest image: {image.disk}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
