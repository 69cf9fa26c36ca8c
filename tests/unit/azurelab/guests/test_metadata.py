from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from azurelab.guests.events import ScheduledEvents
from azurelab.guests.hypervisor import GuestSpec, NicAttachment
from azurelab.guests.metadata import Request, Response, instance_document, respond

SPEC = GuestSpec(
    key="/x",
    vm_id="11111111-2222-3333-4444-555555555555",
    host_name="db-1",
    disks=(),
    nics=(
        NicAttachment("second", "00-0D-3A-00-00-02", "10.1.0.5", 16, None, primary=False),
        NicAttachment("first", "00-0D-3A-00-00-01", "10.0.0.4", 24, "127.9.0.4", primary=True),
    ),
    compute={"name": "db-1", "tagsList": [{"name": "a", "value": "b"}], "isSpot": True, "plan": None},
)
INSTANCE = "/metadata/instance?api-version=2021-02-01"
EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"


def ask(
    target: str, method: str = "GET", body: bytes = b"", events: ScheduledEvents | None = None, **headers: str
) -> Response:
    given = {"metadata": "true", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return respond(Request(method, target, given, body), SPEC, events or ScheduledEvents())


def test_the_instance_document_lists_the_primary_card_first() -> None:
    document: dict[str, Any] = json.loads(ask(INSTANCE).body)

    first, second = document["network"]["interface"]
    assert first == {
        "ipv4": {
            "ipAddress": [{"privateIpAddress": "10.0.0.4", "publicIpAddress": "127.9.0.4"}],
            "subnet": [{"address": "10.0.0.0", "prefix": "24"}],
        },
        "ipv6": {"ipAddress": []},
        "macAddress": "000D3A000001",
    }
    assert second["ipv4"]["subnet"] == [{"address": "10.1.0.0", "prefix": "16"}]
    assert document["compute"]["vmId"] == SPEC.vm_id
    assert document["compute"]["osProfile"]["computerName"] == "db-1"


def test_a_machine_without_os_profile_offers_no_name() -> None:
    attached = GuestSpec("/x", SPEC.vm_id, "", (), (), {"name": "db-1"})
    assert instance_document(attached)["compute"]["osProfile"] == {"computerName": "", "adminUsername": ""}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("compute/name", "db-1"),
        ("COMPUTE/VMID", SPEC.vm_id),
        ("compute/tagsList/0/value", "b"),
        ("compute/isSpot", "true"),
        ("compute/plan", ""),
        ("network/interface/0/ipv4/ipAddress/0/privateIpAddress", "10.0.0.4"),
        ("network/interface", "0/\n1/"),
        ("network", "interface/"),
    ],
)
def test_leaves_and_folders_come_as_text(path: str, text: str) -> None:
    answer = ask(f"/metadata/instance/{path}?api-version=2021-02-01&format=text")
    assert (answer.status, answer.body.decode()) == (200, text)
    assert answer.content_type.startswith("text/plain")


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (ask(INSTANCE, metadata="false"), 400, "Required metadata header not specified"),
        (ask(INSTANCE, x_forwarded_for="1.2.3.4"), 400, "X-Forwarded-For"),
        (ask("/metadata/instance"), 400, "api-version was not specified"),
        (ask("/metadata/instance/compute/nothing?api-version=2021-02-01"), 404, "Not found"),
        (ask("/metadata/identity/oauth2/token?api-version=2018-02-01"), 404, "Not found"),
        (ask("/else"), 404, "Not found"),
        (ask(INSTANCE, "POST"), 405, "Method not allowed"),
        (ask(EVENTS, "POST", b"{"), 400, "StartRequests"),
        (ask(EVENTS, "POST", b'{"StartRequests":[{"EventId":"unknown"}]}'), 400, "No such event"),
    ],
)
def test_what_azure_refuses_is_refused(answer: Response, status: int, words: str) -> None:
    assert answer.status == status
    assert words in json.loads(answer.body)["error"]


def test_an_announced_event_is_shown_approved_and_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    events = ScheduledEvents(file)
    before = json.loads(ask(EVENTS, events=events).body)
    event_id = events.preempt("db-1", 1_700_000_000.0)
    assert events.preempt("db-1", 1_800_000_000.0) == event_id

    shown = json.loads(ask(EVENTS, events=ScheduledEvents(file)).body)
    assert shown["DocumentIncarnation"] == before["DocumentIncarnation"] + 1
    assert shown["Events"][0]["EventStatus"] == "Scheduled"
    assert shown["Events"][0]["NotBefore"] == "Tue, 14 Nov 2023 22:13:20 GMT"

    approval = json.dumps({"StartRequests": [{"EventId": event_id}]}).encode()
    assert ask(EVENTS, "POST", approval, events).status == 200
    assert ask(EVENTS, "POST", approval, events).status == 200
    after = ScheduledEvents(file).document()
    assert (after["Events"][0]["EventStatus"], after["DocumentIncarnation"]) == ("Started", 3)

    events.clear()
    assert ScheduledEvents(file).document() == {"DocumentIncarnation": 4, "Events": []}
