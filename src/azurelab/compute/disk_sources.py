"""Where a new disk or snapshot gets its bytes: `creationData`, checked and made whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from azurelab.arm.errors import ArmError, bad_request, conflict, invalid_parameter, not_found
from azurelab.arm.ids import parse_id
from azurelab.arm.store import Resource, clone
from azurelab.compute.disk_sizes import GIB, LARGEST_GIB, size_gib
from azurelab.compute.marketplace import image_of_reference
from azurelab.compute.services import DISK_TYPE, SNAPSHOT_TYPE, disks_of
from azurelab.disks.blob.errors import BlobError

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["Origin", "absolute_id", "origin_of"]

# The smallest and the largest upload, footer included: the vendor's "Upload a VHD to Azure".
_LEAST_UPLOAD_BYTES = 20_972_032
_MOST_UPLOAD_BYTES = 35_183_298_347_520


@dataclass(frozen=True)
class Origin:
    """`volume`: clone or snapshot this one; None: empty. `image`: clone this marketplace image's volume, if built."""

    size_bytes: int
    volume: str | None = None
    image: str | None = None
    source: Resource | None = None


def absolute_id(text: str) -> str:
    """Ids arrive without their leading slash too (recorded)."""
    return text if text.startswith("/") else f"/{text}"


def origin_of(ctx: Context, noun: str) -> Origin:
    """Check `creationData` of the new `ctx.resource`, complete it, and say where the bytes come from.

    `noun` is disk or snapshot, as Azure's parameter names start. Raises ArmError.
    """
    properties = ctx.resource.properties
    data = properties["creationData"]
    option = str(data["createOption"])
    wanted = _wanted_bytes(properties, noun)
    if option.lower() == "empty":
        if wanted is None:
            raise invalid_parameter(f"{noun}.diskSizeGb", f"Required parameter '{noun}.diskSizeGb' is missing (null).")
        return Origin(wanted)
    if option.lower() in ("copy", "restore", "copystart"):
        return _copy(ctx, noun, data, wanted)
    if option.lower() == "upload":
        return _upload(ctx, noun, data, wanted)
    if option.lower() == "fromimage":
        return _from_image(ctx, data, wanted)
    if option.lower() == "import":
        return _import(ctx, data, wanted)
    raise invalid_parameter(
        f"{noun}.creationData.createOption", f"The value '{option}' of createOption is not supported here."
    )


def _wanted_bytes(properties: dict[str, Any], noun: str) -> int | None:
    gib = properties.get("diskSizeGB")
    if gib is None:
        return None
    if not 1 <= gib <= LARGEST_GIB:
        raise invalid_parameter(
            f"{noun}.diskSizeGb",
            f"The value '{gib}' of parameter '{noun}.diskSizeGb' is out of range. Value must be between '1' and "
            f"'{LARGEST_GIB}' inclusive.",
        )
    return int(gib) * GIB


def _copy(ctx: Context, noun: str, data: dict[str, Any], wanted: int | None) -> Origin:
    named = data.get("sourceResourceId") or data.get("sourceUri")
    if not named:
        raise invalid_parameter(
            f"{noun}.creationData.sourceResourceId",
            f"Required parameter '{noun}.creationData.sourceResourceId' is missing (null).",
        )
    source_id = absolute_id(str(named))
    parsed = parse_id(source_id)
    if parsed is None or parsed.type.lower() not in (DISK_TYPE.lower(), SNAPSHOT_TYPE.lower()):
        raise invalid_parameter(
            f"{noun}.creationData.sourceResourceId",
            f"The value '{named}' of parameter sourceResourceId is not a disk or snapshot.",
        )
    source = ctx.store.get(source_id)
    if source is None or "volume" not in source.hidden:
        raise not_found(parsed.named(), parsed.group)
    if source.location != ctx.resource.location and str(data["createOption"]).lower() != "copystart":
        raise bad_request("BadRequest", f"The source {parsed.name} does not belong to the same region as the {noun}.")
    if source.hidden.get("upload") in ("ready", "active"):
        raise conflict("OperationNotAllowed", f"Disk '{source.name}' cannot be copied before its upload has ended.")
    data.pop("sourceUri", None)
    data["sourceResourceId"] = source_id
    data["sourceUniqueId"] = source.properties["uniqueId"]
    for word in ("osType", "hyperVGeneration", "purchasePlan", "supportedCapabilities", "securityProfile"):
        if word in source.properties and word not in ctx.resource.properties:
            ctx.resource.properties[word] = clone(source.properties[word])
    size_bytes = int(source.properties["diskSizeBytes"])
    return Origin(_at_least(noun, size_bytes, wanted), volume=str(source.hidden["volume"]), source=source)


