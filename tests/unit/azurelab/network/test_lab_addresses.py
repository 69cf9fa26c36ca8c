"""Who gets which address: pure."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azurelab.network import loopback
from azurelab.network.addresses import first_free_private, is_usable, mac_of, next_public, parse_prefix

_NET = ipaddress.ip_network("10.0.0.0/28")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(taken=st.sets(st.integers(0, 15)))
def test_private_addresses_are_the_lowest_free_ones_that_may_be_given(taken: set[int]) -> None:
    held = {str(_NET[n]) for n in taken}

    found = first_free_private([_NET], held)

    usable = [str(a) for a in _NET if is_usable(_NET, str(a)) and str(a) not in held]
    assert found == (usable[0] if usable else None)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(after=st.integers(256, 2047), taken=st.sets(st.integers(256, 2047), max_size=40))
def test_public_addresses_go_round_and_are_never_taken_ones(after: int, taken: set[int]) -> None:
    network = loopback.network_of(77)
    held = {str(network[n]) for n in taken}

    found = next_public(network, after, held)

    assert found is not None
    address, position = found
    assert address not in held
    assert address == str(network[position])
    assert position != after
    assert 256 <= position <= 2047


def test_a_public_network_without_a_free_address_says_so() -> None:
    network = loopback.network_of(0)

    assert next_public(network, 256, {str(a) for a in network}) is None


def test_hardware_addresses_follow_the_place_in_the_network() -> None:
    assert mac_of("guid", "10.0.0.4") == mac_of("guid", "10.0.0.4")
    assert mac_of("guid", "10.0.0.4") != mac_of("other", "10.0.0.4")
    assert mac_of("guid", "10.0.0.4").startswith("00-0D-3A-")


def test_prefixes_with_host_bits_are_no_prefixes() -> None:
    assert parse_prefix("10.0.0.1/24") is None
    assert parse_prefix("10.0.0.0/24") is not None


def test_every_loopback_network_is_of_127_and_none_is_that_of_127_0(tmp_path: Path) -> None:
    first, last = loopback.network_of(0), loopback.network_of(loopback.COUNT - 1)

    assert str(first) == "127.1.0.0/20"
    assert str(last) == "127.254.240.0/20"


def test_two_homes_get_two_networks_and_a_home_that_is_gone_frees_its_own(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(loopback, "_folder", lambda: tmp_path)
    monkeypatch.setattr(loopback, "COUNT", 2)
    homes = [tmp_path / name for name in ("a", "b", "c")]
    for home in homes[:2]:
        home.mkdir()
        (home / "lab.json").write_text("{}")

    taken = {loopback.reserve(homes[0]), loopback.reserve(homes[1])}
    (homes[0] / "lab.json").unlink()
    again = loopback.reserve(homes[2])

    assert taken == {0, 1}
    assert again in taken
    assert loopback.reserve(homes[1], wanted=1 - again) == 1 - again
