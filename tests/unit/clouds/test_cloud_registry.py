"""Connected clouds and their secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from fakes.call import FakeCall
from holdfast.clouds.azure.arm import CloudWrite
from holdfast.clouds.registry import Clouds
from holdfast.core.clock import ManualClock
from holdfast.core.errors import Conflict, InvalidInput, NotFound
from holdfast.store import Base, Database, Secret, SecretUnreadable, Vault, audit_entries

KEY = b"k" * 32
OPTIONS = {"subscription": "sub-1", "tenant": "ten-1", "client_id": "app-1", "endpoint": "https://127.0.0.1:8443"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/holdfast.sqlite3", durable=False)
    Base.metadata.create_all(opened.engine)
    yield opened
    opened.close()


@pytest.fixture
def clouds(database: Database) -> Clouds:
    return Clouds(database, Vault(KEY), ManualClock())


def test_a_cloud_is_shown_without_its_secret(clouds: Clouds) -> None:
    clouds.add("lab", "azure", OPTIONS, Secret("s3cret"))

    shown = clouds.get("lab")

    assert shown.has_secret
    assert shown.is_loopback
    assert shown.options["endpoint"] == OPTIONS["endpoint"]
    assert "s3cret" not in repr(shown)


def test_the_secret_is_not_in_the_database_file(clouds: Clouds, database: Database, tmp_path: Path) -> None:
    clouds.add("lab", "azure", OPTIONS, Secret("s3cret-in-the-clear"))
    with database.write() as session:
        session.execute(text("select 1"))
    database.close()

    assert all(b"s3cret-in-the-clear" not in file.read_bytes() for file in tmp_path.iterdir())


def test_opening_gives_one_client_until_the_connection_is_replaced(clouds: Clouds) -> None:
    clouds.add("lab", "azure", OPTIONS, Secret("old"))
    first = clouds.open("lab")

    same = clouds.open("lab")
    clouds.add("lab", "azure", OPTIONS, Secret("new"))
    other = clouds.open("lab")

    assert same is first
    assert other is not first


def test_a_name_cannot_pass_to_another_account(clouds: Clouds) -> None:
    clouds.add("lab", "azure", OPTIONS, Secret("s"))

    with pytest.raises(Conflict):
        clouds.add("lab", "azure", {**OPTIONS, "subscription": "sub-2"}, Secret("s"))

    assert clouds.get("lab").options["subscription"] == "sub-1"


def test_another_key_does_not_open_the_secret(clouds: Clouds, database: Database) -> None:
    clouds.add("lab", "azure", OPTIONS, Secret("s"))

    with pytest.raises(SecretUnreadable):
        Clouds(database, Vault(b"x" * 32), ManualClock()).open("lab")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"subscription": ""}, "subscription"),
        ({"endpoint": "http://example.org"}, "endpoint"),
        ({"endpoint": "ftp://127.0.0.1"}, "endpoint"),
        ({"colour": "blue"}, "colour"),
        ({"subscription": "a/../b"}, "subscription"),
        ({"endpoint": "http://127.0.0.1:1", "authority": None}, "authority"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"ca_file": __file__}, "ca_file"),
        ({"client_secret": "in the open"}, "client_secret"),
        ({"tenant": None}, "client_secret"),
    ],
)
def test_wrong_options_are_refused_by_name(clouds: Clouds, change: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clouds.add("lab", "azure", {**OPTIONS, **change}, Secret("s"))

    assert caught.value.about == field
    assert clouds.list() == ()


def test_with_one_cloud_no_name_is_needed(clouds: Clouds) -> None:
    with pytest.raises(NotFound):
        clouds.pick(None)
    clouds.add("lab", "azure", OPTIONS, Secret("s"))

    assert clouds.pick(None).name == "lab"

    clouds.add("other", "azure", {**OPTIONS, "subscription": "sub-2"}, Secret("s"))
    with pytest.raises(InvalidInput):
        clouds.pick(None)


def test_a_removed_cloud_is_gone(clouds: Clouds) -> None:
    clouds.add("lab", "azure", OPTIONS, Secret("s"))

    clouds.remove("lab")

    assert clouds.list() == ()
    with pytest.raises(NotFound):
        clouds.open("lab")


def test_cloud_writes_stand_in_the_audit_log(database: Database) -> None:
    from holdfast.clouds.registry import audit_into

    call = FakeCall()
    sent = CloudWrite(call.clock.now(), "lab", call.operation, call.key, "PUT", "/x", 201, None, "c-1", "s-1")

    audit_into(database)(sent)

    with database.read() as session:
        (entry,) = audit_entries(session, action="cloud.write")
        assert entry.operation == call.operation
        assert entry.details["status"] == 201
