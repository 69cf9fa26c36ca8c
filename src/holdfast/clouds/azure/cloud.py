"""An Azure subscription as a `Cloud`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from holdfast.clouds.azure.arm import Arm, Audit
from holdfast.clouds.azure.changing import Writer
from holdfast.clouds.azure.checking import Checker
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.azure.converting import Converter
from holdfast.clouds.azure.ids import machine_id
from holdfast.clouds.azure.market import Market
from holdfast.clouds.azure.powering import Switch
from holdfast.clouds.azure.probing import look, parse_probe
from holdfast.clouds.azure.reading import Reader
from holdfast.clouds.azure.waiting import Waiter
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import (
    Agent,
    Call,
    Claim,
    Facts,
    Finding,
    Headroom,
    Observation,
    Power,
    PowerLevel,
    Price,
    Probe,
    ProbeResult,
)
from holdfast.core.clock import Clock

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

__all__ = ["AzureCloud"]


class AzureCloud:
    """All of `Cloud` for one subscription. Share one object between threads: budget and connections are its own.

    audit: receives one `CloudWrite` for each change that was sent, answered or not; what it raises is not caught.
    credential: for tests; None = the connection's.
    """

    def __init__(
        self,
        name: str,
        connection: AzureConnection,
        clock: Clock,
        audit: Audit,
        credential: TokenCredential | None = None,
    ) -> None:
        self._name = name
        self._connection = connection
        self._arm = Arm(name, connection, clock, audit, credential)
        self._reader = Reader(name, self._arm, clock)
        waiter = Waiter(self._arm, clock, connection.is_loopback)
        self._writer = Writer(self._arm, self._reader, waiter, clock)
        self._switch = Switch(self._arm, self._reader, waiter, clock)
        self._converter = Converter(self._arm, self._reader, waiter, clock)
        self._market = Market(connection, self._arm, clock)
        self._checker = Checker(self._arm, self._reader, self._market)

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock_offset(self) -> timedelta | None:
        """Azure's time minus ours by the newest answer; None before the first."""
        return self._arm.clock_offset

    def budget_left(self) -> Mapping[str, float]:
        """Requests left in each bucket of Azure's limits, for metrics."""
        return self._arm.budget.left()

    def close(self) -> None:
        self._arm.close()

    # Inventory
    def observe(self, resource_group: str | None = None) -> Iterator[Observation]:
        return self._reader.observe(resource_group)

    def describe(self, machine: str) -> Facts:
        return self._reader.describe(machine)

    def read(self, ref: str, api_version: str | None = None) -> Document | None:
        return self._reader.read(ref, api_version)

    def power_of(self, machine: str) -> tuple[Power, Agent]:
        return self._reader.power_of(machine)

    def find(self, tags: Mapping[str, str]) -> Iterator[Document]:
        return self._reader.find(tags)

    def sizes(self, location: str) -> Sequence[dict[str, Any]]:
        return self._reader.sizes(location)

    def locks_on(self, refs: Sequence[str]) -> Sequence[Document]:
        return tuple(self._reader.locks_on(refs))

    def missing_permissions(self, scope: str, actions: Sequence[str]) -> Sequence[str]:
        return self._checker.missing_permissions(scope, actions)

    def check(self) -> Sequence[Finding]:
        return tuple(self._checker.check())

    def ref_of(self, resource_group: str, name: str) -> str:
        return machine_id(self._connection.subscription, resource_group, name)

    # Changes
    def ensure(self, call: Call, document: Document) -> Document:
        return self._writer.ensure(call, document)

    def write(self, call: Call, document: Document) -> Document:
        return self._writer.write(call, document)

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Document:
        return self._writer.patch(call, ref, body)

    def mark(self, call: Call, ref: str, tags: Mapping[str, str]) -> None:
        self._writer.mark(call, ref, tags)

    def unmark(self, call: Call, ref: str, names: Sequence[str]) -> None:
        self._writer.unmark(call, ref, names)

    def power(self, call: Call, machine: str, level: PowerLevel) -> None:
        self._switch.power(call, machine, level)

    def convert_disks(self, call: Call, machine: str) -> None:
        self._converter.convert_disks(call, machine)

    def delete(self, call: Call, claim: Claim) -> None:
        self._writer.delete(call, claim)

    # Prober
    def probe(self, machine: str, probe: Probe) -> ProbeResult:
        host = parse_probe(probe).hostname
        return look(probe, host or self._reader.address_of(machine))

    # MarketData
    def prices(self, location: str) -> Sequence[Price]:
        return self._market.prices(location)

    def headroom(self, location: str) -> Sequence[Headroom]:
        return self._market.headroom(location)
