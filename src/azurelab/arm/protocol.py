"""The front door: every ARM request passes here, in this order: who, where, which version, may they, what.

Runs in the event loop's thread; whatever may block is an operation's effect and runs in a worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from azurelab.arm import reading, writing
from azurelab.arm.context import Context
from azurelab.arm.documents import etag_of
from azurelab.arm.errors import ArmError, group_not_found
from azurelab.arm.http import Call, Principal, Response
from azurelab.arm.ids import ResourceId, group_key, parse_id
from azurelab.arm.polling import poll_routes
from azurelab.arm.routing import Routes, TypeTable
from azurelab.arm.store import Resource
from azurelab.arm.types import Etags, ResourceType, Route, Verb, Versions

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["Arm", "Scoped"]

_VERSION = re.compile(r"^\d{4}-\d{2}-\d{2}(-(preview|alpha|beta|rc|privatepreview))?$", re.IGNORECASE)
_GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_WINDOW = Versions()
# known to ask about even while no type of theirs is served
_NAMESPACES = ("Microsoft.Compute", "Microsoft.Network", "Microsoft.Storage", "Microsoft.Resources")


Scoped = Callable[[Call, ResourceId], Response]
"""Answers what can be asked at any scope and is no resource there: tags, permissions. Checks roles itself."""


class Arm:
    """The protocol over one lab's types, routes and store."""

    def __init__(
        self,
        lab: Lab,
        types: Iterable[ResourceType],
        routes: Iterable[Route],
        scoped: Mapping[str, Scoped] | None = None,
    ) -> None:
        self.lab = lab
        self._scoped = dict(scoped or {})
        self.types = TypeTable(types)
        self.namespaces = {n.lower(): n for n in _NAMESPACES} | self.types.namespaces()
        for t in self.types.values():
            if t.refs is not None:
                lab.store.references[t.name.lower()] = t.refs
        lab.store.reindex()
        self.routes = Routes([*poll_routes(lab, self.types.values()), *routes])

    # -- requests -----------------------------------------------------------------------------------------------

    def handle(self, call: Call, fault: dict[str, Any] | None = None) -> Response:
        """Answer one request; never raises for what the caller did wrong.

        `fault`: one that applies to the operation which this call may start (`half_done`, `lro_fails`).
        """
        store = self.lab.store
        store.request.id = call.client_request_id or call.request_id
        try:
            return self._answer(call, fault)
        except ArmError as exc:
            return Response(exc.status, exc.body(), dict(exc.headers))

    def _answer(self, call: Call, fault: dict[str, Any] | None) -> Response:
        hit = self.routes.find(call.method, call.path)
        if hit is not None:
            route, params = hit
            if route.versioned:
                self._check_version(call, None)
            if route.auth and not call.inner:
                self._check_subscription(params.get("subscription"))
                self.lab.roles.check(call.caller, self._route_action(route), call.path)
            response = route.handle(call, params)
            if route.bucket:
                self.lab.throttle.spend(call, route.bucket, response.headers)
            return response
        rid = parse_id(call.path)
        if rid is None or not rid.provider:
            raise ArmError(
                404,
                "MissingSubscription" if not call.path.lower().startswith("/subscriptions") else "NotFound",
                f"The request did not have a subscription or a valid tenant level resource provider, or no resource "
                f"is known at '{call.path}'.",
            )
        self._check_subscription(rid.subscription)
        scoped = self._scoped.get(rid.type.lower())
        if scoped is not None:
            self._check_version(call, None)
            return scoped(call, rid)
        return self._resource(call, rid, fault)

    def _resource(self, call: Call, rid: ResourceId, fault: dict[str, Any] | None) -> Response:
        rtype, rid, action = self.resolve(rid, call)
        self._check_version(call, rtype)
        if call.method not in ("GET", "HEAD"):
            self.check_registered(rid)
        ctx = self.context(call, rtype, rid)
        if call.method in ("GET", "HEAD"):
            if action is not None:
                verb = rtype.actions[action]
                ctx.method = action
                self._allow(call, rtype, rid, verb.action or f"{action}/read")
                return reading.view_action(self, ctx, verb, call)
            self._allow(call, rtype, rid, "read")
            if rid.is_resource:
                return reading.get(self, ctx, call)
            return reading.list_all(self, ctx, call)
        if action is not None:
            if call.method != "POST":
                raise _method_not_allowed(call)
            verb = rtype.actions[action]
            self._allow(call, rtype, rid, verb.action or f"{action}/action")
            ctx.method = action
            return writing.act(self, ctx, verb, call, fault)
        verb_found = self.verb_of(rtype, call.method)
        if verb_found is None or not rid.is_resource:
            raise _method_not_allowed(call)
        self._allow(call, rtype, rid, "delete" if call.method == "DELETE" else "write")
        if call.method == "PUT":
            return writing.put(self, ctx, verb_found, call, fault)
        if call.method == "PATCH":
            return writing.patch(self, ctx, verb_found, call, fault)
        return writing.delete(self, ctx, verb_found, call, fault)

    def perform(
        self,
        method: str,
        resource_id: str,
        body: Any = None,
        api_version: str = "2024-07-01",
        *,
        caller: Principal | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a request from inside (deployments, cascades) and see it through to its end, in this thread.

        Returns the finished body (the resource for PUT). ArmError as the answer or the operation had it. Only for
        worker threads, never under the store's lock: it waits for the effect.
        """
        call = Call(
            method=method,
            path=resource_id,
            query={"api-version": api_version, **(query or {})},
            headers={"x-ms-client-request-id": getattr(self.lab.store.request, "id", "")},
            raw=b"",
            base_url="",
            caller=caller or Principal("", ""),
            parsed=body,
            inner=True,
        )
        response = self._answer(call, None)
        return response.body

    def delete_group(self, call: Call, group: Resource) -> Response:
        """DELETE of a resource group: an operation like any other, on an id without a provider."""
        rid = parse_id(group.id)
        assert rid is not None
        rtype = self.types[group.type.lower()]
        assert rtype.delete is not None
        return writing.delete(self, self.context(call, rtype, rid), rtype.delete, call, None)

    def act_on_group(self, call: Call, group: Resource, action: str) -> Response:
        """POST of an action of a resource group."""
        rid = parse_id(group.id)
        assert rid is not None
        rtype = self.types[group.type.lower()]
        ctx = self.context(call, rtype, rid)
        ctx.method = action
        return writing.act(self, ctx, rtype.actions[action], call, None)

    # -- resolving ----------------------------------------------------------------------------------------------

    def resolve(self, rid: ResourceId, call: Call) -> tuple[ResourceType, ResourceId, str | None]:
        """(type, id in Azure's spelling, action or None). An action's id is that of its resource."""
        namespace = self.namespaces.get(rid.provider.lower())
        if namespace is None:
            raise ArmError(404, "InvalidResourceNamespace", f"The resource namespace '{rid.provider}' is invalid.")
        rtype = self.types.get(rid.type.lower())
        if rtype is not None:
            return rtype, respell(rid, rtype), None
        parent = rid.parent
        if parent is not None and not rid.is_resource:
            rtype = self.types.get(parent.type.lower())
            wanted = rid.types[-1].lower()
            if rtype is not None:
                for name, verb in rtype.actions.items():
                    if name.lower() == wanted and (verb.method == "GET") == (call.method in ("GET", "HEAD")):
                        return rtype, respell(parent, rtype), name
        raise ArmError(
            404,
            "InvalidResourceType",
            f"The resource type '{'/'.join(rid.types)}' could not be found in the namespace '{namespace}' for api "
            f"version '{call.api_version}'.",
        )

    def context(self, call: Call, rtype: ResourceType, rid: ResourceId) -> Context:
        return Context(
            self.lab,
            rtype,
            rid,
            method=call.method,
            api_version=call.api_version,
            body=None,
            query=call.query,
            caller=call.caller,
            headers=call.headers,
            base_url=call.base_url,
        )

    @staticmethod
    def verb_of(rtype: ResourceType, method: str) -> Verb | None:
        if method == "PUT":
            return rtype.put
        if method == "PATCH":
            return rtype.patch
        if method == "DELETE":
            return rtype.delete
        return rtype.actions.get(method)

    def location_near(self, rid: ResourceId) -> str:
        """Where something without a location of its own lives: its parent's, else its group's."""
        parent = rid.parent
        while parent is not None:
            found = self.lab.store.get(parent.text)
            if found is not None and found.location:
                return found.location
            parent = parent.parent
        if rid.subscription and rid.group:
            group = self.lab.store.get(group_key(rid.subscription, rid.group))
            if group is not None:
                return group.location
        return ""

    # -- checks -------------------------------------------------------------------------------------------------

    def _check_version(self, call: Call, rtype: ResourceType | None) -> None:
        version = call.api_version
        if not version:
            raise ArmError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        window = rtype.versions if rtype is not None else _WINDOW
        if not _VERSION.match(version):
            raise ArmError(
                400,
                "InvalidApiVersionParameter",
                f"The api-version '{version}' is invalid. The supported versions are '{window.first}' to "
                f"'{window.last}'.",
            )
        if not window.hold(version):
            if rtype is None:
                raise ArmError(
                    400,
                    "InvalidApiVersionParameter",
                    f"The api-version '{version}' is invalid. The supported versions are '{window.first}' to "
                    f"'{window.last}'.",
                )
            namespace, _, rest = rtype.name.partition("/")
            raise ArmError(
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for API version '{version}' for type '{rest}' in namespace "
                f"'{namespace}'. The supported api-versions are '{window.first}' to '{window.last}'.",
            )

    def _check_subscription(self, subscription: str | None) -> None:
        if subscription is None:
            return
        if not self.lab.knows_subscription(subscription):
            if not _GUID.match(subscription):
                raise ArmError(
                    400,
                    "InvalidSubscriptionId",
                    f"The provided subscription identifier '{subscription}' is malformed or invalid.",
                )
            raise ArmError(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")

    def check_group(self, rid: ResourceId) -> Resource | None:
        """The resource group that the id lies in; ResourceGroupNotFound."""
        if rid.subscription is None or rid.group is None:
            return None
        group = self.lab.store.get(group_key(rid.subscription, rid.group))
        if group is None:
            raise group_not_found(rid.group)
        return group

    def check_registered(self, rid: ResourceId) -> None:
        """ArmError 409 MissingSubscriptionRegistration, after somebody unregistered the provider."""
        if rid.subscription and self.lab.store.setting(f"unregistered:{rid.subscription}:{rid.provider.lower()}"):
            raise ArmError(
                409,
                "MissingSubscriptionRegistration",
                f"The subscription is not registered to use namespace '{rid.provider}'. See "
                f"https://aka.ms/rps-not-found for how to register subscriptions.",
                details=[
                    {
                        "code": "MissingSubscriptionRegistration",
                        "target": rid.provider,
                        "message": f"The subscription is not registered to use namespace '{rid.provider}'. See "
                        f"https://aka.ms/rps-not-found for how to register subscriptions.",
                    }
                ],
            )

    def _allow(self, call: Call, rtype: ResourceType, rid: ResourceId, word: str) -> None:
        if not call.inner:
            self.lab.roles.check(call.caller, f"{rtype.name}/{word}", rid.text)

    @staticmethod
    def _route_action(route: Route) -> str:
        if route.action:
            return route.action
        words = [w for w in route.path.split("/") if w]
        if "providers" in words:
            words = [w for w in words[words.index("providers") + 1 :] if not w.startswith("{")]
        else:
            words = ["Microsoft.Resources", *(w for w in words if not w.startswith("{"))]
        return "/".join((*words, "read" if route.method in ("GET", "HEAD") else "action"))

    # -- what resources look like -------------------------------------------------------------------------------

    def etag(self, rtype: ResourceType, resource: Resource) -> str:
        """Of a child that lives in its parent's document, the parent's."""
        if rtype.parent_etag:
            rid = parse_id(resource.id)
            parent = self.lab.store.get(rid.parent.text) if rid is not None and rid.parent is not None else None
            if parent is not None:
                return etag_of(rtype.etags, parent)
        return etag_of(rtype.etags, resource)

    def view(self, ctx: Context, resource: Resource) -> dict[str, Any]:
        """The document as this context's api-version shows it."""
        rtype = ctx.type
        doc = rtype.view(ctx, resource) if rtype.view is not None else resource.doc
        if rtype.etags is Etags.WEAK or (rtype.etags is Etags.COUNTER and ctx.api_version >= "2024-03-01"):
            doc = {**doc, "etag": self.etag(rtype, resource)}
        return doc

    # -- ends of operations -------------------------------------------------------------------------------------

    def settle(self, ctx: Context, verb: Verb) -> None:
        """The good end of a mutating call: `finish`, provisioningState, the deletion itself, the event."""
        writing.settle(self, ctx, verb)

    def settle_failed(self, ctx: Context, verb: Verb, error: dict[str, Any]) -> None:
        writing.settle_failed(self, ctx, verb, error)

    def result_of(self, ctx: Context, verb: Verb) -> Any:
        """What the finished operation hands out."""
        if verb.result is not None:
            return verb.result(ctx)
        if ctx.method in ("PUT", "PATCH"):
            found = ctx.found
            return self.view(ctx, found) if found is not None and ctx.type.flavor.output else None
        return None


def respell(rid: ResourceId, rtype: ResourceType) -> ResourceId:
    """Provider and type words as registered; names as given."""
    provider, *types = rtype.name.split("/")
    return ResourceId(rid.scope, rid.subscription, rid.group, provider, tuple(types), rid.names)


def _method_not_allowed(call: Call) -> ArmError:
    return ArmError(405, "MethodNotAllowed", f"The requested resource does not support http method '{call.method}'.")
