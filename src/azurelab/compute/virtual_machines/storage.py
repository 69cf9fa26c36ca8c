"""A machine's disks: made, taken, kept and given back, as the storage profile of a PUT or PATCH says.

Runs in `prepare`, under the store's lock: a disk is taken (`managedBy`) in the same transaction in which the machine's
document names it, so two machines can never hold one disk. Disks that leave are listed in `Changes`; they are freed by
`free_disk` only after the guest let go of them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import bad_request, conflict, invalid_parameter
from azurelab.arm.ids import parse_id
from azurelab.arm.store import Resource, clone
from azurelab.compute.access import refuse_open
from azurelab.compute.disk_documents import restate
from azurelab.compute.disk_sizes import GIB, size_gib
from azurelab.compute.disk_sources import absolute_id
from azurelab.compute.marketplace import image_id, image_of_reference, refuse_foreign_gallery
from azurelab.compute.services import DISK_TYPE, IMAGE_TYPE, disks_of
from azurelab.compute.virtual_machines.rules import Shape, check_disk_fits

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["Changes", "free_disk", "free_unnamed", "held_disks", "settle_storage"]


@dataclass
class Changes:
    """What remains to be done outside the lock; JSON, so that it survives a kill in the operation's memo.

    `volumes`: to be made: id, size, source or None. `attached` / `detached`: (lun, disk id), lun −1 is the OS disk.
    """

    volumes: list[dict[str, Any]] = field(default_factory=list)
    attached: list[list[Any]] = field(default_factory=list)
    detached: list[list[Any]] = field(default_factory=list)
    grown: list[list[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    """Where the OS disk of a new machine comes from. `volumes`: of a managed image, by 'os' or LUN."""

    size_bytes: int
    os_type: str
    generation: str
    creation: dict[str, Any]
    volumes: dict[str, str]
    sizes: dict[str, int]


def held_disks(vm: Resource) -> list[tuple[int, str]]:
    """(lun, disk id) of every managed disk that the document names; −1 is the OS disk."""
    profile = vm.properties.get("storageProfile") or {}
    found = []
    os_disk = profile.get("osDisk") or {}
    os_id = (os_disk.get("managedDisk") or {}).get("id")
    if os_id and not (os_disk.get("diffDiskSettings") or {}).get("option"):
        found.append((-1, os_id))
    for disk in profile.get("dataDisks") or ():
        disk_id = (disk.get("managedDisk") or {}).get("id")
        if disk_id:
            found.append((int(disk["lun"]), disk_id))
    return found


def settle_storage(ctx: Context, shape: Shape) -> Changes:
    """Make `ctx.resource`'s storage profile whole and take the disks that it names."""
    changes = Changes()
    profile = ctx.resource.properties.setdefault("storageProfile", {})
    source = None
    if ctx.is_new:
        source = _settle_new_os(ctx, shape, profile, changes)
    else:
        _settle_kept_os(ctx, shape, profile, changes)
    _settle_data(ctx, shape, profile, source, changes)
    return changes


# -- the OS disk ------------------------------------------------------------------------------------------------------


