"""Marketplace images: the listing that clients walk, and what a VM or disk made from one is like.

Listed are the images behind az's aliases and those that recordings use. Other offers of a listed publisher exist too
(Azure has tens of thousands) with what their names say; an unknown publisher is refused with Azure's code. Every Linux
image holds the lab's own small guest, whatever its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, bad_request, invalid_parameter
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import parse_id
from azurelab.arm.types import Route
from azurelab.compute.extension_images import EXTENSION_PUBLISHERS
from azurelab.disks.service import IMAGE_PREFIX

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["GUEST_IMAGE_SERVICE", "MarketImage", "find_image", "image_of_reference", "image_routes"]

GUEST_IMAGE_SERVICE = "guest_image_volume"
"""`lab.services` key: the volume that holds the built guest image, absent while there is none."""


@dataclass(frozen=True)
class MarketImage:
    publisher: str
    offer: str
    sku: str
    version: str
    os_type: str
    hyper_v_generation: str
    architecture: str
    size_gib: int
    guest_image: str | None = None

    @property
    def os_name(self) -> tuple[str, str]:
        """(osName, osVersion) as the agent of such a machine reports."""
        if self.os_type == "Windows":
            year = re.search(r"20\d\d", self.sku)
            return f"Windows Server {year[0] if year else '2022'} Datacenter", "10.0"
        number = re.search(r"\d\d?[._]\d\d?|\d+", self.sku)
        name = {
            "canonical": "ubuntu",
            "debian": "debian",
            "credativ": "debian",
            "openlogic": "centos",
            "redhat": "redhat",
        }
        return name.get(self.publisher.lower(), self.publisher.lower()), number[0].replace("_", ".") if number else "1"


_LISTED = """
Canonical|0001-com-ubuntu-server-jammy|22_04-lts-gen2|22.04.202410020
Canonical|0001-com-ubuntu-server-jammy|22_04-lts|22.04.202410020
Canonical|0001-com-ubuntu-server-focal|20_04-lts-gen2|20.04.202410020
Canonical|ubuntu-24_04-lts|server|24.04.202410170
Canonical|ubuntu-24_04-lts|server-gen1|24.04.202410170
Canonical|UbuntuServer|18.04-LTS|18.04.202401161
Canonical|UbuntuServer|16.04-LTS|16.04.202109280
Debian|debian-11|11-backports-gen2|0.20241004.1890
Debian|debian-11|11|0.20241004.1890
Debian|debian-12|12-gen2|0.20241004.1890
Debian|debian-12|12|0.20241004.1890
credativ|Debian|9|9.20210721.0
microsoftazurelinux|azurelinux-4|4|4.20260101.01
microsoftazurelinux|azurelinux-4|4-gen1|4.20260101.01
microsoftazurelinux|azurelinux-4|4-arm64|4.20260101.01
OpenLogic|CentOS|8_5-gen2|8.5.2022012401
OpenLogic|CentOS|7.5|7.5.201808150
kinvolk|flatcar-container-linux-free|stable-gen2|3975.2.2
SUSE|openSUSE-leap-15-4|gen2|2023.11.07
SUSE|sles-15-sp3|gen2|2023.11.07
RedHat|RHEL|8-lvm-gen2|8.10.2024101118
RedHat|RHEL|7-LVM|7.9.2023062211
MicrosoftWindowsServer|WindowsServer|2022-datacenter-g2|20348.2762.241006
MicrosoftWindowsServer|WindowsServer|2022-datacenter-azure-edition-core|20348.2762.241006
MicrosoftWindowsServer|WindowsServer|2019-datacenter-gensecond|17763.6414.241006
MicrosoftWindowsServer|WindowsServer|2019-Datacenter|2019.0.20190115
MicrosoftWindowsServer|WindowsServer|2019-Datacenter|17763.6414.241006
MicrosoftWindowsServer|WindowsServer|2016-datacenter-gensecond|14393.7428.241006
MicrosoftWindowsServer|WindowsServer|2016-Datacenter|14393.7428.241006
MicrosoftWindowsServer|WindowsServer|2012-R2-Datacenter|9600.21620.231004
MicrosoftWindowsServer|WindowsServer|2012-Datacenter|9200.24518.231004
"""
# Publishers whose further offers exist without being listed.
_PUBLISHERS = ("CoreOS", "Oracle", "MicrosoftSQLServer", "MicrosoftWindowsDesktop", "almalinux", "resf", "procomputers",
               "MicrosoftVisualStudio", "bitnami", "cognosys", "center-for-internet-security-inc")  # fmt: skip
_DEFAULT_VERSION = "1.0.20241001"


def _make(publisher: str, offer: str, sku: str, version: str) -> MarketImage:
    words = f"{offer} {sku}".lower()
    windows = publisher.lower().startswith("microsoft") and "linux" not in f"{publisher} {words}".lower()
    second = re.search(r"gen2|gensecond|-g2|azure-edition|server$|arm64|azurelinux-4 4$", words) is not None
    return MarketImage(
        publisher,
        offer,
        sku,
        version,
        "Windows" if windows else "Linux",
        "V2" if second else "V1",
        "Arm64" if "arm64" in words else "x64",
        127 if windows else 30,
    )


_IMAGES = [_make(*line.split("|")) for line in _LISTED.split()]


def find_image(publisher: str, offer: str, sku: str, version: str) -> MarketImage | None:
    """The image in Azure's spelling; `latest` is the last listed version. None: no such publisher or version."""
    wanted = (publisher.lower(), offer.lower(), sku.lower())
    same = [i for i in _IMAGES if (i.publisher.lower(), i.offer.lower(), i.sku.lower()) == wanted]
    if same:
        if version.lower() == "latest":
            return same[-1]
        return next((i for i in same if i.version == version), None) or _make(publisher, offer, sku, version)
    known = {i.publisher.lower() for i in _IMAGES} | {p.lower() for p in _PUBLISHERS}
    if publisher.lower() not in known:
        return None
    return _make(publisher, offer, sku, _DEFAULT_VERSION if version.lower() == "latest" else version)


