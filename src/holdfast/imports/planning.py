"""From facts to a plan: pure. The same inputs, options and seed always give the same plan.

Every refusal is found here, all of them at once, so that `import plan` shows what `import start` would refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from holdfast.clouds.azure.losses import lost
from holdfast.clouds.azure.succession import (
    CardWish,
    Naming,
    Succession,
    SuccessionWish,
    blobs_of,
    expected_after_conversion,
    expected_names,
    successor,
)
from holdfast.clouds.azure.succession.names import resource_group_of
from holdfast.clouds.documents import same_ref
from holdfast.clouds.protocols import Agent, Facts, Finding, Power, Severity
from holdfast.imports.actions import actions_of, wants_early
from holdfast.imports.cards import card_wishes
from holdfast.imports.configuration import import_configuration, merged_node
from holdfast.imports.estimates import downtime_of, price_change
from holdfast.imports.extensions import recreated_extensions
from holdfast.imports.gathering import Inputs
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource, Priority
from holdfast.imports.places import missing_places
from holdfast.imports.plan import PLAN_FORM, ImportPlan, Unsupported, sealed
from holdfast.imports.sizing import Sizing, size_up
from holdfast.machines.refusals import Case, findings_of
from holdfast.nodes.spec import NodeSpec, parse_node_spec
from holdfast.nodes.spec.errors import NotSupportedYet

__all__ = ["WEAK_PROOF", "plan_import"]

WEAK_PROOF = "WEAK_PROOF"


def plan_import(
    inputs: Inputs, options: ImportOptions, given_node: dict[str, Any], seed: str, *, after_conversion: bool = False
) -> ImportPlan:
    """The plan. Raises only for input that cannot be planned at all (unknown fields, wrong types).

    after_conversion: the machine has been stopped and its blobs made managed disks by this very import.
    """
    facts = inputs.facts
    given = unwrapped(given_node)
    spec = parse_node_spec(given, network_kept=options.network is NetworkSource.KEEP)
    configuration = import_configuration(facts, inputs.own_size, options.network)
    cards = _cards(given, configuration, spec, facts)
    node = merged_node(configuration, given)
    whole = parse_node_spec(_without_own_network(node, cards), network_kept=options.network is NetworkSource.KEEP)
    _require_place(spec, facts)

    name = _successor_name(spec, facts, options, seed)
    group = spec.resource_group_name or resource_group_of(facts.machine.ref)
    sizing = size_up(inputs, whole, options)
    extensions, extension_findings = recreated_extensions(facts, spec, options.recreate_extensions, group, name)
    findings = [
        *findings_of(_case(inputs, options, frozenset(doc.name for doc in extensions))),
        *_about_proof(facts, options),
        *missing_places(facts, group, cards, inputs.exists),
        *_about_markets(sizing, whole, options),
        *_about_permissions(inputs),
        *extension_findings,
    ]
    blobs = blobs_of(facts)
    composable = not blobs or options.convert_unmanaged_disks
    wish = SuccessionWish(
        naming=Naming(machine=name, seed=seed, resource_group=group),
        network=options.network,
        disks=options.disks,
        user_tags=_tags(whole),
        cards=cards,
        snapshot_stems=expected_names(facts) if after_conversion else {},
    )
    succession = successor(expected_after_conversion(facts), wish) if composable else _nothing(facts)
    if blobs or after_conversion or not wants_early(facts.power, options.disks):
        succession = replace(succession, early={})
    findings += _about_names(inputs, options, succession) if composable else []
    plan = ImportPlan(
        form=PLAN_FORM,
        made_at=inputs.now,
        seed=seed,
        cloud=inputs.cloud,
        machine=facts.machine.ref,
        vm_name=facts.machine.name,
        resource_group=resource_group_of(facts.machine.ref),
        location=str(facts.machine.body["location"]),
        successor_name=name,
        options=options,
        given_node=given,
        node=node,
        facts=facts,
        succession=succession,
        extensions=extensions,
        markets=sizing.markets,
        qualified=sizing.qualified,
        unsupported=tuple(Unsupported(r.name, tuple(x.reason for x in r.reasons)) for r in sizing.refused),
        funnel=tuple((stage.title, stage.remain) for stage in sizing.funnel.stages),
        actions=actions_of(facts, succession, options, sizing.markets, extensions) if composable else (),
        findings=tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.REFUSAL)),
        lost=_losses(facts) if options.object_goes else (),
        missing_permissions=inputs.missing_permissions,
        downtime=downtime_of(options, power=facts.power, converts=bool(blobs)),
        price=price_change(inputs, sizing.markets),
    )
    return sealed(plan)


def unwrapped(given: dict[str, Any]) -> dict[str, Any]:
    """A node specification without its optional wrapper."""
    for wrapper in ("statefulNode", "node"):
        if set(given) == {wrapper}:
            inner = given[wrapper]
            return dict(inner) if inner else {}
    return given


def _case(inputs: Inputs, options: ImportOptions, extensions: frozenset[str]) -> Case:
    return Case(
        facts=inputs.facts,
        us=inputs.us,
        object_goes=options.object_goes,
        reattach=options.disks is DiskSource.REATTACH,
        spot=options.priority is Priority.SPOT,
        convert_unmanaged=options.convert_unmanaged_disks,
        accepted=frozenset(options.accept),
        recreated_extensions=extensions,
    )


def _cards(given: dict[str, Any], configuration: dict[str, Any], spec: NodeSpec, facts: Facts) -> tuple[CardWish, ...]:
    """Wishes for cards, none where the specification says what the machine has: its own cards are copied exactly."""
    launch = spec.compute.launch_specification if spec.compute else None
    if launch is None or launch.network is None:
        return ()
    asked = given["compute"]["launchSpecification"]["network"]
    own = configuration["compute"]["launchSpecification"].get("network")
    return () if asked == own else card_wishes(launch.network, facts)


def _without_own_network(node: dict[str, Any], cards: tuple[CardWish, ...]) -> dict[str, Any]:
    """The stored node may show the machine's own network; it is checked only where the client asked for another."""
    if cards:
        return node
    launch = {k: v for k, v in node["compute"].get("launchSpecification", {}).items() if k != "network"}
    return {**node, "compute": {**node["compute"], "launchSpecification": launch}}