def _at_least(noun: str, size_bytes: int, wanted: int | None) -> int:
    """A copy keeps the source's exact size unless a larger number of GiB is asked for."""
    if wanted is None or wanted == size_gib(size_bytes) * GIB:
        return size_bytes
    if wanted < size_bytes:
        raise bad_request(
            "BadRequest",
            f"The requested size of {wanted // GIB} GB of the {noun} is smaller than its source, which has "
            f"{size_gib(size_bytes)} GB.",
        )
    return wanted


def _upload(ctx: Context, noun: str, data: dict[str, Any], wanted: int | None) -> Origin:
    size = data.get("uploadSizeBytes")
    target = f"{noun}.creationData.uploadSizeBytes"
    if size is None and wanted is not None and ctx.api_version < "2019-03-01":
        return Origin(wanted)  # before uploadSizeBytes there was diskSizeGB (recorded)
    if size is None:
        raise invalid_parameter(target, f"Required parameter '{target}' is missing (null).")
    if isinstance(size, bool) or not isinstance(size, int) or not _LEAST_UPLOAD_BYTES <= size <= _MOST_UPLOAD_BYTES:
        raise invalid_parameter(
            target,
            f"The value '{size}' of parameter '{target}' is out of range. Value must be between "
            f"'{_LEAST_UPLOAD_BYTES}' and '{_MOST_UPLOAD_BYTES}' inclusive.",
        )
    if size % 512:
        raise invalid_parameter(target, f"The value '{size}' of parameter '{target}' must be a multiple of 512.")
    return Origin(size - 512)


def _from_image(ctx: Context, data: dict[str, Any], wanted: int | None) -> Origin:
    reference = data.get("imageReference") or data.get("galleryImageReference")
    if not isinstance(reference, dict):
        raise invalid_parameter(
            "disk.creationData.imageReference",
            "Required parameter 'disk.creationData.imageReference' is missing (null).",
        )
    image = image_of_reference(ctx.lab, reference, ctx.resource.location)
    lun = reference.get("lun")
    if lun is not None:
        raise bad_request("BadRequest", f"The image has no data disk with LUN {lun}.")
    ctx.resource.properties.setdefault("osType", image.os_type)
    ctx.resource.properties.setdefault("hyperVGeneration", image.hyper_v_generation)
    size_bytes = _at_least("disk", image.size_gib * GIB, wanted)
    return Origin(size_bytes, image=image.guest_image)


def _import(ctx: Context, data: dict[str, Any], wanted: int | None) -> Origin:
    """From a blob of this lab (a SAS URL). Nothing outside is ever fetched."""
    uri = data.get("sourceUri")
    if not uri:
        raise invalid_parameter(
            "disk.creationData.sourceUri", "Required parameter 'disk.creationData.sourceUri' is missing (null)."
        )
    parts = urlsplit(str(uri))
    words = unquote(parts.path).strip("/").split("/")
    query = parse_qs(parts.query)
    if len(words) == 3:
        try:
            grant = disks_of(ctx.lab).grants.authorize(
                words[0], words[1], query.get("si", [""])[0], query.get("sig", [""])[0]
            )
        except BlobError as exc:
            raise _foreign(uri) from exc
        volume = disks_of(ctx.lab).store.get(grant.volume)
        return Origin(_at_least("disk", volume.size_bytes, wanted), volume=volume.id)
    raise _foreign(uri)


def _foreign(uri: object) -> ArmError:
    """Azure's own words for a blob that the region cannot reach (recorded); a lab reaches no storage account."""
    blob = str(uri).split("?")[0]
    return bad_request("BadRequest", f"The source blob {blob} does not belong to the same region as the disk.")
