"""Down from and up to azurelab's data plane: our CLI against azure-storage-blob at its best concurrency."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import Contender, Outcome, compare

MIB = 1 << 20
SIZE = 256 * MIB

SERVER = """
import asyncio, sys, time, uvicorn, os
from pathlib import Path
from azurelab.disks.blob.grants import Grants
from azurelab.disks.blob.page_blob import UploadFooters
from azurelab.disks.blob.routes import DataPlane
from azurelab.disks.store import DiskStore
folder, port, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store = DiskStore(folder, now=time.time)
grants, footers = Grants(store.catalogue, time.time), UploadFooters(store.catalogue)
disk = store.create("d", size)
for at in range(0, size, 4 << 20):
    disk.write(at, os.urandom(4 << 20))
store.snapshot("d", "s")
store.create("u", size)
for volume, access in (("s", "Read"), ("u", "Write")):
    grant = grants.open(volume, access, 36000, family=None, taken_at=time.time())
    print(f"http://127.0.0.1:{port}/{grant.path_and_query}", flush=True)
config = uvicorn.Config(DataPlane(store, grants, footers), port=port, log_config=None, lifespan="off", ws="none")
uvicorn.Server(config).run()
"""

DOWN = """
import sys
from azure.storage.blob import BlobClient
with open(sys.argv[2], "wb") as file:
    BlobClient.from_blob_url(sys.argv[1], max_single_get_size=4<<20, max_chunk_get_size=4<<20).download_blob(
        max_concurrency=int(sys.argv[3])).readinto(file)
"""

UP = """
import sys
from concurrent.futures import ThreadPoolExecutor
from azure.storage.blob import BlobClient
blob = BlobClient.from_blob_url(sys.argv[1])
def put(at):
    with open(sys.argv[2], "rb") as file:
        file.seek(at)
        data = file.read(4 << 20)
    blob.upload_page(data, offset=at, length=len(data))
with ThreadPoolExecutor(int(sys.argv[3])) as pool:
    list(pool.map(put, range(0, int(sys.argv[4]), 4 << 20)))
"""


def measure(folder: Path, holdfast: str, rounds: int) -> dict[str, object]:
    work = Path(tempfile.mkdtemp(prefix="azure-", dir=folder))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(work / "home"), str(port), str(SIZE)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        read_url, write_url = server.stdout.readline().strip(), server.stdout.readline().strip()
        (work / "down.py").write_text(DOWN)
        (work / "up.py").write_text(UP)
        subprocess.run(["bash", "-c", f"head -c {SIZE} /dev/urandom > {work}/u.raw"], check=True)
        t = work / "t.raw"

        def fresh() -> None:
            t.unlink(missing_ok=True)

        down = [Contender("holdfast down", f"{holdfast} copy '{read_url}' {t}", fresh)]
        up = [Contender("holdfast up", f"{holdfast} copy {work}/u.raw '{write_url}' --overwrite")]
        for lanes in (2, 4, 8, 16):
            script = f"{sys.executable} {work}/down.py '{read_url}' {t} {lanes}"
            down.append(Contender(f"azure-storage-blob down, {lanes}", script, fresh))
            script = f"{sys.executable} {work}/up.py '{write_url}' {work}/u.raw {lanes} {SIZE}"
            up.append(Contender(f"azure-storage-blob up, {lanes}", script))
        found = compare(down, rounds) | compare(up, rounds)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(work, ignore_errors=True)
    return {
        "outcomes": found,
        "down, times the best peer's rate": _rate(found, "holdfast down", "down"),
        "up, times the best peer's rate": _rate(found, "holdfast up", "up"),
    }


def _rate(found: dict[str, Outcome], ours: str, way: str) -> float:
    peers = [o for name, o in found.items() if name.startswith("azure") and f" {way}," in name]
    best = min(peers, key=lambda o: o.median_s)
    return round(1 / found[ours].ratio_to(best), 2)