def _require_place(spec: NodeSpec, facts: Facts) -> None:
    location = str(facts.machine.body["location"])
    if spec.region and spec.region.replace(" ", "").lower() != location.replace(" ", "").lower():
        raise NotSupportedYet(field="region", problem=f"an import stays in the machine's region {location}")
    zones = spec.compute.zones if spec.compute else None
    own = [str(zone) for zone in facts.machine.body.get("zones") or []]
    if zones and sorted(zones) != sorted(own):
        stays = f"zone {own[0]}" if own else "no zone"
        raise NotSupportedYet(field="compute.zones", problem=f"an import stays where the disks are ({stays})")
    os = str(facts.machine.get("properties.storageProfile.osDisk.osType", "Linux"))
    if spec.compute and spec.compute.os and spec.compute.os != os:
        raise NotSupportedYet(field="compute.os", problem=f"the machine runs {os}")


def _successor_name(spec: NodeSpec, facts: Facts, options: ImportOptions, seed: str) -> str:
    launch = spec.compute.launch_specification if spec.compute else None
    if launch and launch.vm_name:
        return launch.vm_name
    if launch and launch.vm_name_prefix:
        return f"{launch.vm_name_prefix}-{seed}"
    if options.object_goes:
        return facts.machine.name
    return f"{facts.machine.name[:57]}-{seed}"


def _tags(spec: NodeSpec) -> dict[str, str]:
    launch = spec.compute.launch_specification if spec.compute else None
    return {tag.tag_key: tag.tag_value for tag in (launch.tags if launch else None) or []}


def _losses(facts: Facts) -> tuple[str, ...]:
    """What would not be as before if the original's object had to be made again."""
    return tuple(loss.text for document in (facts.machine, *facts.extensions) for loss in lost(document))