def _settle_new_os(ctx: Context, shape: Shape, profile: dict[str, Any], changes: Changes) -> _Source | None:
    os_disk = profile.get("osDisk")
    if not isinstance(os_disk, dict):
        if not isinstance(profile.get("imageReference"), dict):
            raise invalid_parameter("osDisk", "Required parameter 'osDisk' is missing (null).")
        os_disk = {"createOption": "FromImage"}
    option = str(os_disk.get("createOption") or "FromImage").lower()
    os_disk["createOption"] = {"attach": "Attach", "fromimage": "FromImage"}.get(option, "")
    if option == "attach":
        if profile.get("imageReference"):
            raise invalid_parameter(
                "osDisk",
                "Cannot attach an existing OS disk if the VM is created from a platform, user or a shared gallery "
                "image.",
            )
        if ctx.resource.properties.get("osProfile") is not None:
            raise invalid_parameter("osProfile", "Parameter 'osProfile' is not allowed.")
        if os_disk.get("vhd"):
            profile["osDisk"] = _unmanaged(ctx, os_disk, os_disk.get("osType") or "Linux", 30, changes)
            return None
        disk = _take(ctx, shape, os_disk, "osDisk", -1, changes)
        os_type = os_disk.get("osType") or disk.properties.get("osType")
        if not os_type:
            raise invalid_parameter("osDisk.osType", "Required parameter 'osDisk.osType' is missing (null).")
        profile["osDisk"] = {"osType": os_type, **_entry(os_disk, disk, "Attach", "ReadWrite")}
        if "osType" not in disk.properties:
            with ctx.edit(disk.id) as r:
                r.properties["osType"] = os_type
        return None
    if option != "fromimage":
        raise invalid_parameter(
            "osDisk.createOption", f"The value '{os_disk.get('createOption')}' of osDisk.createOption is not allowed."
        )
    reference = profile.get("imageReference")
    if not isinstance(reference, dict):
        raise invalid_parameter("imageReference", "Required parameter 'imageReference' is missing (null).")
    source = _image(ctx, reference)
    wanted = os_disk.get("diskSizeGB")
    size_bytes = source.size_bytes if wanted is None else int(wanted) * GIB
    if size_bytes < source.size_bytes and size_gib(source.size_bytes) * GIB != size_bytes:
        raise invalid_parameter(
            "osDisk.diskSizeGB",
            f"The specified disk size {wanted} GB is smaller than the size of the corresponding disk in the VM image: "
            f"{size_gib(source.size_bytes)} GB. This is not allowed. Please choose equal or greater size or do not "
            f"specify an explicit size.",
        )
    size_bytes = max(size_bytes, source.size_bytes)
    if os_disk.get("vhd") or (os_disk.get("diffDiskSettings") or {}).get("option"):
        if (os_disk.get("diffDiskSettings") or {}).get("option"):
            os_disk.setdefault("caching", "ReadOnly")
        profile["osDisk"] = _unmanaged(ctx, os_disk, source.os_type, size_gib(size_bytes), changes, source)
        return source
    unique_id = str(uuid.uuid4())
    name = str(os_disk.get("name") or f"{ctx.id.name}_OsDisk_1_{unique_id.replace('-', '')}")
    disk = _make(
        ctx, shape, name, unique_id, size_bytes, source.creation, os_disk, source.volumes.get("os"), changes,
        osType=source.os_type, hyperVGeneration=source.generation,
    )  # fmt: skip
    changes.attached.append([-1, disk.id])
    profile["osDisk"] = {"osType": source.os_type, **_entry(os_disk, disk, "FromImage", "ReadWrite")}
    return source


def _unmanaged(
    ctx: Context, os_disk: dict[str, Any], os_type: str, gib: int, changes: Changes, source: _Source | None = None
) -> dict[str, Any]:
    """An ephemeral or unmanaged OS disk: bytes that belong to the machine and that no disk resource names."""
    volume = str(uuid.uuid4())
    ctx.resource.hidden["os_volume"] = volume
    changes.volumes.append(
        {"id": volume, "size": gib * GIB, "source": source.volumes.get("os") if source is not None else None}
    )
    entry = {"osType": os_type, **os_disk, "diskSizeGB": gib}
    entry.setdefault("name", f"{ctx.id.name}_OsDisk_1_{volume.replace('-', '')}")
    entry.setdefault("caching", "ReadWrite")
    if os_disk.get("vhd"):
        entry.pop("managedDisk", None)
        return entry
    account = (os_disk.get("managedDisk") or {}).get("storageAccountType") or "Standard_LRS"
    # An id that names no disk: the document carries one (recorded), and nobody can open it.
    disk_id = f"{ctx.id.scope}/providers/{DISK_TYPE}/{entry['name']}"
    entry["managedDisk"] = {"storageAccountType": account, "id": disk_id}
    return entry


