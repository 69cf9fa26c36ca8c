"""One worker process of the soak: `soak_worker.py URL SCHEDULER_URL CLOUD_PORT CLOCK_FILE LEASE_S ALONE`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from soak_cloud import CloudClient
from soak_stories import REGISTRY

from holdfast.core.clock import FileClock
from holdfast.engine import DbosEngine, Settings
from holdfast.store import Database


def soak_settings(lease_s: float) -> Settings:
    return Settings(
        lease_s=lease_s,
        tick_s=0.3,
        queue_poll_s=0.1,
        doubt_s=1.0,
        now_tries=12,
        later_tries=12,
        later_pause_s=0.1,
        longest_pause_s=0.5,
        forward_pause_s=0.5,
        longest_forward_pause_s=2.0,
        forward_tries=50,
        crash_loop=50,
        drain_s=3.0,
    )


def main() -> None:
    url, scheduler_url, port, clock_file, lease_s, alone = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(message)s")
    settings = soak_settings(float(lease_s))
    database = Database.open(url, idle_in_transaction_s=settings.lease_s, busy_timeout_s=10)
    engine = DbosEngine(
        database,
        REGISTRY,
        scheduler_url=scheduler_url,
        clock=FileClock(Path(clock_file)),
        services=CloudClient(int(port)),
        settings=settings,
        alone=alone == "alone",
    )
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    engine.start()
    leave.wait()
    engine.stop()
    os._exit(0)


if __name__ == "__main__":
    main()
