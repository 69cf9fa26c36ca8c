"""How an import is to be done: what the caller chose, with the defaults that Spot's users know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from holdfast.clouds.azure.succession.composing import DiskSource, NetworkSource
from holdfast.core.errors import InvalidInput, Refused, Retry
from holdfast.nodes.spec import NodeSpec

__all__ = ["RETENTION_FLOOR_S", "RETENTION_MOST_S", "DiskSource", "ImportOptions", "NetworkSource", "Priority",
           "RetentionTooShort", "agree_with_spec", "checked", "retention_over_spot"]  # fmt: skip

RETENTION_DEFAULT_S = 96 * 3600
RETENTION_FLOOR_S = 24 * 3600  # below it a weekend's mistake is noticed too late; lower only by saying so in words
RETENTION_MOST_S = 731 * 3600  # Spot's bound
DRAINING_MOST_S = 1800
PROVE_MOST_S = 24 * 3600  # the original is off meanwhile


class Priority(StrEnum):
    SPOT = "spot"  # spot first, on-demand when no spot market has capacity
    REGULAR = "regular"  # on-demand only


@dataclass(frozen=True)
class ImportOptions:
    """Durations in seconds. `accept` holds codes of findings that the caller agrees to."""

    network: NetworkSource = NetworkSource.NEW
    disks: DiskSource = DiskSource.SNAPSHOT
    priority: Priority = Priority.SPOT
    retention_s: int = RETENTION_DEFAULT_S
    draining_timeout_s: int = 120
    probes: tuple[str, ...] = ()
    prove_for_s: int = 60
    prove_timeout_s: int = 900
    accept: tuple[str, ...] = ()
    recreate_extensions: tuple[str, ...] = ()
    delete_originals_immediately: bool = False
    convert_unmanaged_disks: bool = False

    @property
    def object_goes(self) -> bool:
        """Whether the machine object must be deleted before proof: Azure frees its NIC and OS disk no other way."""
        return self.network is NetworkSource.KEEP or self.disks is DiskSource.REATTACH

    @property
    def retention(self) -> timedelta:
        return timedelta(seconds=self.retention_s)


class RetentionTooShort(Refused):
    """The originals would be deleted sooner than the floor allows."""

    code, retry = "import.retention_too_short", Retry.AFTER_CHANGE
    field = "retention"
    text = "A retention of {given_h:g} h is below the floor of {floor_h:g} h."
    remedy = "Keep the originals longer, or say --delete-originals-immediately."


def checked(options: ImportOptions, floor_s: int = RETENTION_FLOOR_S) -> ImportOptions:
    """The options themselves, or the first thing that is wrong with them."""
    if not 0 <= options.retention_s <= RETENTION_MOST_S:
        raise InvalidInput(field="retention", problem=f"must lie between 0 and {RETENTION_MOST_S // 3600} hours")
    if options.retention_s < floor_s and not options.delete_originals_immediately:
        raise RetentionTooShort(given_h=options.retention_s / 3600, floor_h=floor_s / 3600)
    if not 0 <= options.draining_timeout_s <= DRAINING_MOST_S:
        raise InvalidInput(field="drainingTimeout", problem=f"must lie between 0 and {DRAINING_MOST_S} seconds")
    if options.prove_for_s < 0 or options.prove_timeout_s <= 0:
        raise InvalidInput(field="prove", problem="prove-for must not be negative and prove-timeout must be positive")
    if options.prove_timeout_s > PROVE_MOST_S:
        raise InvalidInput(field="prove", problem=f"prove-timeout must not be longer than {PROVE_MOST_S} seconds")
    if options.prove_for_s >= options.prove_timeout_s:
        raise InvalidInput(field="prove", problem="prove-timeout must be longer than prove-for")
    for probe in options.probes:
        _check_probe(probe)
    return options


def agree_with_spec(options: ImportOptions, spec: NodeSpec, given: frozenset[str]) -> ImportOptions:
    """Options and specification speak of the same things twice; where one is silent the other counts.

    given: names of the options that the caller chose. Contradictions are refused rather than resolved.
    """
    network, priority = options.network, options.priority
    if spec.persistence and spec.persistence.should_persist_network is not None:
        wanted = NetworkSource.KEEP if spec.persistence.should_persist_network else NetworkSource.NEW
        if "network" in given and wanted is not network:
            raise InvalidInput(
                field="persistence.shouldPersistNetwork", problem=f"contradicts the network option '{network.value}'"
            )
        network = wanted
    if spec.strategy and spec.strategy.preferred_lifecycle is not None:
        lifecycle = Priority.SPOT if spec.strategy.preferred_lifecycle == "spot" else Priority.REGULAR
        if "priority" in given and lifecycle is not priority:
            raise InvalidInput(
                field="strategy.preferredLifecycle", problem=f"contradicts the priority option '{priority.value}'"
            )
        priority = lifecycle
    draining = options.draining_timeout_s
    if spec.strategy and spec.strategy.draining_timeout is not None and "draining_timeout_s" not in given:
        draining = spec.strategy.draining_timeout
    values = {**vars(options), "network": network, "priority": priority, "draining_timeout_s": draining}
    return ImportOptions(**values)


def retention_over_spot(hours: int | None, floor_s: int = RETENTION_FLOOR_S) -> tuple[int, str | None]:
    """Seconds of retention for what a Spot client sent, and a warning where that is not what it said.

    Its Terraform provider sends 0 for unset (spot-stateful-node-api.md 8.3 a), so 0 means the default, and anything
    below the floor means the floor: a client must not delete the only way back by saying nothing.
    """
    if hours is None:
        return RETENTION_DEFAULT_S, None
    if hours == 0:
        return RETENTION_DEFAULT_S, "resourcesRetentionTime 0 was taken as unset: the originals are kept for 96 h."
    if hours * 3600 < floor_s:
        told = f"resourcesRetentionTime {hours} is below the floor: the originals are kept for {floor_s // 3600} h."
        return floor_s, told
    return hours * 3600, None


def _check_probe(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise InvalidInput(field="probe", problem=f"'{url}': {exc}") from exc
    if parts.scheme not in ("tcp", "http", "https"):
        raise InvalidInput(field="probe", problem=f"'{url}' must begin with tcp://, http:// or https://")
    if parts.scheme == "tcp" and port is None:
        raise InvalidInput(field="probe", problem=f"'{url}' needs a port, as in tcp://:22")
