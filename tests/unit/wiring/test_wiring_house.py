from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import InvalidInput
from holdfast.store import Database, database_revision, newest_revision
from holdfast.wiring import DatabaseAway, ServerFile, Surroundings, TestClockRefused, everything, open_house, registry
from unit.api.api_rig import ApiRig

PUBLIC = {"subscription": "s", "endpoint": "https://management.azure.com"}
LOOPBACK = {"subscription": "s", "endpoint": "https://127.0.0.1:9"}


def around(folder: Path, **env: str) -> Surroundings:
    return Surroundings.from_environment({"HOLDFAST_HOME": str(folder / "home"), **env})


def test_home_is_made_with_database_key_and_installation(tmp_path: Path) -> None:
    house = open_house(around(tmp_path))

    assert database_revision(house.database) == newest_revision()
    assert str(house.owner).endswith("/1")
    assert (house.home / "key").stat().st_mode & 0o077 == 0
    house.close()


def test_home_opened_again_is_the_same_installation_with_the_same_token(tmp_path: Path) -> None:
    first = open_house(around(tmp_path))
    first.close()
    second = open_house(around(tmp_path))

    assert (first.owner, first.local_token) == (second.owner, second.local_token)
    second.close()


def test_environment_is_read_and_its_secrets_do_not_print(tmp_path: Path) -> None:
    told = around(
        tmp_path,
        HOLDFAST_TOKEN="hidden-1",
        HOLDFAST_KEY="hidden-2",
        AZURE_CLIENT_SECRET="hidden-3",
        HOLDFAST_DATABASE_URL="postgresql://u:hidden-4@127.0.0.1/x",
        HOLDFAST_URL="http://127.0.0.1:1/",
    )

    assert (told.token, told.key, told.url) == ("hidden-1", "hidden-2", "http://127.0.0.1:1")
    assert told.database().startswith("postgresql://")
    assert told.azure["AZURE_CLIENT_SECRET"] == "hidden-3"
    assert "hidden" not in repr(told)


def test_server_file_of_another_server_is_left_alone(tmp_path: Path) -> None:
    ours, theirs = ServerFile("http://a", 1, "t", "v"), ServerFile("http://b", 2, "t", "v")
    theirs.write(tmp_path)

    ours.remove(tmp_path)
    assert ServerFile.read(tmp_path) == theirs
    theirs.remove(tmp_path)
    assert ServerFile.read(tmp_path) is None


def test_broken_server_file_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text('{"url": "http:')

    assert ServerFile.read(tmp_path) is None


@pytest.mark.parametrize("clock", [None, "clock.json"])
def test_only_a_server_on_a_test_clock_deletes_while_its_clock_and_the_clouds_differ(
    tmp_path: Path, clock: str | None
) -> None:
    house = open_house(around(tmp_path).with_test_clock(tmp_path / clock if clock else None))
    try:
        assert house.services.checks_clock is (clock is None)
    finally:
        house.close()


def test_test_clock_is_refused_for_a_cloud_that_is_not_on_this_machine(tmp_path: Path) -> None:
    house = open_house(around(tmp_path).with_test_clock(tmp_path / "clock.json"))
    house.clouds.add("lab", "azure", LOOPBACK)
    house.require_clouds_fit_clock()
    house.clouds.add("real", "azure", PUBLIC)

    with pytest.raises(TestClockRefused):
        house.require_clouds_fit_clock()
    house.close()


def test_real_cloud_is_not_connected_to_a_server_on_a_test_clock(tmp_path: Path) -> None:
    rig = ApiRig(tmp_path, test_clock=True)

    refused = rig.client.post("/v1/clouds", json={"name": "real", "options": PUBLIC})

    assert (refused.status_code, refused.json()["code"]) == (409, "clock.refused")
    assert [one["name"] for one in rig.client.get("/v1/clouds").json()] == ["lab"]
    rig.database.close()


def test_registry_knows_every_operation_and_reconciler() -> None:
    known = registry()

    assert {"import", "undo-import", "finish-import"} <= {kind.name for kind in known.kinds()}
    assert {"retention", "watch nodes"} <= {one.name for one in known.reconcilers}
    assert [watch.kind for watch in known.watches] == ["import", "undo-import"]


def test_everything_loads_every_table_that_the_migrations_make(tmp_path: Path) -> None:
    from holdfast.store import Base, upgrade

    everything()
    database = Database.open(f"sqlite:///{tmp_path}/x.db", durable=False)
    upgrade(database)
    from sqlalchemy import inspect

    made = set(inspect(database.engine).get_table_names()) - {"alembic_version"}

    assert made <= set(Base.metadata.tables)
    database.close()


@pytest.mark.parametrize(
    ("env", "field"),
    [
        ({"HOLDFAST_KEY": "short"}, "HOLDFAST_KEY"),
        ({"HOLDFAST_DATABASE_URL": "mysql://u:hidden@127.0.0.1/x"}, "HOLDFAST_DATABASE_URL"),
        ({"HOLDFAST_DATABASE_URL": "no url: hidden"}, "HOLDFAST_DATABASE_URL"),
    ],
)
def test_wrong_environment_is_refused_by_its_name_and_not_repeated(
    tmp_path: Path, env: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        open_house(around(tmp_path, **env))

    assert raised.value.about == field
    assert "hidden" not in raised.value.message


def test_database_that_does_not_answer_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(DatabaseAway):
        open_house(around(tmp_path, HOLDFAST_DATABASE_URL="postgresql://u@127.0.0.1:9/x?connect_timeout=2"))
