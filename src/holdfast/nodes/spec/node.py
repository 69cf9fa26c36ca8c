"""The whole node: parsing, locked fields, fields not acted on yet, and rules across fields (page 3 and 4)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from holdfast.nodes.spec.base import Section
from holdfast.nodes.spec.compute import Compute
from holdfast.nodes.spec.errors import FieldLocked, InvalidSpec, NotSupportedYet, SpecRefused, UnknownField
from holdfast.nodes.spec.persistence import Persistence
from holdfast.nodes.spec.strategy import Strategy

__all__ = ["NodeSpec", "parse_node_spec"]


class NodeSpec(Section):
    id: str | None = None
    name: str | None = None
    region: str | None = None
    resource_group_name: str | None = None
    description: str | None = None
    strategy: Strategy | None = None
    compute: Compute | None = None
    persistence: Persistence | None = None
    scheduling: dict[str, Any] | None = None
    health: dict[str, Any] | None = None
    integrations: dict[str, Any] | None = None
    created_at: str | None = None
    updated_at: str | None = None


_LAUNCH = "compute.launchSpecification"

# Locked on import because the OS disk is always persisted (page 4, rule 2); network too when it is kept (rule 3).
_LOCKED = tuple(f"{_LAUNCH}.{name}" for name in ("image", "login", "customData", "shutdownScript"))

# What an import acts on. Everything else that a node may have is refused when it says something.
_ACTED_ON = frozenset(
    {
        "id", "name", "region", "resourceGroupName", "description", "createdAt", "updatedAt",
        "strategy.preferredLifecycle", "strategy.fallbackToOd", "strategy.drainingTimeout",
        "compute.os", "compute.vmSizes", "compute.zones", "compute.preferredZone",
        f"{_LAUNCH}.vmName", f"{_LAUNCH}.vmNamePrefix", f"{_LAUNCH}.tags", f"{_LAUNCH}.extensions",
        f"{_LAUNCH}.network", "persistence",
    }
)  # fmt: skip

_FORBIDDEN_IN_NAMES = re.compile(r"""[\s\x00-\x1f~!@#$%^&*()=+_\[\]{}|;:.'",<>/?\\`]""")


def parse_node_spec(given: Mapping[str, Any], *, network_kept: bool | None = None) -> NodeSpec:
    """The checked specification of an import. `given` may be wrapped in `{"statefulNode": …}` or `{"node": …}`.

    network_kept: what the import does with the network, None to take it from the specification itself.
    Raises the first of all refusals found; its detail `problems` lists them all.
    """
    for wrapper in ("statefulNode", "node"):
        if set(given) == {wrapper}:
            given = given[wrapper] or {}
    try:
        spec = NodeSpec.model_validate(_without_empty(given))
    except ValidationError as invalid:
        raise _first(list(_of_validation(invalid))) from invalid
    kept = network_kept
    if kept is None:
        kept = bool(spec.persistence and spec.persistence.should_persist_network)
    problems = [*_locked(given, kept), *_not_acted_on(given), *(p for rule in _RULES for p in rule(spec))]
    if problems:
        raise _first(problems)
    return spec


def _without_empty(value: Any) -> Any:
    """Nulls and empty objects say nothing: clients send skeletons of them (page 1.3)."""
    if isinstance(value, Mapping):
        out = {key: _without_empty(inner) for key, inner in value.items()}
        return {key: inner for key, inner in out.items() if inner is not None and inner != {}}
    if isinstance(value, list):
        return [_without_empty(inner) for inner in value]
    return value


def _first(problems: list[SpecRefused]) -> SpecRefused:
    head = problems[0]
    listed = [{"code": p.code, "field": p.about, "problem": p.details["problem"]} for p in problems]
    return type(head)(**{**head.details, "problems": listed})


def _of_validation(invalid: ValidationError) -> Iterator[SpecRefused]:
    for error in invalid.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in error["loc"])
        if error["type"] == "extra_forbidden":
            yield UnknownField(field=path, problem="no such field")
        else:
            yield InvalidSpec(field=path, problem=error["msg"])


def _locked(given: Mapping[str, Any], network_kept: bool) -> Iterator[SpecRefused]:
    locked = [*_LOCKED, *([f"{_LAUNCH}.network"] if network_kept else [])]
    for path in locked:
        if _says_something(_at(given, path)):
            why = "the network is kept" if path.endswith("network") else "the OS disk is persisted"
            yield FieldLocked(field=path, problem=f"cannot be given while {why}")


