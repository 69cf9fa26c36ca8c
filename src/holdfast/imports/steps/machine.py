"""The successor: launched at the first market that has capacity, and proven before anything is given up for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from holdfast.clouds.azure.succession import at_market, with_pools, without_pools
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.documents import Document, same_ref
from holdfast.clouds.errors import CloudError, NoCapacity, QuotaExceeded
from holdfast.clouds.protocols import Agent, Facts, Power, Probe
from holdfast.core.errors import HoldfastError, Retry
from holdfast.engine import NotYet
from holdfast.imports.options import NetworkSource
from holdfast.imports.plan import ImportPlan, LaunchMarket
from holdfast.imports.records import Launched
from holdfast.imports.steps.case import Case, StepCall, cloud_of, ensure_made, plan_of_case, remove_made, tagged
from holdfast.imports.steps.originals import require_original_off
from holdfast.market.observing.recording import Market, launch_answered, region_of_location

__all__ = ["Proof", "ProofFailed", "addresses_of", "dissolve_machine", "join_pools", "launch_machine",
           "leave_pools_again", "machine_runs", "prove_machine", "recreate_extensions", "require_proof"]  # fmt: skip


class ProofFailed(HoldfastError):
    """The new machine did not hold."""

    code, retry = "import.proof_failed", Retry.AFTER_CHANGE
    text = "The machine {name} could not be proven: {problem}."
    remedy = "The original was given back. Find out why it does not come up on its copy, then import again."


@dataclass(frozen=True)
class Proof:
    """When the machine was proven, and its addresses then."""

    at: datetime
    private_ip: str | None
    public_ip: str | None


def launch_machine(call: StepCall, market: LaunchMarket, case: Case) -> Launched:
    """Launch the new machine"""
    plan = plan_of_case(call, case)
    require_original_off(call, case, plan)
    call.progress(None, str(market))
    machine = at_market(plan.succession.machine, market.size, market.zone, market.spot)
    try:
        made = ensure_made(call, case, "machine", machine)
    except (NoCapacity, QuotaExceeded) as refusal:
        _note_answer(call, case, plan, market, refusal)
        raise
    _note_answer(call, case, plan, market, None)
    return Launched(
        ref=made.ref,
        identity=made.identity,
        name=made.name,
        size=market.size,
        zone=market.zone,
        spot=market.spot,
        launched_at=call.clock.now(),
    )


def _note_answer(
    call: StepCall, case: Case, plan: ImportPlan, market: LaunchMarket, refusal: CloudError | None
) -> None:
    """What the market answered, for its history; never fails the launch."""
    region = region_of_location(plan.location)
    asked = Market(case.cloud, region, market.size, market.zone, market.spot)
    code = None if refusal is None else str(refusal.details.get("cloud_code") or refusal.code)
    launch_answered(call.services.database, asked, call.clock.now(), call.key, code)


def dissolve_machine(call: StepCall, market: LaunchMarket, case: Case) -> None:
    """Delete the new machine and keep its parts"""
    remove_made(call, case, "machine")


def machine_runs(call: StepCall, case: Case, launched: Launched) -> datetime:
    """Wait until the new machine runs"""
    power, _ = cloud_of(call, case).power_of(launched.ref)
    if power is Power.RUNNING:
        return call.clock.now()
    if power in (Power.STOPPED, Power.DEALLOCATED):
        raise ProofFailed(name=launched.name, problem=f"it is {power.value} right after its launch")
    raise NotYet(f"it is {power.value}")


def prove_machine(call: StepCall, case: Case, launched: Launched, since: datetime) -> Proof:
    """Prove the new machine"""
    plan, cloud = plan_of_case(call, case), cloud_of(call, case)
    agent_counts = plan.facts.agent is Agent.READY or plan.facts.power is not Power.RUNNING
    require_proof(call, case, plan, launched.ref, launched.name, since, agent_counts=agent_counts)
    require_original_off(call, case, plan)
    private_ip, public_ip = addresses_of(cloud.describe(launched.ref))
    return Proof(call.clock.now(), private_ip, public_ip)


def require_proof(
    call: StepCall, case: Case, plan: ImportPlan, ref: str, name: str, since: datetime, *, agent_counts: bool
) -> None:
    """Running for `prove_for`, agent ready where it counts, every probe passes. Raises NotYet or ProofFailed."""
    cloud = cloud_of(call, case)
    power, agent = cloud.power_of(ref)
    if power in (Power.STOPPED, Power.DEALLOCATED):
        raise ProofFailed(name=name, problem=f"it became {power.value} while it was being proven")
    if power is not Power.RUNNING:
        raise NotYet(f"it is {power.value}")
    if agent_counts and agent is not Agent.READY and not _agent_excused(plan, agent):
        raise NotYet(f"its guest agent is {agent.value}")
    for url in plan.options.probes:
        answer = cloud.probe(ref, Probe(url))
        if not answer.passed:
            raise NotYet(f"{url}: {answer.detail}")
    ran_s = (call.clock.now() - since).total_seconds()
    if ran_s < plan.options.prove_for_s:
        raise NotYet(f"running for {int(ran_s)} of {plan.options.prove_for_s} s")


def join_pools(call: StepCall, case: Case) -> None:
    """Put the new machine into the load-balancer pools"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for nic, ref in _cards(plan):
        if pools_of(nic) and (now := cloud.read(ref, nic.api_version)) is not None:
            cloud.write(call, with_pools(now, nic))


def leave_pools_again(call: StepCall, case: Case) -> None:
    """Take the new machine out of the load-balancer pools"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for nic, ref in _cards(plan):
        now = cloud.read(ref, nic.api_version) if pools_of(nic) else None
        if now is not None and pools_of(now):
            cloud.write(call, without_pools(now))


def recreate_extensions(call: StepCall, case: Case) -> None:
    """Create the extensions that were asked for"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for document in plan.extensions:
        call.progress(None, document.name)
        cloud.ensure(call, tagged(call, case.operation, f"extension/{document.name}", document))


def addresses_of(facts: Facts) -> tuple[str | None, str | None]:
    """(private, public) of the primary card's primary configuration."""
    if not facts.nics:
        return None, None
    configurations = facts.nics[0].get("properties.ipConfigurations", [])
    first = next((c for c in configurations if c["properties"].get("primary")), configurations[0])["properties"]
    wanted = (first.get("publicIPAddress") or {}).get("id")
    public = next((a.get("properties.ipAddress") for a in facts.public_ips if same_ref(a.ref, wanted)), None)
    return first.get("privateIPAddress"), public


def _cards(plan: ImportPlan) -> list[tuple[Document, str]]:
    """(the original's card, id of the successor's card), primary first."""
    if plan.options.network is NetworkSource.KEEP:
        return [(nic, nic.ref) for nic in plan.facts.nics]
    return list(zip(plan.facts.nics, (nic.ref for nic in plan.succession.nics.values()), strict=False))


def _agent_excused(plan: ImportPlan, agent: Agent) -> bool:
    """A machine that came off may have no agent at all; then probes, or the accepted weak proof, must do."""
    return plan.facts.power is not Power.RUNNING and agent is Agent.ABSENT and _no_agent_known(plan)


def _no_agent_known(plan: ImportPlan) -> bool:
    profile = plan.facts.machine.get("properties.osProfile", {})
    system = profile.get("linuxConfiguration") or profile.get("windowsConfiguration") or {}
    return not profile or system.get("provisionVMAgent", True) is False
