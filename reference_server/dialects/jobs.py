"""Starting a dialect's job, and streaming its log in a dialect's own frames.

A stream here is the protocol's loop with less around it: an opening, the log after a cursor, signs
of life, the end. Encoding is the dialect's; nothing is cached, because these are for trying out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from quart import Response, request

from ..api.requests import require_acceptable, require_job_id, unknown_job
from ..api.stream import MEDIA_TYPE, event_stream, no_content
from ..cursors import stream_cursor
from ..events import Event
from ..jsonbody import MalformedJson, parse_object
from ..problems import Problem, unavailable
from ..startrequest import require_json
from ..store.base import Claim, Created, NewRun

if TYPE_CHECKING:
    from ..app import Parts
    from ..hub import JobLog
    from ..settings import Settings

READ_EVENTS: Final = 200
READ_BYTES: Final = 262_144
#: The jobs' quiet stretch outlasts a heartbeat interval by so much.
QUIET_MARGIN_S: Final = 1.5
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Named:
    """An event of the log under the name that a dialect gives it."""

    id: int
    name: str
    timestamp: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class Framing:
    """How a dialect writes its streams."""

    event: Callable[[Named], bytes]
    opening: Callable[[str], bytes]
    """Of a job's stream; may be empty."""
    heartbeat: Callable[[], bytes]
    heartbeat_s: float
    names: dict[str, str]
    """What it calls the log's own events: `started`, `completed`, `failed`, `canceled`, `done`."""


def named(event: Event, names: dict[str, str]) -> Named:
    """An event of the log as the dialect tells it."""
    data = json.loads(event.data)
    if event.type == "agent_chunk":
        return Named(event.id, data["agent"], event.timestamp, json.loads(data["text"]))
    if event.type == "job_status":
        name = names.get(data["status"], data["status"])
        return Named(event.id, name, event.timestamp, {"status": data["status"]})
    return Named(event.id, names.get(event.type, event.type), event.timestamp, data)


async def body_members() -> dict[str, object]:
    """The JSON object of a request's body, {} where there is none. Raises Problem."""
    body = await request.get_data(cache=True, as_text=False, parse_form_data=False)
    if not body:
        return {}
    require_json(
        request.headers.getlist("Content-Type"), request.headers.getlist("Content-Encoding")
    )
    try:
        return parse_object(body)
    except MalformedJson as error:
        raise Problem(400, str(error)) from error


class DialectJobs:
    """What the dialects share."""

    def __init__(self, settings: Settings, parts: Parts, dialect: str, framing: Framing) -> None:
        self._settings = settings
        self._parts = parts
        self._dialect = dialect
        self._framing = framing

    async def start(self) -> str:
        """Create a job and let it run; its id. Raises Problem 503."""
        if self._parts.lifecycle.draining:
            raise unavailable("This instance is shutting down.")
        quiet_s = self._framing.heartbeat_s + QUIET_MARGIN_S
        new = NewRun(
            job_id=self._parts.new_id(),
            client_id=self._dialect,
            parameters=self._parts.pipelines.dialect_parameters(self._dialect, quiet_s),
            ready=True,
            wait_s=0.0,
            idempotency_key=None,
            fingerprint="",
            owner=self._parts.owner,
            lease_s=self._settings.lease_seconds,
        )
        # Shielded: a client that leaves in between must not leave a job lying.
        await asyncio.shield(asyncio.ensure_future(self._create(new)))
        return new.job_id

    async def _create(self, new: NewRun) -> None:
        outcome = await self._parts.store.create_run(new, 0)
        if isinstance(outcome, Created) and outcome.epoch > 0:
            claim = Claim(outcome.job_id, outcome.epoch, 0, new.parameters, taken_over=False)
            self._parts.runner.launch(claim)

    async def stream(self, job_id: str, *, resumable: bool = True) -> Response:
        """The job's stream from the request's cursor on. Raises Problem."""
        log = await self._parts.hub.log(require_job_id(job_id))
        if log is None:
            raise unknown_job()
        require_acceptable(MEDIA_TYPE)
        cursor = 0
        if resumable:
            cursor = stream_cursor(
                request.headers.getlist("Last-Event-ID"), request.args.getlist("last_event_id")
            )
        if log.ended and cursor == log.head:
            return no_content()
        if request.method == "HEAD":
            return event_stream(Response(b""))
        return event_stream(Response(self._chunks(log, cursor)))

    async def _chunks(self, log: JobLog, cursor: int) -> AsyncGenerator[bytes, None]:
        """Everything behind the head; ends normally whatever happens."""
        from ..hub import Reader  # noqa: PLC0415  # the hub imports half of the server

        reader = Reader(min(cursor, log.head))
        now = asyncio.get_running_loop().time
        log.attach(reader)
        try:
            if opening := self._framing.opening(log.job_id):
                yield opening
            sent_s = now()
            while not (log.ended and reader.cursor == log.head):
                if self._parts.lifecycle.recycling:
                    return
                for event in await self._due(log, reader.cursor):
                    reader.cursor = event.id
                    yield self._framing.event(named(event, self._framing.names))
                    sent_s = now()
                if reader.cursor == log.head and not log.ended:
                    await reader.wait(sent_s + self._framing.heartbeat_s)
                    if now() - sent_s >= self._framing.heartbeat_s:
                        yield self._framing.heartbeat()
                        sent_s = now()
        except Exception as error:
            _LOG.error("stream failed", exc_info=error, extra={"job_id": log.job_id})
        finally:
            log.detach(reader)

    async def _due(self, log: JobLog, after: int) -> list[Event]:
        if after >= log.head:
            return []
        return await self._parts.store.read(
            log.job_id, after, upto=log.head, limit=READ_EVENTS, max_bytes=READ_BYTES
        )
