"""The explicit list of what azurelab serves: types, routes, mounts. Adding a resource type = one line in its room.

A room is a package with `open(lab) -> Room`. Rooms are opened before anything listens; `start` runs when the URLs are
known and before operations are recovered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azurelab.arm.asgi import Mount
from azurelab.arm.types import ResourceType, Route

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.arm.protocol import Scoped

__all__ = ["Room", "Rooms", "open_rooms"]


def _nothing() -> None: ...


def _nothing_stops(stop_guests: bool) -> None: ...


@dataclass(frozen=True)
class Room:
    types: Sequence[ResourceType] = ()
    routes: Sequence[Route] = ()
    mounts: Sequence[Mount] = ()
    scoped: Mapping[str, Scoped] = field(default_factory=dict)
    """Answers at any scope, by `namespace/type` in lower case (tags, permissions)."""
    start: Callable[[], None] = _nothing
    stop: Callable[[bool], None] = _nothing_stops
    """`stop(stop_guests)`."""


@dataclass
class Rooms:
    control: Any
    rooms: list[Room] = field(default_factory=list)

    @property
    def types(self) -> list[ResourceType]:
        return [t for room in self.rooms for t in room.types]

    @property
    def routes(self) -> list[Route]:
        return [r for room in self.rooms for r in room.routes]

    @property
    def scoped(self) -> dict[str, Scoped]:
        return {name: handle for room in self.rooms for name, handle in room.scoped.items()}

    @property
    def mounts(self) -> list[Mount]:
        return [m for room in self.rooms for m in room.mounts]

    def start(self) -> None:
        for room in self.rooms:
            room.start()

    def stop(self, *, stop_guests: bool) -> None:
        for room in reversed(self.rooms):
            room.stop(stop_guests)


def open_rooms(lab: Lab) -> Rooms:
    """All rooms, in the order in which they start."""
    import azurelab.compute
    import azurelab.identity
    import azurelab.network
    import azurelab.resources
    from azurelab.world.control import Control

    rooms = Rooms(Control(lab))
    for module in (azurelab.identity, azurelab.resources, azurelab.network, azurelab.compute):
        opener = getattr(module, "open_room", None)
        if opener is not None:
            rooms.rooms.append(opener(lab))
    return rooms
