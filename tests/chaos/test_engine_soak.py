"""The engine under `kill -9`, SIGSTOP, a lost scheduler database and a restarted database server. `-m chaos`."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from postgres_cluster import Cluster, Given
from soak import Plan, Report, Soak

SEED = int(os.environ.get("HOLDFAST_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)


def on_sqlite(plan: Plan, folder: Path, seed: int = SEED) -> Report:
    return told(Soak(plan, folder, f"sqlite:///{folder / 'home.db'}", f"sqlite:///{folder / 'dbos.db'}", seed))


def on_postgresql(plan: Plan, folder: Path, cluster: Cluster | Given, seed: int = SEED) -> Report:
    url = cluster.create()
    return told(Soak(plan, folder, url, url, seed))


def told(soak: Soak) -> Report:
    print(f"\nseed {soak.report.seed}")
    report = soak.run()
    print(report)
    return report


@pytest.mark.slow
def test_worker_killed_three_times_finishes_or_undoes_every_import(tmp_path: Path) -> None:
    plan = Plan(imports=10, kills=3, cancels=2, pause_s=(0.1, 0.4), kill_cleaning=1)

    report = on_sqlite(plan, tmp_path, seed=1)

    assert report.violations == []
    assert report.kills >= 3
    assert report.interrupted > 0


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_killed_workers_on_sqlite(tmp_path: Path) -> None:
    report = on_sqlite(Plan(imports=200, kills=25, fails=0.1), tmp_path)

    assert report.violations == []
    assert report.kills >= 10
    assert report.interrupted > 50


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_kills_while_most_operations_unwind_and_nothing_can_be_deleted_for_a_while(tmp_path: Path) -> None:
    report = on_sqlite(Plan(imports=60, kills=12, fails=0.8, refuse_deletes_s=4.0), tmp_path)

    assert report.violations == []


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_scheduler_database_deleted_again_and_again(tmp_path: Path) -> None:
    report = on_sqlite(Plan(imports=60, kills=8, forget_scheduler=True), tmp_path)

    assert report.violations == []


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_killed_workers_on_postgresql_some_for_good(tmp_path: Path, cluster: Cluster | Given) -> None:
    report = on_postgresql(Plan(imports=200, workers=3, kills=25, for_good=True), tmp_path, cluster)

    assert report.violations == []
    assert report.kills >= 10


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_frozen_workers_on_postgresql(tmp_path: Path, cluster: Cluster | Given) -> None:
    plan = Plan(imports=120, workers=3, kills=0, freezes=12, freeze_s=6.0, lease_s=2.0, pause_s=(2.0, 3.0))

    report = on_postgresql(plan, tmp_path, cluster)

    assert report.violations == []
    assert report.freezes >= 5


@pytest.mark.chaos
@pytest.mark.timeout(1500)
def test_database_server_restarted_under_load(tmp_path: Path, cluster: Cluster | Given) -> None:
    if not isinstance(cluster, Cluster):
        pytest.skip("a given server cannot be restarted")

    def restart() -> None:
        cluster.stop()
        time.sleep(5.0)
        cluster.start()

    report = on_postgresql(Plan(imports=100, workers=3, kills=8, restart_server=restart), tmp_path, cluster)

    assert report.violations == []