def _settle_kept_os(ctx: Context, shape: Shape, profile: dict[str, Any], changes: Changes) -> None:
    """An existing machine: the same OS disk, or another one swapped in (recorded: `createOption` stays as it was)."""
    assert ctx.before is not None
    had = (ctx.before.properties.get("storageProfile") or {}).get("osDisk") or {}
    asked = profile.get("osDisk") or clone(had)
    profile["osDisk"] = asked
    had_id = (had.get("managedDisk") or {}).get("id", "")
    asked_id = absolute_id(str((asked.get("managedDisk") or {}).get("id") or had_id)) if had_id else ""
    if asked_id.lower() != had_id.lower():
        asked = {**asked, "managedDisk": {"id": asked_id}}
        disk = _take(ctx, shape, asked, "osDisk", -1, changes)
        changes.detached.append([-1, had_id])
        had_type, new_type = had.get("osType"), disk.properties.get("osType")
        if new_type is not None and new_type != had_type:
            raise conflict(
                "OperationNotAllowed", f"The OS disk '{disk.name}' has the OS type {new_type}, not {had_type}."
            )
        profile["osDisk"] = {
            **{k: v for k, v in had.items() if k not in ("name", "managedDisk", "diskSizeGB")},
            **_entry(asked, disk, str(had.get("createOption", "Attach")), str(had.get("caching", "ReadWrite"))),
        }
        return
    if asked.get("name") and had.get("name") and str(asked["name"]).lower() != str(had["name"]).lower():
        raise conflict("PropertyChangeNotAllowed", "Changing property 'osDisk.name' is not allowed.", "osDisk.name")
    for word in ("name", "osType", "createOption"):
        if word in had:
            asked[word] = had[word]
    if had_id:
        asked["managedDisk"] = {**(had.get("managedDisk") or {}), **(asked.get("managedDisk") or {}), "id": had_id}
        if _grow(ctx, had_id, asked.get("diskSizeGB"), changes):
            asked["diskSizeGB"] = size_gib(int(ctx.get(had_id).properties["diskSizeBytes"]))


def _image(ctx: Context, reference: dict[str, Any]) -> _Source:
    refuse_foreign_gallery(reference)
    named = reference.get("id")
    parsed = parse_id(absolute_id(str(named))) if named else None
    if parsed is not None and parsed.type.lower() == IMAGE_TYPE.lower():
        image = ctx.get(absolute_id(str(named)))
        if image.location != ctx.resource.location:
            raise bad_request("BadRequest", f"The image '{image.id}' is not in the region of the VM.")
        os_disk = image.properties["storageProfile"]["osDisk"]
        volumes = {k: str(v) for k, v in image.hidden["volumes"].items()}
        store = disks_of(ctx.lab).store
        sizes = {k: store.get(v).size_bytes for k, v in volumes.items()}
        return _Source(
            sizes["os"],
            str(os_disk["osType"]),
            str(image.properties.get("hyperVGeneration", "V1")),
            {"createOption": "FromImage", "imageReference": {"id": image.id}},
            volumes,
            sizes,
        )
    found = image_of_reference(ctx.lab, reference, ctx.resource.location)
    if not named:
        reference["publisher"], reference["offer"] = reference["publisher"], reference["offer"]
        reference.setdefault("version", "latest")
        reference["exactVersion"] = found.version
    ctx.resource.hidden["os"] = list(found.os_name)
    assert ctx.id.subscription is not None
    creation = {
        "createOption": "FromImage",
        "imageReference": {"id": image_id(ctx.id.subscription, ctx.resource.location, found)},
    }
    volumes = {"os": found.guest_image} if found.guest_image is not None else {}
    return _Source(found.size_gib * GIB, found.os_type, found.hyper_v_generation, creation, volumes, {})


# -- data disks -------------------------------------------------------------------------------------------------------


def _settle_data(ctx: Context, shape: Shape, profile: dict[str, Any], source: _Source | None, changes: Changes) -> None:
    had = {}
    if ctx.before is not None:
        stored = (ctx.before.properties.get("storageProfile") or {}).get("dataDisks") or ()
        had = {int(d["lun"]): d for d in stored}
    asked = profile.get("dataDisks") or []
    if source is not None and ctx.is_new:
        given = {d.get("lun") for d in asked}
        asked = [
            *asked,
            *(
                {"lun": int(k), "createOption": "FromImage"}
                for k in source.volumes
                if k != "os" and int(k) not in given
            ),
        ]
    kept: list[dict[str, Any]] = []
    luns: set[int] = set()
    for disk in asked:
        lun = disk.get("lun") if isinstance(disk, dict) else None
        if isinstance(lun, bool) or not isinstance(lun, int) or not 0 <= lun < 64:
            raise invalid_parameter("dataDisk.lun", f"The value '{lun}' of parameter 'dataDisk.lun' is out of range.")
        if lun in luns:
            raise invalid_parameter("dataDisk.lun", f"A disk at LUN {lun} already exists.")
        luns.add(lun)
        if disk.get("toBeDetached"):
            continue  # stays in `had`, hence is given back below
        old = had.get(lun)
        if old is not None and _same(old, disk):
            kept.append(_kept(ctx, old, disk, changes))
            del had[lun]
        else:
            kept.append(_new_data(ctx, shape, disk, source, changes))
    if len(kept) > shape.max_data_disks:
        raise conflict(
            "OperationNotAllowed",
            f"The maximum number of data disks allowed to be attached to a VM of this size is {shape.max_data_disks}.",
            "dataDisks",
        )
    profile["dataDisks"] = kept  # in the order of the request (recorded)
    for lun, old in had.items():
        disk_id = (old.get("managedDisk") or {}).get("id")
        if disk_id:
            changes.detached.append([lun, disk_id])
        elif str(lun) not in {str(d["lun"]) for d in kept}:
            # An unmanaged disk that is given back is a blob again; its bytes here go with the next start of the lab.
            ctx.resource.hidden.get("data_volumes", {}).pop(str(lun), None)


