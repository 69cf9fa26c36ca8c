"""OVA: a tar of an OVF description, a manifest and a disk, in the order that every reader accepts. Pure.

Sizes are known only when the disk has been packed, so description and manifest have a fixed length: they can be
written first and corrected, or made in a second pass. Sources: DSP0243 (OVF 1.1), `mobility.md` section 3.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

__all__ = ["MachineShape", "description", "manifest", "padding", "tar_header"]

_OVF_BYTES = 8192
_DISK_FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"


@dataclass(frozen=True)
class MachineShape:
    """The machine that the description asks for. `firmware`: bios or efi."""

    name: str = "disk"
    cpus: int = 2
    memory_mib: int = 2048
    firmware: str = "bios"
    os_id: int = 101  # CIM: Linux 64-bit
    os_description: str = "Linux 64-bit"


def description(shape: MachineShape, disk_name: str, capacity_bytes: int, packed_bytes: int, data_bytes: int) -> bytes:
    """The .ovf document, padded with spaces to a fixed length."""
    items = [
        _item(1, 3, f"{shape.cpus} virtual CPUs", quantity=shape.cpus, units="hertz * 10^6"),
        _item(2, 4, f"{shape.memory_mib} MiB of memory", quantity=shape.memory_mib, units="byte * 2^20"),
        _item(3, 6, "SCSI controller 0", subtype="lsilogic", address=0),
        _item(4, 17, "Disk 1", resource="ovf:/disk/vmdisk1", parent=3, on_parent=0),
        _item(5, 10, "Network adapter 1", subtype="VmxNet3", connection="network", on_parent=7),
    ]
    firmware = '<vmw:Config ovf:required="false" vmw:key="firmware" vmw:value=' + quoteattr(shape.firmware) + "/>"
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
<References><File ovf:href={quoteattr(disk_name)} ovf:id="file1" ovf:size="{packed_bytes}"/></References>
<DiskSection><Info>Virtual disks</Info><Disk ovf:capacity="{capacity_bytes}" ovf:capacityAllocationUnits="byte"
 ovf:diskId="vmdisk1" ovf:fileRef="file1" ovf:format="{_DISK_FORMAT}" ovf:populatedSize="{data_bytes}"/></DiskSection>
<NetworkSection><Info>Networks</Info><Network ovf:name="network"><Description>network</Description></Network>
</NetworkSection>
<VirtualSystem ovf:id={quoteattr(shape.name)}><Info>A virtual machine</Info><Name>{escape(shape.name)}</Name>
<OperatingSystemSection ovf:id="{shape.os_id}"><Info>The guest</Info>
<Description>{escape(shape.os_description)}</Description></OperatingSystemSection>
<VirtualHardwareSection><Info>Virtual hardware</Info><System><vssd:ElementName>hardware</vssd:ElementName>
<vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemIdentifier>{escape(shape.name)}</vssd:VirtualSystemIdentifier>
<vssd:VirtualSystemType>vmx-10</vssd:VirtualSystemType></System>
{"".join(items)}{firmware}
</VirtualHardwareSection></VirtualSystem></Envelope>
"""
    raw = text.encode()
    if len(raw) > _OVF_BYTES:
        raise ValueError(f"a description of {len(raw)} bytes; names are too long")
    return raw.ljust(_OVF_BYTES, b" ")


def _item(
    number: int,
    kind: int,
    name: str,
    *,
    quantity: int | None = None,
    units: str | None = None,
    subtype: str | None = None,
    address: int | None = None,
    resource: str | None = None,
    parent: int | None = None,
    on_parent: int | None = None,
    connection: str | None = None,
) -> str:
    """One hardware item; elements in the alphabetical order that the schema demands."""
    fields = {
        "Address": address,
        "AddressOnParent": on_parent,
        "AllocationUnits": units,
        "AutomaticAllocation": "true" if connection else None,
        "Connection": connection,
        "ElementName": name,
        "HostResource": resource,
        "InstanceID": number,
        "Parent": parent,
        "ResourceSubType": subtype,
        "ResourceType": kind,
        "VirtualQuantity": quantity,
    }
    inner = "".join(f"<rasd:{key}>{escape(str(v))}</rasd:{key}>" for key, v in fields.items() if v is not None)
    return f"<Item>{inner}</Item>\n"


def manifest(digests: dict[str, str]) -> bytes:
    """The .mf file: SHA-256 of each member, in hexadecimal; its length depends on the names only."""
    return "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items()).encode()


def tar_header(name: str, size_bytes: int) -> bytes:
    """One ustar header; sizes past 8 GiB as GNU tar writes them."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size_bytes, 0o644, 946684800
    return info.tobuf(tarfile.USTAR_FORMAT if size_bytes < 8 << 30 else tarfile.GNU_FORMAT)


def padding(size_bytes: int) -> bytes:
    """Zeros up to the next tar block."""
    return bytes(-size_bytes % 512)