def _about_proof(facts: Facts, options: ImportOptions) -> Iterator[Finding]:
    agent_will_tell = facts.agent is Agent.READY or (facts.power is not Power.RUNNING and _has_agent(facts))
    if options.probes or agent_will_tell:
        return
    text = "Neither a guest agent nor a probe can prove the new machine: only its power state will."
    severity = Severity.WARNING if WEAK_PROOF in options.accept else Severity.REFUSAL
    remedy = f"Give --probe tcp://:22 or http://:8080/health, or accept with --accept {WEAK_PROOF}."
    yield Finding(WEAK_PROOF, severity, text, remedy, "probe")


def _has_agent(facts: Facts) -> bool:
    """A machine that is off shows no agent; whether it was provisioned with one stands in its osProfile."""
    profile = facts.machine.get("properties.osProfile", {})
    system = profile.get("linuxConfiguration") or profile.get("windowsConfiguration") or {}
    return bool(profile) and system.get("provisionVMAgent", True) is not False


def _about_names(inputs: Inputs, options: ImportOptions, succession: Succession) -> Iterator[Finding]:
    """Names without the seed could be somebody's already; the machine's own name is free once its object goes."""
    own = inputs.facts.machine.ref
    plain = [succession.machine.ref]
    plain += [disk.ref for role, disk in succession.disks.items() if role == "os-disk"]
    for ref in plain:
        free_by_then = same_ref(ref, own) and options.object_goes
        if not free_by_then and inputs.exists(ref):
            yield Finding(
                "NAME_TAKEN",
                Severity.REFUSAL,
                f"There is a {ref.split('/')[-2].removesuffix('s')} {ref.rsplit('/', 1)[-1]} already.",
                "Choose another compute.launchSpecification.vmName or resourceGroupName, or rename what is there.",
                "compute.launchSpecification.vmName",
            )


def _about_markets(sizing: Sizing, spec: NodeSpec, options: ImportOptions) -> Iterator[Finding]:
    has_spot = any(market.spot for market in sizing.markets)
    if not sizing.markets:
        yield Finding(
            "NO_MARKET",
            Severity.REFUSAL,
            f"No size can run this machine. Nearest: {sizing.nearest}",
            "Widen compute.vmSizes, or see the unsupported sizes of the plan for what each lacks.",
            "compute.vmSizes",
        )
    elif options.priority is Priority.SPOT and not has_spot:
        yield Finding(
            "NO_SPOT_MARKET",
            Severity.WARNING,
            f"No spot size can run this machine, so it will run on-demand. Nearest: {sizing.nearest}",
            "Widen compute.vmSizes, or see the unsupported sizes of the plan.",
            "compute.vmSizes",
        )
    elif _falls_back(spec, options) and not sizing.quota_notes and all(market.spot for market in sizing.markets):
        yield Finding(
            "NO_FALLBACK",
            Severity.WARNING,
            "No on-demand size can run this machine: without spot capacity the import will fail and be reverted.",
            "Name a size that qualifies in compute.vmSizes.odSizes, or say strategy.fallbackToOd false.",
            "compute.vmSizes.odSizes",
        )
    for text in sizing.quota_notes:
        yield Finding("QUOTA", Severity.WARNING, text, "Raise the quota before the import.", "quota")


def _falls_back(spec: NodeSpec, options: ImportOptions) -> bool:
    wanted = spec.strategy is None or spec.strategy.fallback_to_od is not False
    return options.priority is Priority.SPOT and wanted


def _about_permissions(inputs: Inputs) -> Iterator[Finding]:
    if inputs.missing_permissions:
        yield Finding(
            "PERMISSION_MISSING",
            Severity.REFUSAL,
            f"The credential may not: {', '.join(inputs.missing_permissions)}.",
            "Grant these actions at the resource group and plan again.",
            "permissions",
        )


def _nothing(facts: Facts) -> Succession:
    """For machines that are refused before anything could be composed."""
    return Succession(machine=facts.machine, early={}, final={}, disks={}, public_ips={}, nics={})
