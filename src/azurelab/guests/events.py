"""Scheduled events of one machine: what the guest is shown, and what it has approved. Kept in a file.

Source: https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
"""

from __future__ import annotations

import json
import threading
import uuid
from email.utils import formatdate
from pathlib import Path
from typing import Any

__all__ = ["ScheduledEvents"]


class ScheduledEvents:
    """The incarnation grows with every change, and outlives azurelab's process in `file`."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._incarnation = 1
        self._events: list[dict[str, Any]] = []
        if file is not None and file.exists():
            kept = json.loads(file.read_text())
            self._incarnation, self._events = kept["DocumentIncarnation"], kept["Events"]

    def document(self) -> dict[str, Any]:
        with self._lock:
            return {"DocumentIncarnation": self._incarnation, "Events": [dict(event) for event in self._events]}

    def preempt(self, machine: str, not_before_s: float) -> str:
        """Announce an eviction at `not_before_s` (Unix time); its event id. A pending one stays as it is."""
        with self._lock:
            for event in self._events:
                if event["EventType"] == "Preempt":
                    return str(event["EventId"])
            event_id = str(uuid.uuid4()).upper()
            self._events.append(
                {
                    "EventId": event_id,
                    "EventType": "Preempt",
                    "ResourceType": "VirtualMachine",
                    "Resources": [machine],
                    "EventStatus": "Scheduled",
                    "NotBefore": formatdate(not_before_s, usegmt=True),
                    "Description": "",
                    "EventSource": "Platform",
                    "DurationInSeconds": -1,
                }
            )
            self._changed()
            return event_id

    def approve(self, ids: list[str]) -> bool:
        """The guest's StartRequests: those events are Started. False when one of them does not exist."""
        with self._lock:
            chosen = [event for event in self._events if event["EventId"] in ids]
            if len(chosen) != len(set(ids)):
                return False
            waiting = [event for event in chosen if event["EventStatus"] == "Scheduled"]
            for event in waiting:
                event["EventStatus"], event["NotBefore"] = "Started", ""
            if waiting:
                self._changed()
            return True

    def clear(self) -> None:
        """The machine stopped: nothing is pending any more."""
        with self._lock:
            if self._events:
                self._events = []
                self._changed()

    def _changed(self) -> None:
        self._incarnation += 1
        if self._file is not None:
            new = self._file.with_suffix(".new")
            new.write_text(json.dumps({"DocumentIncarnation": self._incarnation, "Events": self._events}))
            new.replace(self._file)
