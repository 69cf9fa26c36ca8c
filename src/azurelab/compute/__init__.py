"""Compute: machines, disks, snapshots, images and what a marketplace lists. One file per type, machines a folder.

What is asked of the world (capacity, quota, prices), of the network (cards) and of the hypervisor (guests) goes through
their own modules; bytes are the business of `azurelab.disks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from azurelab.compute.disks import DISKS_TYPE
from azurelab.compute.extension_images import extension_image_routes
from azurelab.compute.groups import AVAILABILITY_SETS_TYPE, PROXIMITY_GROUPS_TYPE
from azurelab.compute.images import IMAGES_TYPE
from azurelab.compute.listings import listing_routes
from azurelab.compute.marketplace import image_routes
from azurelab.compute.snapshots import SNAPSHOTS_TYPE
from azurelab.compute.starting import Compute
from azurelab.compute.virtual_machines.extensions import EXTENSIONS_TYPE
from azurelab.compute.virtual_machines.run_commands import RUN_COMMANDS_TYPE
from azurelab.compute.virtual_machines.type import VIRTUAL_MACHINES_TYPE
from azurelab.rooms import Room

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["open_room"]


def open_room(lab: Lab) -> Room:
    compute = Compute(lab)
    return Room(
        types=[
            VIRTUAL_MACHINES_TYPE,
            EXTENSIONS_TYPE,
            RUN_COMMANDS_TYPE,
            DISKS_TYPE,
            SNAPSHOTS_TYPE,
            IMAGES_TYPE,
            AVAILABILITY_SETS_TYPE,
            PROXIMITY_GROUPS_TYPE,
        ],
        routes=[*image_routes(lab), *extension_image_routes(lab), *listing_routes(lab)],
        mounts=compute.mounts,
        start=compute.start,
        stop=compute.stop,
    )
