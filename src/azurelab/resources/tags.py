"""Microsoft.Resources/tags/default: the tags of any resource or group, merged, replaced or taken away by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, group_not_found, not_found
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import ResourceId, parse_id
from azurelab.arm.store import Resource

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.arm.protocol import Scoped

__all__ = ["merge_tags", "remove_tags", "tags_endpoint"]

MOST = 50


def _held(tags: dict[str, str], name: str) -> str | None:
    """The name as it is written now; tag names compare without case."""
    return next((n for n in tags if n.lower() == name.lower()), None)


def merge_tags(tags: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """The given names get the given values, the others stay."""
    merged = dict(tags)
    for name, value in more.items():
        merged[_held(merged, name) or name] = value
    return merged


def remove_tags(tags: dict[str, str], gone: dict[str, str]) -> dict[str, str]:
    """Without the given names; a given value that is not empty must be equal, too."""
    kept = dict(tags)
    for name, value in gone.items():
        held = _held(kept, name)
        if held is not None and value in ("", kept[held]):
            del kept[held]
    return kept


def tags_endpoint(lab: Lab) -> Scoped:
    def target(rid: ResourceId) -> Resource:
        found = lab.store.get(rid.scope)
        if found is not None:
            return found
        parsed = parse_id(rid.scope)
        if parsed is None:
            raise ArmError(404, "NotFound", f"The scope '{rid.scope}' was not found.")
        if not parsed.provider:
            raise group_not_found(parsed.name)
        lab.arm.check_group(parsed)
        raise not_found(parsed.named(), parsed.group)

    def given(call: Call) -> dict[str, str]:
        tags = (call.object.get("properties") or {}).get("tags")
        if not isinstance(tags, dict) or not all(isinstance(v, str) for v in tags.values()):
            raise ArmError(400, "InvalidRequestContent", "properties.tags must be a map of strings.", target="tags")
        return tags

    def store(rid: ResourceId, tags: dict[str, str]) -> None:
        if len(tags) > MOST:
            raise ArmError(
                400,
                "InvalidTagsCount",
                f"The number of tags '{len(tags)}' exceeds the maximum of '{MOST}' tags for a resource.",
            )
        with lab.store.edit(rid.scope) as r:
            r.doc["tags"] = tags
        lab.store.log("changed", rid.scope, type=r.type, method="tags")
        for listener in lab.tag_listeners:
            lab.store.after_commit(lambda listener=listener: listener(rid.scope))  # type: ignore[misc]

    def show(rid: ResourceId, resource: Resource) -> dict[str, Any]:
        return {
            "id": f"{rid.scope}/providers/Microsoft.Resources/tags/default",
            "name": "default",
            "type": "Microsoft.Resources/tags",
            "properties": {"tags": resource.tags},
        }

    def handle(call: Call, rid: ResourceId) -> Response:
        if not rid.is_resource or rid.name.lower() != "default":
            raise ArmError(404, "InvalidResourceName", "Tags have one name only: 'default'.")
        word = {"GET": "read", "DELETE": "delete"}.get(call.method, "write")
        lab.roles.check(call.caller, f"Microsoft.Resources/tags/{word}", rid.scope)
        headers: dict[str, str] = {}
        lab.throttle.spend(call, "", headers)
        with lab.store.transaction():
            resource = target(rid)
            if call.method == "GET":
                return Response(200, show(rid, resource), headers)
            lab.locks.check_write(rid.scope)
            if call.method == "PUT":
                store(rid, given(call))
            elif call.method == "DELETE":
                store(rid, {})
                return Response(200, None, headers)
            elif call.method == "PATCH":
                operation = str(call.object.get("operation", "")).lower()
                if operation == "merge":
                    store(rid, merge_tags(resource.tags, given(call)))
                elif operation == "replace":
                    store(rid, given(call))
                elif operation == "delete":
                    store(rid, remove_tags(resource.tags, given(call)))
                else:
                    raise ArmError(
                        400,
                        "InvalidTagsPatchOperation",
                        f"The operation '{operation}' is not valid. Valid are 'Merge', 'Replace' and 'Delete'.",
                        target="operation",
                    )
            else:
                raise ArmError(
                    405, "MethodNotAllowed", f"The requested resource does not support http method '{call.method}'."
                )
            return Response(200, show(rid, target(rid)), headers)

    return handle
