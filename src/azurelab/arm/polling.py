"""Where operations are polled and what the polls answer, per provider, as recorded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.operations import Operation
from azurelab.arm.types import COMPUTE, DEPLOYMENT, DISKS, GALLERY, NETWORK, PLAIN, Flavor, ResourceType, Route, Verb

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["operation_url", "poll_routes", "polling_headers"]


def operation_url(base_url: str, flavor: Flavor, op: Operation, *, result: bool = False) -> str:
    words = op.resource.split("/")
    base = flavor.base.format(
        subscription=words[2],
        group=words[4] if len(words) > 4 else "",
        provider=flavor.provider,
        location=op.location,
        name=words[-1],
    )
    tail = flavor.results if result else flavor.operations
    monitor = "monitor=true&" if result and flavor.monitor else ""
    return f"{base_url}{base}/{tail}/{op.id}?{monitor}api-version={op.api_version}"


def polling_headers(lab: Lab, ctx: Context, verb: Verb, op: Operation, call: Call) -> dict[str, str]:
    """The headers of the accepting answer. Retry-After only where time passes: az and the SDKs poll at once first."""
    status, location = verb.lro.value
    headers: dict[str, str] = {}
    flavor = ctx.type.flavor
    if status:
        headers["Azure-AsyncOperation"] = operation_url(call.base_url, flavor, op)
    if location:
        headers["Location"] = operation_url(call.base_url, flavor, op, result=True)
    if op.due_s:
        headers["Retry-After"] = str(lab.time.retry_after(op.due_s))
    elif not verb.quick:
        headers["Retry-After"] = "1"
    return headers


def status_body(op: Operation, flavor: Flavor) -> dict[str, Any]:
    """What GET on the Azure-AsyncOperation URL answers."""
    if flavor.bare_polls:
        running = "Running" if flavor is DEPLOYMENT else op.status
        body: dict[str, Any] = {"status": op.status if op.done else running}
        if op.done and op.output is not None:
            body["properties"] = {"output": op.output}
        elif op.done and op.method not in ("PUT", "PATCH", "DELETE") and op.error is None:
            body["properties"] = {}
    else:
        body = {"startTime": op.started}
        if op.done:
            body["endTime"] = op.ended
        body["status"] = op.status
        if op.done and op.output is not None:
            body["properties"] = {"output": op.output}
        body["name"] = op.id
    if op.error is not None:
        body["error"] = op.error
    return body


def poll_routes(lab: Lab, types: Iterable[ResourceType]) -> list[Route]:
    def find(params: dict[str, str]) -> Operation:
        op = lab.operations.get(params["id"])
        if op is None:
            raise ArmError(404, "NotFound", f"The operation '{params['id']}' was not found.")
        return op

    def waiting(op: Operation, headers: dict[str, str], verb_waits: bool) -> None:
        if op.due_s:
            headers["Retry-After"] = str(lab.time.retry_after(op.due_s))
        elif verb_waits:
            headers["Retry-After"] = "1"

    def polls(flavor: Flavor) -> list[Route]:
        def status(call: Call, params: dict[str, str]) -> Response:
            op = find(params)
            if call.query.get("monitor") == "true":
                return result(call, params)
            headers: dict[str, str] = {}
            if not op.done:
                waiting(op, headers, True)
            return Response(200, status_body(op, flavor), headers)

        def result(call: Call, params: dict[str, str]) -> Response:
            op = find(params)
            headers: dict[str, str] = {}
            if not op.done:
                waiting(op, headers, True)
                headers["Location"] = operation_url(call.base_url, flavor, op, result=True)
                return Response(202, None, headers)
            if op.error is not None:
                return Response(op.error_status, {"error": op.error}, headers)
            if flavor.bare_polls:  # network repeats its headers on a finished result (recorded)
                headers["Azure-AsyncOperation"] = operation_url(call.base_url, flavor, op)
                headers["Location"] = operation_url(call.base_url, flavor, op, result=True)
            output = op.output
            if output is None and op.method in ("PUT", "PATCH"):
                output = lab.arm_get(op.resource, op.api_version)
            return Response(op.done_status if output is None else 200, output, headers)

        base = flavor.base.replace("{provider}", flavor.provider)
        routes = [
            Route(
                method="GET",
                path=f"{base}/{flavor.operations}/{{id}}",
                handle=status,
                bucket=_bucket(flavor),
                polls=True,
            )
        ]
        if flavor.results != flavor.operations:
            routes.append(Route(method="GET", path=f"{base}/{flavor.results}/{{id}}", handle=result, polls=True))
        return routes

    flavors = {t.flavor: None for t in types} | dict.fromkeys((COMPUTE, DISKS, GALLERY, NETWORK, PLAIN, DEPLOYMENT))
    return [r for flavor in flavors for r in polls(flavor)]


def _bucket(flavor: Flavor) -> str:
    return f"{flavor.provider}/{flavor.poll_bucket}" if flavor.poll_bucket else ""