def image_id(subscription: str, location: str, image: MarketImage) -> str:
    """With Azure's capital letters in it (recorded)."""
    return (
        f"/Subscriptions/{subscription}/Providers/Microsoft.Compute/Locations/{location}/Publishers/{image.publisher}"
        f"/ArtifactTypes/VMImage/Offers/{image.offer}/Skus/{image.sku}/Versions/{image.version}"
    )


def image_of_reference(lab: Lab, reference: dict[str, Any], location: str) -> MarketImage:
    """The marketplace image that an imageReference names, by its four words or by its id. ArmError."""
    words = [reference.get(w) for w in ("publisher", "offer", "sku")]
    version = str(reference.get("version") or "latest")
    if not all(isinstance(w, str) and w for w in words):
        parsed = parse_id(str(reference.get("id", "")))
        names = dict(zip((t.lower() for t in parsed.types), parsed.names, strict=False)) if parsed else {}
        if not {"publishers", "offers", "skus", "versions"} <= names.keys():
            raise invalid_parameter("imageReference", "The imageReference names neither an image nor its parts.")
        words, version = [names["publishers"], names["offers"], names["skus"]], names["versions"]
    found = find_image(str(words[0]), str(words[1]), str(words[2]), version)
    if found is None:
        raise ArmError(
            404,
            "PlatformImageNotFound",
            f"The platform image '{words[0]}:{words[1]}:{words[2]}:{version}' is not available. Verify that all fields "
            f"in the storage profile are correct.",
            target="imageReference",
        )
    volume = lab.services.get(GUEST_IMAGE_SERVICE)
    return found if volume is None or found.os_type != "Linux" else _holding(found, str(volume))


def _holding(image: MarketImage, volume: str) -> MarketImage:
    assert volume.startswith(IMAGE_PREFIX)
    return replace(image, guest_image=volume)


# -- the listing ------------------------------------------------------------------------------------------------------