def _not_acted_on(given: Mapping[str, Any]) -> Iterator[SpecRefused]:
    for path in _leaves(given):
        if not _is_under(path, _ACTED_ON) and not _is_under(path, _LOCKED):
            yield NotSupportedYet(field=path, problem="is not acted on by an import yet")
    for index, card in enumerate(_at(given, f"{_LAUNCH}.network.networkInterfaces") or []):
        for pool in ("privateIpAddresses", "publicIps"):
            if isinstance(card, Mapping) and card.get(pool):
                path = f"{_LAUNCH}.network.networkInterfaces.{index}.{pool}"
                yield NotSupportedYet(field=path, problem="address pools are not acted on by an import yet")
    persistence = _at(given, "persistence") or {}
    for name in ("shouldPersistOsDisk", "shouldPersistDataDisks"):
        if persistence.get(name) is False:
            problem = "an import always persists the disks"
            yield NotSupportedYet(field=f"persistence.{name}", problem=problem)


def _is_under(path: str, known: Iterable[str]) -> bool:
    return any(path == one or path.startswith(one + ".") for one in known)


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of everything that says something; lists count as one leaf."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif _says_something(value):
        yield path


def _says_something(value: Any) -> bool:
    return value is not None and value != {} and value != []


def _at(given: Mapping[str, Any], path: str) -> Any:
    value: Any = given
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _preferred_sizes_are_spot_sizes(spec: NodeSpec) -> Iterator[SpecRefused]:
    sizes = spec.compute.vm_sizes if spec.compute else None
    if sizes and sizes.preferred_spot_sizes and sizes.spot_sizes:
        listed = {name.lower() for name in sizes.spot_sizes}
        for name in sizes.preferred_spot_sizes:
            if name.lower() not in listed:
                yield InvalidSpec(field="compute.vmSizes.preferredSpotSizes", problem=f"{name} is not in spotSizes")


def _attributes_or_list(spec: NodeSpec) -> Iterator[SpecRefused]:
    sizes = spec.compute.vm_sizes if spec.compute else None
    if sizes and sizes.spot_sizes and sizes.spot_size_attributes:
        yield InvalidSpec(field="compute.vmSizes.spotSizeAttributes", problem="cannot stand beside spotSizes")
    if sizes and sizes.excluded_vm_sizes and sizes.spot_sizes:
        yield InvalidSpec(field="compute.vmSizes.excludedVmSizes", problem="goes with spotSizeAttributes only")


def _preferred_zone_is_a_zone(spec: NodeSpec) -> Iterator[SpecRefused]:
    compute = spec.compute
    if compute and compute.preferred_zone and compute.preferred_zone not in (compute.zones or []):
        yield InvalidSpec(field="compute.preferredZone", problem="is not one of compute.zones")


def _names_are_azure_names(spec: NodeSpec) -> Iterator[SpecRefused]:
    launch = spec.compute.launch_specification if spec.compute else None
    if launch is None:
        return
    if launch.vm_name and launch.vm_name_prefix:
        yield InvalidSpec(field=f"{_LAUNCH}.vmNamePrefix", problem="cannot stand beside vmName")
    for field, name in (("vmName", launch.vm_name), ("vmNamePrefix", launch.vm_name_prefix)):
        if name and (_FORBIDDEN_IN_NAMES.search(name) or name.endswith("-")):
            yield InvalidSpec(field=f"{_LAUNCH}.{field}", problem=f"'{name}' is not a valid machine name in Azure")


def _tags_are_unique_and_free(spec: NodeSpec) -> Iterator[SpecRefused]:
    launch = spec.compute.launch_specification if spec.compute else None
    seen: set[str] = set()
    for tag in (launch.tags if launch else None) or []:
        key = tag.tag_key.lower()
        if key in seen:
            yield InvalidSpec(field=f"{_LAUNCH}.tags", problem=f"{tag.tag_key} is given twice")
        if key.startswith(("holdfast-", "spotinst")):
            yield InvalidSpec(field=f"{_LAUNCH}.tags", problem=f"{tag.tag_key} is reserved")
        seen.add(key)


def _exactly_one_primary_card(spec: NodeSpec) -> Iterator[SpecRefused]:
    launch = spec.compute.launch_specification if spec.compute else None
    network = launch.network if launch else None
    if network is None:
        return
    path = f"{_LAUNCH}.network.networkInterfaces"
    if sum(card.is_primary for card in network.network_interfaces) != 1:
        yield InvalidSpec(field=path, problem="exactly one card is primary")
    for index, card in enumerate(network.network_interfaces):
        if card.assign_public_ip and not card.public_ip_sku:
            yield InvalidSpec(field=f"{path}.{index}.publicIpSku", problem="is needed with assignPublicIp")


_RULES: tuple[Callable[[NodeSpec], Iterator[SpecRefused]], ...] = (
    _preferred_sizes_are_spot_sizes,
    _attributes_or_list,
    _preferred_zone_is_a_zone,
    _names_are_azure_names,
    _tags_are_unique_and_free,
    _exactly_one_primary_card,
)
