"""What can go wrong between the terminal and the server."""

from __future__ import annotations

from typing import Any

from holdfast.core.errors import HoldfastError, InternalError, Retry

__all__ = [
    "AnswerLost",
    "NeedsToken",
    "ServerDidNotStart",
    "ServerSaid",
    "ServerUnreachable",
    "Stopped",
    "Unexpected",
    "WrongUsage",
]


class ServerSaid(Exception):
    """The server's problem+json, as it was: its code, text, remedy and exit code are the server's."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.problem = {
            "code": body.get("code", "http.error"),
            "field": body.get("field"),
            "text": body.get("detail") or f"The server answered {status}.",
            "remedy": body.get("remedy"),
            "details": body.get("details") or {},
        }
        self.exit_code = int(body.get("exit_code", 1))
        super().__init__(str(self.problem["text"]))


class WrongUsage(HoldfastError):
    """The command line is not one that this command understands."""

    code, retry, exit_code = "usage", Retry.AFTER_CHANGE, 2
    text = "{problem}."
    remedy = "See '{command}'."


class ServerUnreachable(HoldfastError):
    """Nothing answers where the server should be."""

    code, retry = "server.unreachable", Retry.LATER
    text = "No server answers at {url}: {problem}."
    remedy = "Start it ('holdfast server'), or correct HOLDFAST_URL."


class ServerDidNotStart(HoldfastError):
    """A server was started in the background and ended, or did not become ready."""

    code, retry = "server.did_not_start", Retry.AFTER_CHANGE
    text = "The server did not start: {problem}"
    remedy = "Look at {log}, or run 'holdfast server' to see what it says."


class NeedsToken(HoldfastError):
    """A server elsewhere must be told who calls."""

    code, retry, exit_code = "token.needed", Retry.AFTER_CHANGE, 2
    field = "HOLDFAST_TOKEN"
    text = "HOLDFAST_URL is set and HOLDFAST_TOKEN is not."
    remedy = "Make a token on the server's home ('holdfast token create NAME --role operator') and set HOLDFAST_TOKEN."


class AnswerLost(HoldfastError):
    """The server went away before it answered a request that may have taken effect."""

    code, retry = "server.answer_lost", Retry.AFTER_CHANGE
    text = "The server went away before it answered {method} {path}; it may have taken effect or not."
    remedy = "See what is there ('holdfast import list', 'holdfast operation list') before you repeat it."


class Stopped(HoldfastError):
    """Ctrl-C or a signal ended the command in the middle of its work. The exit code is 128 and the signal's number."""

    code, retry, exit_code = "stopped", Retry.NOW, 130
    text = "Stopped by {signal}; the work is not complete."
    remedy = "Run the same command again; it resumes."


class Unexpected(InternalError):
    """A command failed in a way that nobody had foreseen: a defect of ours."""

    code = "internal.unexpected"
    text = "Holdfast has failed through a defect of its own: {problem}"
    remedy = "Report this text, please; with HOLDFAST_TRACEBACK=1 the same command also shows where it happened."
