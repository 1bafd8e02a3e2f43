"""`resume-agent`: a session is started, streams typed events, and stops at gates for an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quart import Response

from ..api.requests import JSON, json_answer, require_acceptable, require_job_id, unknown_job
from ..events import to_json
from ..pipelines.dialects import RESUME_AGENT
from ..problems import Problem
from .jobs import DialectJobs, Framing, Named, body_members

if TYPE_CHECKING:
    from ..app import Parts
    from ..settings import Settings


def session_routes(
    settings: Settings, parts: Parts
) -> list[tuple[str, str, Callable[..., object]]]:
    """The routes of the dialect."""
    framing = Framing(
        event=_frame,
        opening=lambda job_id: _control("connected", {"session_id": job_id}),
        heartbeat=lambda: _control("heartbeat", {}),
        heartbeat_s=settings.heartbeat_seconds,
        names={
            "started": "pipeline_start",
            "completed": "pipeline_result",
            "done": "pipeline_complete",
            "error": "pipeline_error",
        },
    )
    jobs = DialectJobs(settings, parts, RESUME_AGENT, framing)

    async def start() -> Response:
        require_acceptable(JSON)
        await body_members()
        session_id = await jobs.start()
        return json_answer({"session_id": session_id, "status": "running"}, status=201)

    async def gate(session_id: str) -> Response:
        """Answer the gate at which the session waits; a second answer finds none waiting."""
        if await parts.store.run(require_job_id(session_id)) is None:
            raise unknown_job()
        require_acceptable(JSON)
        answer = await body_members()
        if not isinstance(answer.get("gate"), str):
            raise Problem(422, "The answer has to name its gate.")
        opened = parts.runner.answer(session_id)
        return json_answer({"session_id": session_id, "accepted": opened})

    async def stream(session_id: str) -> Response:
        return await jobs.stream(session_id)

    return [
        ("POST", "/api/sessions", start),
        ("GET", "/api/sessions/<session_id>/sse", stream),
        ("POST", "/api/sessions/<session_id>/gate", gate),
    ]


def _frame(event: Named) -> bytes:
    body = {"type": event.name, "timestamp": event.timestamp, **event.data}
    return f"id: {event.id}\nevent: {event.name}\ndata: {to_json(body)}\n\n".encode()


def _control(name: str, data: dict[str, str]) -> bytes:
    return f"event: {name}\ndata: {to_json({'type': name, **data})}\n\n".encode()
