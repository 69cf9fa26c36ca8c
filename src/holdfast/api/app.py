"""What is served: /v1, health, metrics, and Spot's routes at the root. Made over an opened house; starts nothing."""

from __future__ import annotations

import time

from fastapi import FastAPI

import holdfast
from holdfast.api import clouds, health, imports, machines, market, nodes, operations, tokens
from holdfast.api.problems import add_handlers
from holdfast.api.schemas import describe_answers
from holdfast.api.spot import routes as spot
from holdfast.wiring import House

__all__ = ["make_app"]


def make_app(house: House) -> FastAPI:
    app = FastAPI(
        title="Holdfast",
        version=holdfast.__version__,
        description="Keeps stateful virtual machines held fast. Errors are application/problem+json with a code.",
        docs_url=None,  # its page would have the browser load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a redirect would drop the body of a POST in many clients
    )
    app.state.house = house
    app.state.began = time.monotonic()
    for one in (health, clouds, machines, imports, nodes, operations, market, tokens):
        app.include_router(one.router)
    app.include_router(spot.router)
    app.include_router(spot.elsewhere)  # after it: it takes what is left
    add_handlers(app)
    describe_answers(app)
    return app
