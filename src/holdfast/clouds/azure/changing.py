"""Every write: make exist, write back, patch, tag, power, delete. Each may be repeated after a crash or a lost answer.

No answer is trusted to have come: what became of a change whose answer was lost is read from the resource. Ownership is
told by the operation tag that every document of ours carries, never by a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.clouds.azure import versions
from holdfast.clouds.azure.arm import ATTEMPTS, Arm
from holdfast.clouds.azure.documents import as_request, satisfies, tag
from holdfast.clouds.azure.errors import LostAnswer
from holdfast.clouds.azure.ids import VIRTUAL_MACHINE
from holdfast.clouds.azure.reading import Reader
from holdfast.clouds.azure.succession.machine import detach_parts
from holdfast.clouds.azure.versions import version_for
from holdfast.clouds.azure.waiting import DONE, FAILED, Waiter, provisioning_state
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import (
    ChangedMeanwhile,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    NameTaken,
    ResourceMissing,
)
from holdfast.clouds.protocols import Call, Claim
from holdfast.core.clock import Clock
from holdfast.core.errors import InternalError
from holdfast.core.tags import OPERATION, ROLE

__all__ = ["Writer"]


class Writer:
    def __init__(self, arm: Arm, reader: Reader, waiter: Waiter, clock: Clock) -> None:
        self._arm = arm
        self._reader = reader
        self._waiter = waiter
        self._clock = clock

    # ---------------------------------------------------------------------------------------------------- make exist

    def ensure(self, call: Call, document: Document) -> Document:
        """Read first; create only what is absent. A round ends in a result, an error, or new knowledge for the next."""
        operation = tag(document, OPERATION)
        if operation is None:
            raise InternalError(problem=f"{document.ref} is to be created without an operation tag")
        doing = f"creating {_kind(document.ref)} {document.name}"
        last: CloudError | None = None
        for attempt in range(ATTEMPTS):
            found = self._reader.read(document.ref, document.api_version)
            if found is not None:
                settled = self._ours_when_settled(call, found, document)
                if settled is not None:
                    return settled
                continue
            # Virtual machines are the only type known to honour the fence; elsewhere it would be a false comfort.
            fence = {"If-None-Match": "*"} if _is_machine(document.type) else {}
            try:
                self._put(call, document, fence, doing)
                return self._read_new(call, document)
            except LostAnswer as exc:
                last = exc
                self._pause(call, attempt)
            except ChangedMeanwhile as exc:
                last = exc  # `If-None-Match: *` was not met: it exists by now, perhaps from a sending of ours
            except CloudError:
                # Azure leaves a half-made resource under the name; without it the next market can be tried at once.
                self._remove_half_made(call, document.ref, operation)
                raise
        raise last or CloudUnavailable(cloud_code="Unsettled", message="it comes and goes", ref=document.ref)

    def _put(self, call: Call, document: Document, fence: Mapping[str, str], doing: str) -> None:
        path = f"{document.ref}?api-version={document.api_version}"
        answer = self._arm.change(call, "PUT", path, as_request(document).body, headers=fence)
        self._waiter.finish(call, answer, document.ref, doing)

    def _ours_when_settled(self, call: Call, found: Document, wanted: Document) -> Document | None:
        """The resource of an earlier try once nothing changes it any more; None when it had to be removed, or is gone.

        Raises NameTaken if somebody else made it.
        """
        operation = tag(wanted, OPERATION) or ""
        # One operation may make two resources of one name, one after the other: an original and its successor.
        if tag(found, OPERATION) != operation or tag(found, ROLE) != tag(wanted, ROLE):
            raise NameTaken(cloud_code="Exists", message="it exists and is not ours", ref=found.ref)
        if provisioning_state(found.body) not in (*DONE, *FAILED):
            self._waiter.settle(call, found.ref, f"waiting for {_kind(found.ref)} {found.name}")
            again = self._reader.read(found.ref, found.api_version)
            return self._ours_when_settled(call, again, wanted) if again is not None else None
        if provisioning_state(found.body) in FAILED:
            self._remove_half_made(call, found.ref, operation)
            return None
        return found

    def _remove_half_made(self, call: Call, ref: str, operation: str) -> None:
        """Delete what Azure could not finish, if it is ours and nothing it holds would go with it."""
        found = self._reader.read(ref)
        if found is None or tag(found, OPERATION) != operation:
            return
        if provisioning_state(found.body) not in FAILED:
            return  # finished after all: the next round returns it
        if _is_machine(found.type) and (patch := detach_parts(found)) is not None:
            # Deleting a machine deletes every part marked so, and those are disks that earlier steps have made.
            self.patch(call, ref, patch)
            if detach_parts(self._reader.must_read(ref)) is not None:
                raise CloudRefused(
                    cloud_code="DeleteOption", message="a half-made machine would take its disks along", ref=ref
                )
        self._delete_and_wait(call, found)

    def _read_new(self, call: Call, document: Document) -> Document:
        """What was just made; a read right after it may still miss it for a moment."""
        for attempt in range(ATTEMPTS):
            found = self._reader.read(document.ref, document.api_version)
            if found is not None:
                return found
            self._pause(call, attempt)
        raise ResourceMissing(cloud_code="ResourceNotFound", message="it vanished after its creation", ref=document.ref)

    # ------------------------------------------------------------------------------------------------ change and tag

    def write(self, call: Call, document: Document) -> Document:
        etag = document.etag if _is_machine(document.type) else None
        doing = f"changing {_kind(document.ref)} {document.name}"
        last: CloudError | None = None
        for attempt in range(ATTEMPTS):
            try:
                self._put(call, document, {"If-Match": etag} if etag else {}, doing)
                return self._reader.must_read(document.ref, document.api_version)
            except LostAnswer as exc:
                last = exc
                self._pause(call, attempt)
                now = self._reader.must_read(document.ref, document.api_version)
                ours = satisfies(now, document) or provisioning_state(now.body) in FAILED
            except ChangedMeanwhile as exc:
                # Not met also when an earlier sending of ours was met: then the resource is as we want it.
                last = exc
                now = self._reader.must_read(document.ref, document.api_version)
                ours = satisfies(now, document)
                if not ours:
                    raise
            if ours:
                now = self._settled(call, now)
                if provisioning_state(now.body) in DONE and satisfies(now, document):
                    return now
                etag = now.etag if etag else None  # our own sending moved it and then failed: the next one mends that
        raise last or CloudUnavailable(cloud_code="AnswerLost", message="no answer to a change", ref=document.ref)

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Document:
        path = f"{ref}?api-version={version_for(ref)}"
        doing = f"changing {_kind(ref)} {ref.rsplit('/', 1)[-1]}"
        last: CloudError | None = None
        for attempt in range(ATTEMPTS):
            try:
                answer = self._arm.change(call, "PATCH", path, body, resend=True)
                self._waiter.finish(call, answer, ref, doing)
                return self._reader.must_read(ref)
            except LostAnswer as exc:
                last = exc  # a PATCH says what shall be, so sending it again is safe
                self._pause(call, attempt)
        raise last or CloudUnavailable(cloud_code="AnswerLost", message="no answer to a change", ref=ref)

    def _settled(self, call: Call, document: Document) -> Document:
        """The resource when nothing changes it any more; it may have failed."""
        if provisioning_state(document.body) in (*DONE, *FAILED):
            return document
        self._waiter.settle(call, document.ref, f"changing {_kind(document.ref)} {document.name}")
        return self._reader.must_read(document.ref, document.api_version)

    def mark(self, call: Call, ref: str, tags: Mapping[str, str]) -> None:
        if tags:
            self._tags(call, ref, "Merge", dict(tags))

    def unmark(self, call: Call, ref: str, names: Sequence[str]) -> None:
        path = _tags_path(ref)
        answer = self._arm.find(path)
        if answer is None:
            return
        present: dict[str, str] = ((answer.body or {}).get("properties") or {}).get("tags") or {}
        unwanted = {name.lower() for name in names}
        gone = {name: value for name, value in present.items() if name.lower() in unwanted}
        if not gone:
            return
        try:
            self._tags(call, ref, "Delete", gone)
        except ResourceMissing:
            return  # the resource went meanwhile, and its tags with it

    def _tags(self, call: Call, ref: str, operation: str, tags: dict[str, str]) -> None:
        body = {"operation": operation, "properties": {"tags": tags}}
        answer = self._arm.change(call, "PATCH", _tags_path(ref), body, resend=True)
        if answer.status == 202:
            self._waiter.finish(call, answer, ref, f"tagging {_kind(ref)} {ref.rsplit('/', 1)[-1]}")

    # -------------------------------------------------------------------------------------------------------- delete

    def delete(self, call: Call, claim: Claim) -> None:
        found = self._reader.read(claim.ref)
        if found is None or not _is_claimed(found, claim):
            return
        if str(found.get("properties.diskState", "")).lower() in ("activesas", "activesasfrozen", "activeupload"):
            raise CloudRefused(
                cloud_code="DiskHasActiveSas",
                message="it is being read or written through a shared address (SAS), which must be revoked first",
                ref=found.ref,
            )
        self._delete_and_wait(call, found)

    def _delete_and_wait(self, call: Call, found: Document) -> None:
        """Delete exactly this resource, return when it is gone. Another that takes the name meanwhile is left."""
        # Without the word a machine whose disks are all marked Delete would be torn from its disks by force.
        force = "&forceDeletion=false" if _is_machine(found.type) else ""
        path = f"{found.ref}?api-version={version_for(found.ref)}{force}"
        doing = f"deleting {_kind(found.ref)} {found.name}"
        for attempt in range(ATTEMPTS):
            now = self._reader.read(found.ref)
            if now is None or now.identity != found.identity:
                return
            if provisioning_state(now.body) == "deleting":
                self._waiter.settle(call, found.ref, doing)
                continue
            try:
                answer = self._arm.change(call, "DELETE", path)
                if answer.status == 202:
                    self._waiter.finish(call, answer, found.ref, doing)
            except LostAnswer:
                self._pause(call, attempt)
                continue
            except ResourceMissing:
                return
            self._waiter.until(call, found.ref, doing, lambda: self._is_gone(found))
            return
        raise CloudUnavailable(
            cloud_code="AnswerLost", message=f"it was still there after {ATTEMPTS} tries", ref=found.ref
        )

    def _is_gone(self, found: Document) -> bool:
        now = self._reader.read(found.ref)
        return now is None or now.identity != found.identity

    def _pause(self, call: Call, attempt: int) -> None:
        """After a lost answer: what was sent may still be on its way, so looking at once would tell nothing."""
        call.check()
        self._clock.sleep(self._arm.first_wait_s * 2**attempt)


def _is_claimed(found: Document, claim: Claim) -> bool:
    """Whether this is the resource that the claim names, and not a later one of the same name.

    A claim without an identity is for something whose creation never answered: then the operation's own tag must be on
    it.
    """
    if claim.identity is not None:
        return found.identity is not None and found.identity == claim.identity.lower()
    return tag(found, OPERATION) == claim.operation


def _is_machine(type_name: str) -> bool:
    return type_name.lower() == VIRTUAL_MACHINE.lower()


def _tags_path(ref: str) -> str:
    return f"{ref}/providers/Microsoft.Resources/tags/default?api-version={versions.TAGS}"


def _kind(ref: str) -> str:
    """What to call the resource in progress text."""
    words = {"virtualmachines": "machine", "networkinterfaces": "NIC", "publicipaddresses": "public IP"}
    kind = ref.rsplit("/", 2)[-2] if ref.count("/") >= 2 else ref
    return words.get(kind.lower(), kind.lower().removesuffix("s"))
