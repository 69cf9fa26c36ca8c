"""beginGetAccess and endGetAccess of disks and snapshots: SAS URLs of the data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import bad_request, conflict, invalid_parameter
from azurelab.arm.types import Lro, Verb
from azurelab.compute.disk_documents import state_of
from azurelab.compute.services import disks_of
from azurelab.disks.vhd import FooterInvalid

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["begin_access", "end_access", "refuse_open"]

# The vendor's "Create an incremental snapshot": five SAS URLs at a time per family.
_MOST_PER_FAMILY = 5
_LONGEST_S = 4_294_967_295


def refuse_open(ctx: Context, volume: str, name: str, noun: str, doing: str) -> None:
    """A disk that somebody may be reading or filling through a SAS cannot be attached, resized or deleted."""
    if disks_of(ctx.lab).grants.active(volume) is not None:
        raise conflict(
            "OperationNotAllowed",
            f"There is an active shared access signature outstanding for {noun} {name}. Call EndGetAccess before "
            f"{doing} the {noun}.",
        )


def begin_access(bucket: str, noun: str) -> Verb:
    def prepare(ctx: Context) -> None:
        body = ctx.body if isinstance(ctx.body, dict) else {}
        found, access = ctx.resource, str(body.get("access", ""))
        if access.lower() not in ("read", "write", "none"):
            raise invalid_parameter("access", f"The value '{access}' of parameter 'access' is not allowed.")
        duration = body.get("durationInSeconds")
        if isinstance(duration, bool) or not isinstance(duration, int) or not 0 < duration <= _LONGEST_S:
            raise invalid_parameter(
                "durationInSeconds", f"The value '{duration}' of parameter 'durationInSeconds' is out of range."
            )
        if body.get("getSecureVMGuestStateSAS") and "securityProfile" not in found.properties:
            raise bad_request("BadRequest", f"The {noun} {ctx.id.name} has no security profile.")
        _refuse(ctx, noun, access.lower())
        ctx.memo["access"] = "Write" if access.lower() == "write" else "Read"
        ctx.memo["duration_s"] = duration

    def run(ctx: Context) -> None:
        found = ctx.resource
        properties = found.properties
        grant = disks_of(ctx.lab).grants.open(
            str(found.hidden["volume"]),
            ctx.memo["access"],
            float(ctx.memo["duration_s"]),
            family=properties.get("incrementalSnapshotFamilyId") if properties.get("incremental") else None,
            taken_at=float(found.hidden.get("taken_at", 0.0)),
        )
        if ctx.memo["access"] == "Write":
            with ctx.edit() as disk:
                disk.hidden["upload"] = "active"
        ctx.memo["sas"] = f"{ctx.lab.http_url}/{grant.path_and_query}"

    def result(ctx: Context) -> Any:
        return {"accessSAS": ctx.memo["sas"]}

    return Verb(
        existing=202,
        lro=Lro.BOTH,
        seconds=0.3,
        bucket=bucket,
        prepare=prepare,
        run=run,
        result=result,
        empty=True,
        quick=True,
    )


def _refuse(ctx: Context, noun: str, access: str) -> None:
    found = ctx.resource
    policy = str(found.properties.get("networkAccessPolicy", "AllowAll")).lower()
    if policy == "denyall":
        raise conflict("OperationNotAllowed", f"The network access policy of {noun} {ctx.id.name} denies export.")
    upload = found.hidden.get("upload")
    if access == "write" and upload not in ("ready", "active"):
        raise conflict(
            "OperationNotAllowed",
            f"Write access is only given to a disk that was created with the Upload option and was not attached or "
            f"revoked since; {noun} {ctx.id.name} is in state {state_of(ctx, found)}.",
        )
    if access != "write" and upload in ("ready", "active"):
        raise conflict(
            "OperationNotAllowed", f"Disk {ctx.id.name} is in state {state_of(ctx, found)}: end its upload first."
        )
    if state_of(ctx, found) == "Attached":
        raise conflict(
            "OperationNotAllowed",
            f"Cannot grant access to disk {ctx.id.name}: it is attached to running VM '{found.doc['managedBy']}'.",
        )
    family = found.properties.get("incrementalSnapshotFamilyId") if found.properties.get("incremental") else None
    if family is not None:
        others = [
            g for g in disks_of(ctx.lab).grants.active_in_family(family) if g.volume != found.hidden.get("volume")
        ]
        if len(others) >= _MOST_PER_FAMILY:
            raise conflict(
                "OperationNotAllowed",
                f"At most {_MOST_PER_FAMILY} snapshots of the same incremental snapshot family can have a shared "
                f"access signature at the same time.",
            )


def end_access(bucket: str) -> Verb:
    def prepare(ctx: Context) -> None:
        if ctx.resource.hidden.get("upload") != "active":
            return
        service = disks_of(ctx.lab)
        try:
            service.seal_upload(str(ctx.resource.hidden["volume"]))
        except FooterInvalid as exc:
            raise bad_request(
                "BadRequest", f"The uploaded content of disk {ctx.id.name} is not a fixed VHD: {exc}."
            ) from exc

    def run(ctx: Context) -> None:
        disks_of(ctx.lab).grants.close(str(ctx.resource.hidden["volume"]))
        if ctx.resource.hidden.get("upload") == "active":
            with ctx.edit() as disk:
                disk.hidden["upload"] = "done"

    return Verb(
        existing=202, lro=Lro.BOTH, seconds=0.2, bucket=bucket, prepare=prepare, run=run, empty=True, quick=True
    )
