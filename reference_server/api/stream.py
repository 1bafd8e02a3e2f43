"""`GET /api/jobs/{job_id}/stream`: the live log (protocol §3, §4)."""

from __future__ import annotations

from typing import Final

from quart import Response, request

from ..cursors import stream_cursor
from ..edge import connection_of
from ..hub import Hub
from ..stream import Streams
from .requests import require_acceptable, require_job_id, unknown_job

MEDIA_TYPE: Final = "text/event-stream"
STREAM_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store, must-revalidate, no-transform",
    "Pragma": "no-cache",
    "Expires": "0",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class StreamApi:
    """The stream resource."""

    def __init__(self, hub: Hub, streams: Streams) -> None:
        self._hub = hub
        self._streams = streams

    async def stream(self, job_id: str) -> Response:
        """200 and the log after the cursor, or 204 where a finished job has nothing left."""
        log = await self._hub.log(require_job_id(job_id))
        if log is None:
            raise unknown_job()
        require_acceptable(MEDIA_TYPE)
        cursor = stream_cursor(
            request.headers.getlist("Last-Event-ID"), request.args.getlist("last_event_id")
        )
        if log.ended and cursor == log.head:
            return no_content()
        if request.method == "HEAD":
            return event_stream(Response(b""))
        connection = connection_of(request.scope)  # type: ignore[arg-type]  # ASGI, typed differently
        chunks = self._streams.open(log, cursor, connection)
        if connection is None:
            return event_stream(Response(chunks))
        connection.stream(chunks)
        return event_stream(Response(b""))


def event_stream(response: Response) -> Response:
    """Give an answer the headers of a stream, and no deadline."""
    response.headers.update(STREAM_HEADERS)
    response.headers.pop("Content-Length", None)
    if request.http_version == "1.1":
        response.headers["Connection"] = "keep-alive"
    response.timeout = None
    return response


def no_content() -> Response:
    """204: an EventSource that gets it stops reconnecting."""
    response = Response(b"", status=204, headers={"Cache-Control": "no-store"})
    for name in ("Content-Type", "Content-Length"):
        response.headers.pop(name, None)
    return response
