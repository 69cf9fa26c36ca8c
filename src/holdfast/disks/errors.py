"""What can go wrong with disks. Each class says who must act; the CLI's exit code follows from it."""

from __future__ import annotations

from holdfast.core.errors import Conflict, HoldfastError, InvalidInput, NotFound, Refused, Retry

__all__ = [
    "RESUMES",
    "RESUMES_CHANGES",
    "AddressExpired",
    "ChunkSizeMismatch",
    "DiskNotFound",
    "DiskUsage",
    "DisksDiffer",
    "FormatMismatch",
    "HostileImage",
    "ListDamaged",
    "ListExists",
    "ListMismatch",
    "NoSpaceLeft",
    "ReadFailed",
    "SameDisk",
    "ServerRefused",
    "SourceChanged",
    "SystemRefused",
    "TargetHasContent",
    "TargetInUse",
    "TargetTooSmall",
    "ToolMissing",
    "TransferDamaged",
    "WireBroken",
    "WriteFailed",
]

# What remedies promise of the same command. For what cannot resume cli/disk_errors.py says something else instead.
RESUMES, RESUMES_CHANGES = "it resumes", "only what changed is copied"


class DiskUsage(InvalidInput):
    """The command does not say clearly what to read or write."""

    code = "disk.usage"


class DiskNotFound(NotFound):
    """Nothing at that path or URL."""

    code = "disk.not_found"
    text = "There is no {kind} at {name}."
    remedy = "Check the path or the address."


class FormatMismatch(Refused):
    """The declared format and the bytes disagree."""

    code, field = "disk.format_mismatch", "format"
    text = "{name} was declared as {declared}, but its bytes say {found}."
    remedy = "Declare what it is with --from {found}, or find out who made this file."


class HostileImage(Refused):
    """An image from outside points at other files, lies about itself or would exhaust us. It was not opened."""

    code, field = "disk.hostile_image", "source"
    text = "{name} is refused ({rule}): {problem}"
    remedy = "Have its owner flatten it into one self-contained image, for example with holdfast disk convert."


class TargetHasContent(Refused):
    """The target is not empty and nobody said that it may be overwritten."""

    code, field = "disk.target_has_content", "target"
    text = "{name} already holds data."
    remedy = "Choose another target, pass --overwrite to replace it, or --base LIST to bring it up to date."


class TargetInUse(Conflict):
    """Somebody else has the disk open for writing, or it is mounted."""

    code, field = "disk.in_use", "target"
    text = "{name} is in use: {problem}"
    remedy = "Stop what uses it (unmount it, shut the machine down), then try again."


class SameDisk(Refused):
    """Source and target are one disk."""

    code, field = "disk.same_disk", "target"
    text = "{name} is both source and target."
    remedy = "Name another target."


class TargetTooSmall(Refused):
    """The target cannot hold the source."""

    code, field = "disk.target_too_small", "target"
    text = "{name} holds {actual_bytes} bytes; {needed_bytes} are needed."
    remedy = "Use a target of at least {needed_bytes} bytes."


class SourceChanged(Conflict):
    """The source was written to while it was read: the copy is no single moment of it."""

    code, field = "disk.source_changed", "source"
    text = "{name} changed while it was read."
    remedy = f"Copy a snapshot, or stop the writer, and run the same command again: {RESUMES_CHANGES}."


class ReadFailed(HoldfastError):
    """The source gave an error instead of bytes."""

    code, field, retry = "disk.read_failed", "source", Retry.LATER
    text = "Reading {name} at {offset}+{size_bytes} failed: {problem}"
    remedy = f"Mend the source and run the same command again; {RESUMES}."


class WriteFailed(HoldfastError):
    """The target did not take the bytes."""

    code, field, retry = "disk.write_failed", "target", Retry.LATER
    text = "Writing {name} at {offset}+{size_bytes} failed: {problem}"
    remedy = f"Mend the target and run the same command again; {RESUMES}."


class NoSpaceLeft(WriteFailed):
    """The target's file system is full."""

    code, retry = "disk.no_space", Retry.AFTER_CHANGE
    text = "There is no space left for {name} (at {offset}+{size_bytes})."
    remedy = f"Make room and run the same command again; {RESUMES}."


class SystemRefused(HoldfastError):
    """The operating system did not do what was asked of it: a permission, a path, a limit, a device."""

    code, retry = "disk.system_refused", Retry.AFTER_CHANGE
    text = "The system refused: {problem}"
    remedy = "{way_out}"


class WireBroken(HoldfastError):
    """A server closed the connection or spoke nonsense."""

    code, retry = "disk.wire_broken", Retry.NOW
    text = "The connection to {name} broke: {problem}"
    remedy = f"Check the server, then run the same command again; {RESUMES}."


class ServerRefused(HoldfastError):
    """A server answered with an error that trying again does not mend."""

    code, retry = "disk.server_refused", Retry.AFTER_CHANGE
    text = "{name} answered {status}: {problem}"
    remedy = "Check the address and its permissions."


class AddressExpired(HoldfastError):
    """The address stopped working and could not be renewed."""

    code, retry = "disk.address_expired", Retry.AFTER_CHANGE
    text = "The address of {name} has expired."
    remedy = f"Grant access again and run the same command with the new address; {RESUMES}."


class TransferDamaged(HoldfastError):
    """Bytes arrived other than they were sent."""

    code, retry = "disk.transfer_damaged", Retry.NOW
    text = "{name} at {offset}+{size_bytes}: the checksum of the transfer is wrong."
    remedy = "Run the same command again. If it stays, something between here and there alters data."


class DisksDiffer(HoldfastError):
    """Two disks, or a disk and its digest list, are not equal."""

    code = "disk.differs"
    text = "{name} differs in {count} extents, the first at {first}."
    remedy = "Run holdfast disk copy with --base and the same list: it repairs by extents."


class ListDamaged(HoldfastError):
    """A digest list cannot be read."""

    code, field, retry = "disk.list_damaged", "digests", Retry.AFTER_CHANGE
    text = "The digest list {name} is damaged: {problem}"
    remedy = "Make it anew with holdfast disk digest, reading the target."


class ListMismatch(Refused):
    """The digest list belongs to something else."""

    code, field = "disk.list_mismatch", "base"
    text = "The digest list {name} does not fit: {problem}"
    remedy = "Use the list that belongs to this target, or copy all with --digests."


class ListExists(ListMismatch):
    """There is a finished digest list of that name, and nobody said that it may be replaced."""

    code, field = "disk.list_exists", "digests"
    text = "The digest list {name} is complete already."
    remedy = "Use --base LIST to go on from it, or --overwrite to make target and list anew."


class ChunkSizeMismatch(ListMismatch):
    """Two digest lists count in different chunks and cannot be compared."""

    code = "disk.chunk_size_mismatch"
    text = "One list has chunks of {one} bytes, the other of {other}."
    remedy = "Digest one of the disks again with the other's chunk size."


class ToolMissing(HoldfastError):
    """A program that this needs is not installed."""

    code, retry = "disk.tool_missing", Retry.AFTER_CHANGE
    text = "{tool} is needed for {purpose} and is not installed."
    remedy = "Install {tool} (Debian: qemu-utils)."