def image_routes(lab: Lab) -> list[Route]:
    """Publishers, offers, SKUs, versions: plain arrays, not `{"value": …}` (recorded)."""
    base = "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/publishers"
    artifact = base + "/{publisher}/artifacttypes/vmimage/offers"

    def entry(params: dict[str, str], path: str, name: str) -> dict[str, Any]:
        location = params["location"].lower()
        return {
            "location": location,
            "name": name,
            "id": f"/Subscriptions/{params['subscription']}/Providers/Microsoft.Compute/Locations/{location}{path}",
        }

    def distinct(values: Iterable[str]) -> list[str]:
        return sorted(dict.fromkeys(values))

    def matching(params: dict[str, str], *words: str) -> list[MarketImage]:
        return [i for i in _IMAGES if all(getattr(i, w).lower() == params[w].lower() for w in words)]

    def publishers(call: Call, params: dict[str, str]) -> Response:
        names = distinct([*(i.publisher for i in _IMAGES), *_PUBLISHERS, *EXTENSION_PUBLISHERS])
        return Response(200, [entry(params, f"/Publishers/{n}", n) for n in names])

    def offers(call: Call, params: dict[str, str]) -> Response:
        found = matching(params, "publisher")
        names = distinct(i.offer for i in found)
        at = f"/Publishers/{found[0].publisher if found else params['publisher']}/ArtifactTypes/VMImage/Offers/"
        return Response(200, [entry(params, at + n, n) for n in names])

    def skus(call: Call, params: dict[str, str]) -> Response:
        found = matching(params, "publisher", "offer")
        if not found:  # an offer that exists without being listed has one SKU
            made = find_image(params["publisher"], params["offer"], "default", "latest")
            found = [made] if made is not None else []
        names = distinct(i.sku for i in found)
        if not found:
            return Response(200, [])
        at = f"/Publishers/{found[0].publisher}/ArtifactTypes/VMImage/Offers/{found[0].offer}/Skus/"
        upgrade = {"properties": {"automaticOSUpgradeProperties": {"automaticOSUpgradeSupported": False}}}
        return Response(200, [{**upgrade, **entry(params, at + n, n)} for n in names])

    def version_entry(params: dict[str, str], image: MarketImage, *, full: bool) -> dict[str, Any]:
        found = {
            "location": params["location"].lower(),
            "name": image.version,
            "id": image_id(params["subscription"], params["location"].lower(), image),
        }
        return {**found, "properties": _version_properties(image)} if full else found

    def versions(call: Call, params: dict[str, str]) -> Response:
        found = matching(params, "publisher", "offer", "sku")
        if not found:
            made = find_image(params["publisher"], params["offer"], params["sku"], "latest")
            found = [made] if made is not None else []
        if not found:
            raise ArmError(404, "NotFound", f"Artifact: VMImage was not found: {params['sku']}.")
        found = sorted(found, key=lambda i: i.version, reverse="desc" in call.query.get("$orderby", "").lower())
        top = call.query.get("$top", "")
        if top.isdigit():
            found = found[: int(top)]
        full = "properties" in call.query.get("$expand", "").lower()
        return Response(200, [version_entry(params, i, full=full) for i in found])

    def version(call: Call, params: dict[str, str]) -> Response:
        image = find_image(params["publisher"], params["offer"], params["sku"], params["version"])
        if image is None:
            raise ArmError(
                404,
                "NotFound",
                f"Artifact: VMImage was not found: {params['publisher']}:{params['offer']}:{params['sku']}:"
                f"{params['version']}.",
            )
        return Response(200, version_entry(params, image, full=True))

    def route(path: str, handle: Callable[[Call, dict[str, str]], Response], bucket: str = "") -> Route:
        return Route(method="GET", path=path, handle=handle, bucket=bucket)

    return [
        route(base, publishers),
        route(artifact, offers, "ListVMImageOffersFromLocation"),
        route(artifact + "/{offer}/skus", skus, "ListVMImageSkusFromLocation"),
        route(artifact + "/{offer}/skus/{sku}/versions", versions, "ListVMImagesVersionsFromLocation"),
        route(artifact + "/{offer}/skus/{sku}/versions/{version}", version, "GetVMImageFromLocation"),
    ]


def _version_properties(image: MarketImage) -> dict[str, Any]:
    return {
        "hyperVGeneration": image.hyper_v_generation,
        "architecture": image.architecture,
        "replicaType": "Managed",
        "disallowed": {"vmDiskType": "Unmanaged" if image.hyper_v_generation == "V2" else "None"},
        "automaticOSUpgradeProperties": {"automaticOSUpgradeSupported": False},
        "imageDeprecationStatus": {"imageState": "Active"},
        "features": [{"name": "IsAcceleratedNetworkSupported", "value": "True"}],
        "osDiskImage": {
            "operatingSystem": image.os_type,
            "sizeInGb": image.size_gib + 1,
            "sizeInBytes": (image.size_gib << 30) + 512,
        },
        "dataDiskImages": [],
    }


def refuse_foreign_gallery(reference: dict[str, Any]) -> None:
    """Images of galleries that this lab does not serve."""
    for word in ("sharedGalleryImageId", "communityGalleryImageId"):
        if reference.get(word):
            raise bad_request(
                "InvalidParameter", f"The image '{reference[word]}' is not available here.", "imageReference"
            )
