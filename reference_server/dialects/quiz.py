"""`quiz`: the POST is the stream. All stands in the JSON; there is nothing to come back to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quart import Response

from ..api.requests import require_acceptable
from ..api.stream import MEDIA_TYPE
from ..events import to_json
from ..pipelines.dialects import QUIZ
from .jobs import DialectJobs, Framing, Named, body_members

if TYPE_CHECKING:
    from ..app import Parts
    from ..settings import Settings


def quiz_routes(settings: Settings, parts: Parts) -> list[tuple[str, str, Callable[..., object]]]:
    """The routes of the dialect."""
    stamp = parts.streams.clock.timestamp

    def opening(_: str) -> bytes:
        return _data({"type": "connection", "message": "Stream connected", "timestamp": stamp()})

    def heartbeat() -> bytes:
        told = {"message": "Connection active", "timestamp": stamp()}
        return _data({"type": "heartbeat", "data": told})

    framing = Framing(
        event=_frame,
        opening=opening,
        heartbeat=heartbeat,
        heartbeat_s=2 * settings.heartbeat_seconds,
        names={"started": "started", "completed": "summary", "done": "complete"},
    )
    jobs = DialectJobs(settings, parts, QUIZ, framing)

    async def generate(filename: str) -> Response:
        """Start a quiz on a document (the name is all that is looked at) and stream it."""
        require_acceptable(MEDIA_TYPE)
        await body_members()
        return await jobs.stream(await jobs.start(), resumable=False)

    return [("POST", "/api/quiz/generate-stream/<filename>", generate)]


def _frame(event: Named) -> bytes:
    return _data({"type": event.name, "timestamp": event.timestamp, "data": event.data})


def _data(body: dict[str, object]) -> bytes:
    return f"data: {to_json(body)}\n\n".encode()
