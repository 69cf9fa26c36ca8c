from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from azurelab.guests.accelerator import Accelerator
from azurelab.guests.command import Paths, command_line, root_ports
from azurelab.guests.hypervisor import DiskAttachment, GuestSpec, NicAttachment


def spec(luns: tuple[int, ...] = (0, 3), custom_data: bytes | None = None, cards: int = 1) -> GuestSpec:
    disks = [DiskAttachment(None, Path("/h/nbd.sock"), "os", 1 << 30)]
    disks += [DiskAttachment(lun, Path("/h/nbd.sock"), f"d{lun}", 1 << 30) for lun in luns]
    nics = tuple(
        NicAttachment(f"n{i}", f"00-0D-3A-00-00-0{i}", f"10.{i}.0.4", 24, None, primary=i == 0) for i in range(cards)
    )
    return GuestSpec("/k", "11111111-2222-3333-4444-555555555555", "", tuple(disks), nics, {}, custom_data)


def words(given: GuestSpec, folder: str = "/run/g") -> list[str]:
    paths = Paths(Path(folder), Path(folder))
    return command_line(given, paths, Accelerator("tcg", "").words(), ["python3", "relay.py"])


def options(command: list[str], name: str) -> list[str]:
    return [value for option, value in itertools.pairwise(command) if option == name]


def devices(command: list[str], driver: str) -> list[dict[str, Any]]:
    found = [json.loads(option) for option in options(command, "-device") if option.startswith("{")]
    return [device for device in found if device["driver"] == driver]


def test_disks_are_known_by_their_lun_and_survive_a_restart_of_their_server() -> None:
    command = words(spec())

    nodes = [json.loads(option) for option in options(command, "-blockdev")]
    assert [node["export"] for node in nodes] == ["os", "d0", "d3"]
    assert all(node["reconnect-delay"] > 60 and node["discard"] == "unmap" for node in nodes)
    disks = devices(command, "virtio-blk-pci")
    assert [disk["serial"] for disk in disks] == ["osdisk", "lun0", "lun3"]
    assert [disk.get("bootindex") for disk in disks] == [1, None, None]
    assert len({disk["bus"] for disk in disks[1:]}) == 2


def test_every_root_port_has_a_place_of_its_own_and_some_are_free() -> None:
    for count in (0, 2, 40, 64):
        ports = devices(words(spec(tuple(range(count)))), "pcie-root-port")
        assert len(ports) == len(root_ports(count)) >= count
        assert len({port["addr"] for port in ports}) == len({port["slot"] for port in ports}) == len(ports)
        assert all(port.get("multifunction", False) == port["addr"].endswith(".0x0") for port in ports)
    assert len(root_ports(2)) > 2


def test_nothing_but_the_metadata_service_is_reachable_from_a_guest() -> None:
    command = words(spec(cards=2))

    first, second = options(command, "-netdev")
    assert "restrict=on" in first
    assert "restrict=on" in second
    assert first.endswith("guestfwd=tcp:169.254.169.254:80-cmd:python3 relay.py /run/g/imds")
    assert "net=10.1.0.0/24" in second
    assert any("mac=00:0d:3a:00:00:01" in option for option in options(command, "-device"))


def test_paths_with_commas_and_spaces_stay_one_path() -> None:
    command = words(spec(custom_data=b"x"), "/a b,c")

    assert "unix:/a b,,c/qmp,server=on,wait=off" in options(command, "-qmp")
    assert options(command, "-netdev")[0].endswith("relay.py '/a b,,c/imds'")
    assert options(command, "-fw_cfg") == ["name=opt/azurelab/custom-data,file=/a b,,c/custom-data"]


def test_the_sandbox_leaves_the_relay_alone() -> None:
    (sandbox,) = options(words(spec()), "-sandbox")
    assert sandbox.startswith("on,")
    assert "spawn" not in sandbox
