"""`article-summarizer`: a start answers a job id, and a second address streams thirteen events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quart import Response

from ..api.requests import JSON, json_answer, require_acceptable
from ..events import to_json
from ..pipelines.dialects import ARTICLE
from .jobs import DialectJobs, Framing, Named, body_members

if TYPE_CHECKING:
    from ..app import Parts
    from ..settings import Settings


def article_routes(
    settings: Settings, parts: Parts
) -> list[tuple[str, str, Callable[..., object]]]:
    """The routes of the dialect."""
    framing = Framing(
        event=_frame,
        opening=lambda _: b"event: ping\ndata: {}\n\n",
        heartbeat=lambda: b": ping\n\n",
        heartbeat_s=settings.heartbeat_seconds,
        names={"completed": "completed", "done": "complete"},
    )
    jobs = DialectJobs(settings, parts, ARTICLE, framing)

    async def start() -> Response:
        """Take an article's address (it is never fetched) and answer its job."""
        require_acceptable(JSON)
        await body_members()
        return json_answer({"job_id": await jobs.start(), "status": "processing"})

    async def stream(job_id: str) -> Response:
        return await jobs.stream(job_id)

    return [("POST", "/process-article-stream", start), ("GET", "/status/<job_id>", stream)]


def _frame(event: Named) -> bytes:
    body = {"event": event.name, "timestamp": event.timestamp, **event.data}
    return f"id: {event.id}\nevent: {event.name}\ndata: {to_json(body)}\n\n".encode()
