"""The store: all or nothing, durable, and back-references that follow every change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azurelab.arm.store import Resource, Store

_SUB = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Network"


def _nic(name: str, subnet: str = "a") -> Resource:
    at = f"{_SUB}/networkInterfaces/{name}"
    return Resource(
        at, "Microsoft.Network/networkInterfaces", {"id": at, "name": name, "subnet": f"{_SUB}/subnets/{subnet}"}
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = _open(tmp_path)
    yield opened
    opened.close()


def _open(folder: Path) -> Store:
    store = Store(folder / "state.sqlite3", lambda: 1.0)
    store.references["microsoft.network/networkinterfaces"] = lambda r: [r.doc["subnet"]]
    store.reindex()
    return store


def _state(store: Store) -> Any:
    docs = {r.key: r.doc for r in store.of_type("Microsoft.Network/networkInterfaces")}
    refs = {s: sorted(r.name for r in store.referring(f"{_SUB}/subnets/{s}")) for s in "abc"}
    return docs, refs, len(store.events()), store.setting("x")


def test_a_transaction_that_raises_leaves_no_trace(store: Store) -> None:
    store.put(_nic("one"))
    store.log("first")
    store.set_setting("x", 1)
    before = _state(store)

    with pytest.raises(ZeroDivisionError), store.transaction():
        store.put(_nic("two"))
        store.put(_nic("one", "b"))
        store.delete(f"{_SUB}/networkInterfaces/one")
        store.set_setting("x", 2)
        store.log("second")
        raise ZeroDivisionError

    assert _state(store) == before


def test_a_nested_transaction_that_is_caught_undoes_only_itself(store: Store, tmp_path: Path) -> None:
    with store.transaction():
        store.put(_nic("outer"))
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.put(_nic("inner"))
            store.log("inner")
            raise ZeroDivisionError
        store.log("outer")
    store.close()

    again = _open(tmp_path)
    assert sorted(_state(again)[0]) == [f"{_SUB}/networkInterfaces/outer".lower()]
    assert [(e.seq, e.kind) for e in again.events()] == [(1, "outer")]
    again.close()


def test_what_is_to_happen_after_the_commit_happens_only_then(store: Store) -> None:
    done: list[str] = []
    with store.transaction():
        store.after_commit(lambda: done.append("kept"))
        assert done == []
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.after_commit(lambda: done.append("dropped"))
        raise ZeroDivisionError

    assert done == ["kept"]


def test_versions_count_changes_of_the_document_and_not_of_what_is_hidden(store: Store) -> None:
    store.put(_nic("one"))
    with store.edit(f"{_SUB}/networkInterfaces/one") as r:
        r.hidden["power"] = "on"
    hidden = store.get(f"{_SUB}/networkInterfaces/one")
    with store.edit(f"{_SUB}/networkInterfaces/ONE") as r:
        r.doc["x"] = 1
    changed = store.get(f"{_SUB}/networkInterfaces/one")

    assert hidden is not None
    assert changed is not None
    assert (hidden.version, changed.version) == (1, 2)


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "log", "set"]), st.sampled_from("pqr"), st.sampled_from("abc"), st.booleans()
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_STEPS)
def test_memory_and_disk_agree_whatever_was_done_and_undone(tmp_path_factory: Any, steps: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = _open(folder)
    for verb, name, subnet, fails in steps:
        try:
            with store.transaction():
                if verb == "put":
                    store.put(_nic(name, subnet))
                elif verb == "delete":
                    store.delete(f"{_SUB}/networkInterfaces/{name}")
                elif verb == "log":
                    store.log(name)
                else:
                    store.set_setting("x", subnet)
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            continue
    memory = _state(store)
    store.close()

    again = _open(folder)
    assert _state(again) == memory
    again.close()
