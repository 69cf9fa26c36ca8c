"""Recorded traffic of real clients and real Azure, replayed: status, long-running-operation headers, key paths.

What differs must stand in EXCEPTIONS with its reason, and an exception that no longer happens fails, too. Run as a
program, this file prints the differences of the files that match its argument.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from azurelab.app import RECORDED_SUBSCRIPTION, Lab
from azurelab.resources.groups import make_group

sys.path.insert(0, str(Path(__file__).parent))
from recordings import FOLDER, Difference, Pair, Replay, files, pairs

# Resource types and endpoints that azurelab does not serve (yet); their pairs are not replayed.
_NOT_SERVED = re.compile(
    r"/(Microsoft\.KeyVault|Microsoft\.Authorization/role)|/galleries|capsOperations|/logAnalytics/|/diskAccesses"
    r"|/diskEncryptionSets|/capacityReservation|/restorePoint|/dedicatedHost|/virtualMachineScaleSets"
    r"|/hostGroups|/sshPublicKeys",
    re.IGNORECASE,
)
_GROUP = re.compile(r"/resourcegroups/([^/?]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Exception_:  # noqa: N801  `Exception` is taken
    """A difference that stays. `where` is searched in '<file> <METHOD> <path>', `text` in what differs."""

    where: str
    kind: str
    text: str
    reason: str


EXCEPTIONS: tuple[Exception_, ...] = (
    Exception_(
        r"app_gateway_with_defaults GET .*/resources$", "keys|status", "nextLink|InvalidSkipToken",
        "a page token of real Azure means nothing here; ours fits on one page",
    ),
    Exception_(
        r"app_gateway_with_defaults GET .*/applicationGateways/ag1$", "status", "200 instead of 404",
        "recorded between the deployment's acceptance and its end; the replay sees operations through first",
    ),
    Exception_(
        r"test_network_nic GET .*/Microsoft.Network/networkInterfaces$", "keys", "macAddress",
        "the recorded subscription held other people's cards",
    ),
    Exception_(
        r"test_compute_vm GET .*/virtualMachines$", "keys", "diagnosticsProfile",
        "the recorded subscription held other people's machines",
    ),
    Exception_(
        r"test_gallery_e2e GET .*/(resources|mock-deployment|vmFromImage(VMNic|PublicIP)?)$", "keys|status",
        "value|outputResources|404 instead of 200|virtualMachine|ipAddress",
        "a machine from a gallery image, and a key vault: galleries and vaults are not served",
    ),
    Exception_(
        r"compute-4.6.2/.*test_md_from_storage_blob (PUT|GET) ", "status", "400 instead of 202|404 instead of 200",
        "the recorded source blob lay in a storage account; the same request was refused with 400 in later recordings",
    ),
)  # fmt: skip


def _replay(file: Path, home: Path) -> tuple[Replay, list[str]]:
    recorded = list(pairs(file))
    made = {
        m.group(1).lower()
        for p in recorded
        if p.method == "PUT" and (m := re.search(_GROUP.pattern + r"\?", p.url, re.I))
    }
    groups: dict[str, str] = {}
    for p in recorded:
        if m := _GROUP.search(p.url):
            groups.setdefault(m.group(1).lower(), m.group(1))
    with Lab.start(home) as lab, httpx.Client(timeout=60) as client:
        for key, name in groups.items():
            missing_on_purpose = any(
                p.status == 404 and isinstance(p.answer, dict) and p.answer["error"]["code"] == "ResourceGroupNotFound"
                for p in recorded
                if f"/{key}/" in p.url.lower()
            )
            if key not in made and not missing_on_purpose:
                make_group(
                    lab,
                    RECORDED_SUBSCRIPTION,
                    name,
                    "westus",
                    {"product": "azurecli", "cause": "automation", "date": "x"},
                )
        replay = Replay(client, lab.http_url, file)
        replay.run(_served)
        return replay, list(lab.bugs)


def _served(pair: Pair) -> bool:
    return not _NOT_SERVED.search(pair.path)


def _allowed(difference: Difference) -> Exception_ | None:
    where = f"{difference.file} {difference.pair.method} {difference.pair.path}"
    for e in EXCEPTIONS:
        if re.search(e.where, where) and re.search(e.kind, difference.kind) and re.search(e.text, difference.text):
            return e
    return None


def _file_of(exception: Exception_, name: str) -> bool:
    """Whether the exception names this file alone (those of several files may be absent in some)."""
    return bool(re.search(exception.where.split(" ")[0], name)) and "test_compute_vm" not in exception.where


def _all() -> list[Path]:
    return files() if FOLDER.is_dir() else []


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings are not on this machine (HOLDFAST_SHARED)")
def test_recordings_are_there_and_some_pairs_are_compared(tmp_path: Path) -> None:
    replay, _ = _replay(FOLDER / "azcli-2021-01-network" / "test_network_public_ip.yaml.gz", tmp_path)

    assert replay.compared > 15


@pytest.mark.parametrize("file", _all(), ids=lambda f: str(f.relative_to(FOLDER)).removesuffix(".yaml.gz"))
def test_recording_is_answered_as_azure_did(file: Path, tmp_path: Path) -> None:
    replay, bugs = _replay(file, tmp_path)

    stale = [
        e for e in EXCEPTIONS if _file_of(e, replay.name) and not any(_allowed(d) is e for d in replay.differences)
    ]
    unexplained = [str(d) for d in replay.differences if _allowed(d) is None]
    assert not unexplained, "\n".join(unexplained)
    assert not stale, "no longer differs: " + "; ".join(e.where for e in stale)
    assert bugs == []


if __name__ == "__main__":
    for found in files():
        if re.search(sys.argv[1] if len(sys.argv) > 1 else ".", str(found)):
            outcome, troubles = _replay(found, Path(tempfile.mkdtemp()))
            for d in outcome.differences:
                print(("known  " if _allowed(d) else "DIFFERS ") + str(d)[:420])
            for trouble in troubles:
                print("BUG", trouble[-1200:])
