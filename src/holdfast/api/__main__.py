"""`python -m holdfast.api`: what `holdfast server` becomes. Not called by hand."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from holdfast.api.serving import serve
from holdfast.core.errors import HoldfastError
from holdfast.wiring import Surroundings


def main() -> None:
    parser = argparse.ArgumentParser(prog="holdfast server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--test-clock", type=Path, default=None)
    options = parser.parse_args()
    around = Surroundings.from_environment().with_test_clock(options.test_clock)
    try:
        code = serve(around, options.host, options.port)
    except HoldfastError as error:
        print(f"{error.message}\n{error.advice}", file=sys.stderr)
        code = error.exit_code
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a step that does not check keeps its thread: waiting for it would never end


if __name__ == "__main__":
    main()
