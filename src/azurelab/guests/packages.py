"""The guest's packages: which ones, fetched with apt as any user, unpacked without installing anything.

Nothing names a release: one recursive dependency listing of four package names gives libraries and tools on Debian 12,
13 and (written for, not tried) Ubuntu 24.04. The system's apt lists are used where they are filled, else lists of our
own in the cache; the system's apt state is never written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

__all__ = ["Apt", "ImageError", "closure", "kernel_package", "parse_depends", "unpack"]

WANTED = ("qemu-guest-agent", "dropbear-bin", "busybox-static", "e2fsprogs")
KERNEL = "linux-image-cloud-amd64"
KERNEL_UBUNTU = "linux-image-virtual"  # Ubuntu's small kernel; written for, not tried

LIBRARY = re.compile(r"^(lib|zlib1g)")
NOT_LIBRARY = re.compile(r"-perl$|^libperl|-bin$|-common$")


class ImageError(Exception):
    """The guest image cannot be built; the text says what is missing and what to run."""


def parse_depends(listing: str) -> dict[str, list[str]]:
    """`apt-cache depends --recurse` as package → names it depends on, alternatives included, in order."""
    found: dict[str, list[str]] = {}
    package = ""
    for line in listing.splitlines():
        if line and not line[0].isspace():
            package = line.strip()
            found.setdefault(package, [])
            continue
        kind, _, name = line.strip().lstrip("|").partition(": ")
        if kind in ("Depends", "PreDepends") and not name.startswith("<"):
            found[package].append(name)
    return found


def closure(depends: Mapping[str, Sequence[str]], wanted: Sequence[str] = WANTED) -> list[str]:
    """The wanted packages and every library package that they need, sorted."""
    found: set[str] = set()
    todo = list(wanted)
    while todo:
        package = todo.pop()
        if package in found:
            continue
        found.add(package)
        for name in depends.get(package, ()):
            if LIBRARY.match(name) and not NOT_LIBRARY.search(name) and name in depends:
                todo.append(name)
    return sorted(found)


def kernel_package(show: str) -> str:
    """The real kernel package that a kernel meta package (its `apt-cache show`) depends on, the newest first."""
    found = re.search(r"^Depends: .*?(linux-image-[^\s,]+)", show, re.MULTILINE)
    if found is None:
        raise ImageError("apt knows no kernel package for cloud guests (linux-image-cloud-amd64).")
    return found.group(1)


class Apt:
    """apt as an ordinary user: reads the system's lists, or fills lists of its own under `folder`."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.say = say
        self.own_lists = False

    def resolve(self) -> dict[str, str]:
        """Every package that the guest needs, name → the file name that apt would download."""
        for tool in ("apt-get", "apt-cache", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise ImageError(f"{tool} is missing: the guest image is built from Debian or Ubuntu packages.")
        if not self._knows_all():
            self._use_own_lists()
        depends = parse_depends(self._run("apt-cache", "depends", "--recurse", "--important", *WANTED))
        kernel = KERNEL if self._knows(KERNEL) else KERNEL_UBUNTU
        image = kernel_package(self._run("apt-cache", "show", "--no-all-versions", kernel))
        names = [*closure(depends), image]
        modules = image.replace("linux-image-", "linux-modules-", 1)
        if self._knows(modules):  # Ubuntu keeps the modules in a package of their own
            names.append(modules)
        return self._file_names(names)

    def download(self, files: Mapping[str, str], into: Path) -> list[Path]:
        """The package files in `into`, those already there kept; one retry with fresh lists of our own."""
        into.mkdir(parents=True, exist_ok=True)
        missing = [name for name, file in files.items() if not (into / file).exists()]
        if missing:
            self.say(f"downloading {len(missing)} packages (nothing is installed)")
            try:
                self._run("apt-get", "download", "-qq", *missing, cwd=into)
            except ImageError:
                if self.own_lists:
                    raise
                self.say("the system's package lists are out of date; reading fresh ones")
                self._use_own_lists()
                return self.download(self._file_names(list(files)), into)
        return [into / file for file in files.values()]

    def _file_names(self, names: Sequence[str]) -> dict[str, str]:
        """apt-get's own names of the files: version and architecture included, `:` as `%3a`."""
        files = {}
        for line in self._run("apt-get", "download", "--print-uris", "-qq", *names).splitlines():
            file = line.rsplit("' ", 1)[-1].split()[0]
            files[file.split("_", 1)[0]] = file
        lost = sorted(set(names) - set(files))
        if lost:
            raise ImageError(f"apt offers no file for: {', '.join(lost)}.")
        return dict(sorted(files.items()))

    def _knows(self, name: str) -> bool:
        return bool(re.search(r"^Package: ", self._run("apt-cache", "show", name, check=False), re.MULTILINE))

    def _knows_all(self) -> bool:
        return all(self._knows(name) for name in WANTED) and (self._knows(KERNEL) or self._knows(KERNEL_UBUNTU))

    def _use_own_lists(self) -> None:
        self.own_lists = True
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "apt.conf").write_text(
            f'Dir::State "{self.folder}"; Dir::State::status "/var/lib/dpkg/status";'
            f' Dir::Cache "{self.folder}/cache"; APT::Sandbox::User "";\n'
        )
        self.say("reading the distribution's package lists")
        self._run("apt-get", "update", "-qq")

    def _run(self, *command: str, check: bool = True, cwd: Path | None = None) -> str:
        environment = dict(os.environ, LC_ALL="C")
        if self.own_lists:
            environment["APT_CONFIG"] = str(self.folder / "apt.conf")
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)
        if check and done.returncode != 0:
            raise ImageError(f"`{' '.join(command)[:200]}` failed: {done.stderr.strip()[-800:]}")
        return done.stdout


def unpack(package: Path, into: Path, keep: Callable[[str], bool]) -> None:
    """Lay the files of one package that `keep(path)` wants under `into`, in the merged-/usr layout of today."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        with tarfile.open(fileobj=tar.stdout, mode="r|") as members:
            for member in members:
                path = re.sub(r"^(lib|lib64|bin|sbin)/", r"usr/\1/", member.name.removeprefix("./"))
                if ".." in PurePosixPath(path).parts or not keep(path):
                    continue
                target = into / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if member.issym():
                    target.unlink(missing_ok=True)
                    target.symlink_to(member.linkname)
                elif member.isfile():
                    source = members.extractfile(member)
                    assert source is not None
                    target.unlink(missing_ok=True)
                    with target.open("wb") as out:
                        shutil.copyfileobj(source, out)
                    target.chmod(0o755 if member.mode & 0o111 else 0o644)
        if tar.wait() != 0:
            raise ImageError(f"{package.name} cannot be unpacked; delete it and run this again.")