def _same(old: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Does the body's entry mean the disk that is at this LUN already?"""
    asked_id = (asked.get("managedDisk") or {}).get("id")
    if asked_id is not None:
        return absolute_id(str(asked_id)).lower() == str((old.get("managedDisk") or {}).get("id", "")).lower()
    if asked.get("name") is not None:
        return str(asked["name"]).lower() == str(old.get("name", "")).lower()
    # Neither id nor name: the PUT that made the machine, sent again.
    return str(asked.get("createOption", "")).lower() == str(old.get("createOption", "")).lower()


def _kept(ctx: Context, old: dict[str, Any], asked: dict[str, Any], changes: Changes) -> dict[str, Any]:
    entry = {**clone(old), **{k: v for k, v in asked.items() if k not in ("name", "managedDisk", "createOption")}}
    disk_id = (old.get("managedDisk") or {}).get("id")
    if disk_id and _grow(ctx, disk_id, asked.get("diskSizeGB"), changes):
        entry["diskSizeGB"] = size_gib(int(ctx.get(disk_id).properties["diskSizeBytes"]))
    return entry


def _grow(ctx: Context, disk_id: str, gib: Any, changes: Changes) -> bool:
    """A larger diskSizeGB in the machine's document grows the disk itself."""
    disk = ctx.store.get(disk_id)
    if gib is None or disk is None or int(gib) <= size_gib(int(disk.properties["diskSizeBytes"])):
        return False
    with ctx.edit(disk_id) as r:
        r.properties["diskSizeBytes"] = int(gib) * GIB
        restate(r.doc, r.properties, snapshot=False)
    changes.grown.append([str(disk.hidden["volume"]), int(gib) * GIB])
    return True


def _new_data(
    ctx: Context, shape: Shape, asked: dict[str, Any], source: _Source | None, changes: Changes
) -> dict[str, Any]:
    lun = int(asked["lun"])
    option = str(asked.get("createOption") or "").lower()
    if option == "attach":
        disk = _take(ctx, shape, asked, "dataDisk", lun, changes)
        return {"lun": lun, **_entry(asked, disk, "Attach", "None"), "toBeDetached": False}
    if asked.get("vhd"):
        return _unmanaged_data(ctx, asked, lun, changes)
    unique_id = str(uuid.uuid4())
    name = str(asked.get("name") or f"{ctx.id.name}_disk{lun + 2}_{unique_id.replace('-', '')}")
    gib = asked.get("diskSizeGB")
    if option == "empty":
        if gib is None:
            raise invalid_parameter(
                "dataDisk.diskSizeGB", "Required parameter 'dataDisk.diskSizeGB' is missing (null)."
            )
        disk = _make(ctx, shape, name, unique_id, int(gib) * GIB, {"createOption": "Empty"}, asked, None, changes)
        changes.attached.append([lun, disk.id])
        return {"lun": lun, **_entry(asked, disk, "Empty", "None"), "toBeDetached": False}
    if option == "fromimage" and source is not None and str(lun) in source.volumes:
        size_bytes = max(source.sizes[str(lun)], int(gib or 0) * GIB)
        creation = {**clone(source.creation), "imageReference": {**source.creation["imageReference"], "lun": lun}}
        volume = source.volumes[str(lun)]
        disk = _make(ctx, shape, name, unique_id, size_bytes, creation, asked, volume, changes)
        changes.attached.append([lun, disk.id])
        return {"lun": lun, **_entry(asked, disk, "FromImage", "None"), "toBeDetached": False}
    if option in ("copy", "restore"):
        origin = ctx.get(absolute_id(str((asked.get("sourceResource") or {}).get("id", ""))))
        size_bytes = max(int(origin.properties["diskSizeBytes"]), int(gib or 0) * GIB)
        creation = {
            "createOption": option.capitalize(),
            "sourceResourceId": origin.id,
            "sourceUniqueId": origin.properties["uniqueId"],
        }
        volume = str(origin.hidden["volume"])
        disk = _make(ctx, shape, name, unique_id, size_bytes, creation, asked, volume, changes)
        changes.attached.append([lun, disk.id])
        return {"lun": lun, **_entry(asked, disk, option.capitalize(), "None"), "toBeDetached": False}
    raise invalid_parameter(
        "dataDisk.createOption",
        f"The value '{asked.get('createOption')}' of dataDisk.createOption is not allowed here.",
    )


def _unmanaged_data(ctx: Context, asked: dict[str, Any], lun: int, changes: Changes) -> dict[str, Any]:
    """Bytes that belong to the machine, as for an unmanaged OS disk; the named blob itself is not reached."""
    gib = int(asked.get("diskSizeGB") or 1)
    volume = str(uuid.uuid4())
    ctx.resource.hidden.setdefault("data_volumes", {})[str(lun)] = volume
    changes.volumes.append({"id": volume, "size": gib * GIB, "source": None})
    entry = {**clone(asked), "diskSizeGB": gib, "toBeDetached": False}
    entry.setdefault("name", f"{ctx.id.name}_disk{lun + 2}_{volume.replace('-', '')}")
    entry.setdefault("caching", "None")
    entry.pop("managedDisk", None)
    return entry


# -- single disks -----------------------------------------------------------------------------------------------------


def _entry(asked: dict[str, Any], disk: Resource, option: str, caching: str) -> dict[str, Any]:
    """What the machine's document says about a disk that it holds; unknown words of the client stay."""
    extra = {k: clone(v) for k, v in asked.items() if k not in ("osType", "lun", "sourceResource")}
    managed = {k: v for k, v in (asked.get("managedDisk") or {}).items() if k not in ("id", "storageAccountType")}
    return {
        **extra,
        "name": disk.name,
        "createOption": option,
        "caching": asked.get("caching") or caching,
        "managedDisk": {**managed, "storageAccountType": disk.doc["sku"]["name"], "id": disk.id},
        "deleteOption": asked.get("deleteOption") or "Detach",
        "diskSizeGB": disk.properties["diskSizeGB"],
    }


def _make(
    ctx: Context,
    shape: Shape,
    name: str,
    unique_id: str,
    size_bytes: int,
    creation: dict[str, Any],
    asked: dict[str, Any],
    volume: str | None,
    changes: Changes,
    **facts: str,
) -> Resource:
    """A disk resource that the machine makes for itself and holds from the start."""
    disk_id = f"{ctx.id.scope}/providers/{DISK_TYPE}/{name}"
    if ctx.store.get(disk_id) is not None:
        raise conflict(
            "ConflictingUserInput",
            f"Disk {name} already exists in resource group {ctx.id.group}. Only CreateOption.Attach is supported.",
            f"/subscriptions/{ctx.id.subscription}/resourceGroups/{ctx.id.group}/providers/{DISK_TYPE}/{name}",
        )
    account = (asked.get("managedDisk") or {}).get("storageAccountType")
    doc: dict[str, Any] = {
        "location": ctx.resource.location,
        "managedBy": ctx.resource.id,
        "sku": {"name": account or ("Premium_LRS" if shape.premium else "Standard_LRS")},
        "properties": {
            **facts,
            "creationData": creation,
            "timeCreated": ctx.timestamp(),
            "provisioningState": "Succeeded",
            "diskSizeBytes": size_bytes,
            "uniqueId": unique_id,
        },
    }
    if ctx.resource.doc.get("tags") is not None:
        doc["tags"] = {}
    if ctx.resource.doc.get("zones"):
        doc["zones"] = clone(ctx.resource.doc["zones"])
    for word in ("diskEncryptionSet", "securityProfile"):
        value = (asked.get("managedDisk") or {}).get(word)
        if word == "diskEncryptionSet" and value:
            doc["properties"]["encryption"] = {
                "type": "EncryptionAtRestWithCustomerKey",
                "diskEncryptionSetId": value.get("id"),
            }
    restate(doc, doc["properties"], snapshot=False)
    check_disk_fits(ctx.resource, shape, str(doc["sku"]["name"]), name)
    disk = ctx.create(disk_id, DISK_TYPE, doc, volume=unique_id)
    changes.volumes.append({"id": unique_id, "size": size_bytes, "source": volume})
    ctx.log("attached", disk.id, to=ctx.resource.id, what="disk")
    return disk


def _take(ctx: Context, shape: Shape, asked: dict[str, Any], what: str, lun: int, changes: Changes) -> Resource:
    """Hold an existing disk from now on. ArmError as Azure answers when it cannot be had."""
    named = (asked.get("managedDisk") or {}).get("id")
    if not named:
        raise invalid_parameter(
            f"{what}.managedDisk.id", f"Required parameter '{what}.managedDisk.id' is missing (null)."
        )
    disk_id = absolute_id(str(named))
    parsed = parse_id(disk_id)
    if parsed is None or parsed.type.lower() != DISK_TYPE.lower():
        raise invalid_parameter(f"{what}.managedDisk.id", f"The id '{named}' does not name a managed disk.")
    disk = ctx.get(disk_id)
    holder = disk.doc.get("managedBy")
    if holder and holder.lower() != ctx.resource.key:
        raise conflict(
            "ConflictingUserInput",
            f"Disk '{disk.id}' cannot be attached as the disk is already owned by VM '{holder}'.",
            disk.id,
        )
    # Held by this machine and named by its document: taken already. Not named: on its way out, and now it stays.
    named_already = {i.lower() for _, i in held_disks(ctx.before)} if ctx.before is not None else set()
    if holder and disk.key in named_already:
        raise conflict(
            "ConflictingUserInput", f"Disk '{disk.id}' is attached to this VM at another place already.", disk.id
        )
    if disk.properties.get("provisioningState") not in (None, "Succeeded"):
        raise conflict("OperationNotAllowed", f"Disk '{disk.name}' is in provisioning state "
                       f"{disk.properties['provisioningState']}.")  # fmt: skip
    if disk.location != ctx.resource.location:
        raise bad_request("BadRequest", f"Disk '{disk.name}' is not in the region '{ctx.resource.location}' of the VM.")
    if disk.hidden.get("upload") in ("ready", "active"):
        raise conflict(
            "OperationNotAllowed", f"Disk '{disk.name}' cannot be attached before its upload has ended (EndGetAccess)."
        )
    refuse_open(ctx, str(disk.hidden["volume"]), disk.name, "disk", "attaching")
    check_disk_fits(ctx.resource, shape, str(disk.doc["sku"]["name"]), disk.name)
    _check_zone(ctx, disk)
    if not holder:
        with ctx.edit(disk.id) as r:
            r.doc["managedBy"] = ctx.resource.id
        ctx.log("attached", disk.id, to=ctx.resource.id, what="disk")
    changes.attached.append([lun, disk.id])
    return disk


def _check_zone(ctx: Context, disk: Resource) -> None:
    """A zonal disk serves its own zone, a regional one only machines without a zone; ZRS disks serve all."""
    if str(disk.doc["sku"]["name"]).endswith("_ZRS"):
        return
    ours, theirs = ctx.resource.doc.get("zones") or [], disk.doc.get("zones") or []
    if [str(z) for z in ours] != [str(z) for z in theirs]:
        where = f"in zone '{theirs[0]}'" if theirs else "not in a zone"
        raise bad_request(
            "BadRequest",
            f"Disk {disk.name} is {where} and cannot be attached to a VM "
            + (f"in zone '{ours[0]}'." if ours else "that is not in a zone."),
        )


def free_unnamed(ctx: Context, disk_id: str) -> None:
    """Give a disk back unless the machine's document has come to name it again."""
    with ctx.transaction():
        if disk_id.lower() not in {i.lower() for _, i in held_disks(ctx.resource)}:
            free_disk(ctx, disk_id, ctx.resource.id)


def free_disk(ctx: Context, disk_id: str, vm_id: str) -> None:
    """Give a disk back after the guest let go of it. Another machine's disk is left alone; repeats safely."""
    disk = ctx.store.get(disk_id)
    if disk is None or str(disk.doc.get("managedBy", "")).lower() != vm_id.lower():
        return
    with ctx.edit(disk_id) as r:
        r.doc.pop("managedBy", None)
        r.doc.pop("managedByExtended", None)
    ctx.log("detached", disk.id, of=vm_id, what="disk")
