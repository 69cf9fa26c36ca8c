from __future__ import annotations

from azurelab.guests.forwards import MOVED_BY, Forward, apply, existing, wanted
from azurelab.guests.hypervisor import GuestSpec, NicAttachment

USERNET = """\
Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[ESTABLISHED]   22     127.0.0.1  1080        10.0.0.4  8080     0     0
  TCP[HOST_FORWARD]  21     127.9.0.4  8080        10.0.0.4  8080     0     0
net1 (net1):
  TCP[HOST_FORWARD]  23     127.9.0.5    22        10.1.0.4    22     0     0
"""


class Qemu:
    """slirp's forwards as the human monitor shows and changes them; `refused` addresses cannot be bound."""

    def __init__(self, refused: set[tuple[str, int]] | None = None) -> None:
        self.forwards: set[Forward] = set()
        self.refused = refused or set()

    def monitor(self, line: str) -> str:
        verb, *rest = line.split()
        if verb == "info":
            rows = "".join(
                f"x ({f.netdev}):\n"
                f"  TCP[HOST_FORWARD]  9  {f.public_ip}  {f.port}  {f.private_ip}  {f.guest_port} 0 0\n"
                for f in sorted(self.forwards)
            )
            return "Hub\n" + rows
        netdev, rule = rest
        host, _, guest = rule.removeprefix("tcp:").partition("-")
        ip, port = host.split(":")
        if verb == "hostfwd_remove":
            self.forwards = {f for f in self.forwards if (f.netdev, f.public_ip, f.port) != (netdev, ip, int(port))}
            return "host forwarding rule removed"
        if (ip, int(port)) in self.refused:
            return "could not set up host forwarding rule"
        self.forwards.add(Forward(netdev, ip, int(port), guest.split(":")[0], int(guest.split(":")[1])))
        return ""


def spec(public: str | None = "127.9.0.4") -> GuestSpec:
    cards = (
        NicAttachment("b", "0", "10.1.0.4", 24, None, primary=False),
        NicAttachment("a", "0", "10.0.0.4", 24, public, primary=True),
    )
    return GuestSpec("/k", "v", "", (), cards)


def test_every_listening_port_is_wanted_at_every_public_address() -> None:
    assert wanted(spec(), [22, 80]) == {
        Forward("net0", "127.9.0.4", 22, "10.0.0.4", 22),
        Forward("net0", "127.9.0.4", 80, "10.0.0.4", 80),
    }
    assert wanted(spec(None), [22]) == set()


def test_forwards_are_read_from_the_monitor() -> None:
    assert existing(USERNET) == {
        Forward("net0", "127.9.0.4", 8080, "10.0.0.4", 8080),
        Forward("net1", "127.9.0.5", 22, "10.1.0.4", 22),
    }


def test_applying_adds_removes_and_repeats_without_change() -> None:
    qemu = Qemu()
    assert apply(qemu.monitor, wanted(spec(), [22, 80])) == []
    assert qemu.forwards == wanted(spec(), [22, 80])

    assert apply(qemu.monitor, wanted(spec("127.9.0.9"), [80])) == []
    assert qemu.forwards == wanted(spec("127.9.0.9"), [80])
    assert apply(qemu.monitor, wanted(spec("127.9.0.9"), [80])) == []
    assert qemu.forwards == wanted(spec("127.9.0.9"), [80])


def test_a_low_port_that_the_host_refuses_moves_up_and_a_high_one_is_complained_about() -> None:
    qemu = Qemu({("127.9.0.4", 22), ("127.9.0.4", 8080)})

    complaints = apply(qemu.monitor, wanted(spec(), [22, 8080]))

    moved = Forward("net0", "127.9.0.4", 22 + MOVED_BY, "10.0.0.4", 22)
    assert qemu.forwards == {moved}
    assert len(complaints) == 1
    assert complaints[0].startswith("127.9.0.4:8080: ")
    apply(qemu.monitor, wanted(spec(), [22]))
    assert qemu.forwards == {moved}
    apply(qemu.monitor, set())
    assert qemu.forwards == set()
