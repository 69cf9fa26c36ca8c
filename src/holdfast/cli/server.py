"""`holdfast server`: the server in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.shared import terminal_of

__all__ = ["app"]

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def server(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Loopback, unless TLS stands in front.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 chooses a free one.")] = 7420,
    test_clock: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the server in the foreground. SIGTERM drains it; after a SIGKILL the next one goes on where it was."""
    clock = test_clock or terminal_of(context).around.test_clock
    command = [sys.executable, "-m", "holdfast.api", "--host", host, "--port", str(port)]
    if clock is not None:
        command += ["--test-clock", str(clock.absolute())]
    # The terminal becomes the server: faces do not import each other, and signals reach the one process there is.
    os.execv(sys.executable, command)
