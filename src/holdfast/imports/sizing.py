"""Which sizes and markets an import may use: the market's rules applied to the machine and the specification."""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.imports.gathering import Inputs
from holdfast.imports.markets import markets_in_order
from holdfast.imports.options import ImportOptions, Priority
from holdfast.imports.plan import LaunchMarket
from holdfast.market.deciding.sizes import Funnel, Refused, SizeWish, qualify, same_attributes, traits_of
from holdfast.market.deciding.sizes import Priority as MarketPriority
from holdfast.nodes.spec import NodeSpec

__all__ = ["Sizing", "size_up"]


@dataclass(frozen=True)
class Sizing:
    funnel: Funnel
    markets: tuple[LaunchMarket, ...]
    qualified: tuple[str, ...]
    refused: tuple[Refused, ...]
    nearest: str
    quota_notes: tuple[str, ...]


def size_up(inputs: Inputs, spec: NodeSpec, options: ImportOptions) -> Sizing:
    """Spot sizes by the specification, else all that share the attributes of the machine's own; on-demand beside."""
    facts = inputs.facts
    traits = traits_of(
        {"name": facts.machine.name, **facts.machine.body},
        [{"id": disk.document.ref, **disk.document.body} for disk in facts.disks if disk.document is not None],
        [{"id": nic.ref, **nic.body} for nic in facts.nics],
        inputs.own_size,
    )
    wish = _wish(inputs, spec)
    today = inputs.now.date()
    # A machine that runs now holds quota that its own stop does not free: deallocated machines count (rule 26).
    spot = qualify(traits, inputs.sizes, wish, today=today, priority=MarketPriority.SPOT, quota=inputs.quota,
                   spot_priced=inputs.prices.spot_priced)  # fmt: skip
    on_demand = qualify(traits, inputs.sizes, wish, today=today, priority=MarketPriority.ON_DEMAND,
                        quota=inputs.quota)  # fmt: skip
    zones = [traits.zone] if traits.zone else []
    strategy = spec.strategy
    markets = markets_in_order(
        spot.qualified,
        on_demand.qualified,
        own_size=inputs.own_size.name,
        on_demand_order=wish.od_sizes,
        zones=zones,
        prices=inputs.prices,
        priority=options.priority,
        fall_back=strategy is None or strategy.fallback_to_od is not False,
    )
    shown = spot if options.priority is Priority.SPOT else on_demand
    misses = shown.nearest_misses() or shown.refused[:5]
    return Sizing(
        funnel=shown,
        markets=markets,
        qualified=tuple(sorted({*spot.names, *on_demand.names})),
        refused=shown.refused,
        nearest="; ".join(f"{r.name} ({r.reasons[0].reason})" for r in misses) or "none",
        quota_notes=tuple(_quota_notes(on_demand)),
    )


def _wish(inputs: Inputs, spec: NodeSpec) -> SizeWish:
    same = same_attributes(inputs.own_size)
    sizes = spec.compute.vm_sizes if spec.compute else None
    if sizes is None:
        return same
    wish = replace(
        same,
        od_sizes=tuple(sizes.od_sizes or same.od_sizes),
        spot_sizes=tuple(sizes.spot_sizes or ()),
        excluded=tuple(sizes.excluded_vm_sizes or ()),
        preferred=tuple(sizes.preferred_spot_sizes or ()),
    )
    if (ranges := sizes.spot_size_attributes) is None:
        return wish
    return replace(
        wish,
        min_cpu=ranges.min_cpu,
        max_cpu=ranges.max_cpu,
        min_memory_gib=ranges.min_memory,
        max_memory_gib=ranges.max_memory,
        min_storage_gib=ranges.min_storage,
        max_storage_gib=ranges.max_storage,
    )


def _quota_notes(on_demand: Funnel) -> list[str]:
    """On-demand sizes that fail for quota alone: the fallback needs quota too, and people forget that."""
    return [
        f"On-demand {refused.name}: {refused.reasons[0].reason}"
        for refused in on_demand.refused
        if refused.size is not None and all(reason.code == "size.quota" for reason in refused.reasons)
    ]
