"""Servers whose status or headers do not say what has happened, or not what a stream needs."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .model import Mutant, put


def stream_header(name: str, value: str | None) -> None:
    """Give streams another header, or (None) not this one."""
    from reference_server.api import stream as view

    original = view.event_stream

    def changed(response: Any) -> Any:
        answer = original(response)
        if value is None:
            answer.headers.pop(name, None)
        else:
            answer.headers[name] = value
        return answer

    view.event_stream = changed


def _both_framings() -> None:
    """Content-Length beside chunked coding; h11 would clean that up, so it comes behind it."""
    import h11._writers as writers

    original = writers.write_any_response

    def with_length(response: Any, write: Callable[[bytes], Any]) -> None:
        parts: list[bytes] = []
        original(response, parts.append)
        head = b"".join(parts)
        if b"text/event-stream" in head and b"chunked" in head:
            head = head.replace(b"\r\n", b"\r\nContent-Length: 1048576\r\n", 1)
        write(head)

    for key, writer in list(writers.WRITERS.items()):
        if writer is original:
            writers.WRITERS[key] = with_length


def _sized_replays() -> None:
    """The log of a finished job is sent as one body of known length."""
    from quart import Response, request

    from reference_server.api import stream as view

    async def stream(self: view.StreamApi, job_id: str) -> Response:
        answer = await get(self, job_id)
        log = await self._hub.log(job_id)
        if log is None or not log.ended or answer.status_code != 200 or request.method == "HEAD":
            return answer
        body = b"".join([chunk async for chunk in _chunks_of(answer)])
        whole = view.event_stream(Response(body))
        whole.headers["Content-Length"] = str(len(body))
        return whole

    get = view.StreamApi.stream
    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _chunks_of(answer: Any) -> AsyncGenerator[bytes, None]:
    """The generator that a streaming answer was made with."""
    chunks: AsyncGenerator[bytes, None] = answer.response.iter
    return chunks


def _no_vary() -> None:
    from reference_server.cors import CorsPolicy

    original = CorsPolicy.answer_headers

    def bare(self: CorsPolicy, origin: str | None) -> dict[str, str]:
        return {n: value for n, value in original(self, origin).items() if n != "Vary"}

    CorsPolicy.answer_headers = bare  # type: ignore[method-assign]


def _any_accept() -> None:
    from reference_server.api import stream as view

    put(view, "require_acceptable", lambda media_type: None)


def gzipped(*, flushed: bool) -> None:
    """Compress streams for clients that offer it."""
    from quart import Response, request

    from reference_server.api import stream as view

    original = view.event_stream

    async def coded(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        coder = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        async for chunk in chunks:
            out = coder.compress(chunk)
            if flushed:
                out += coder.flush(zlib.Z_SYNC_FLUSH)
            if out:
                yield out
        yield coder.flush()

    async def stream(self: Any, job_id: str) -> Any:
        answer = await get(self, job_id)
        offered = "gzip" in request.headers.get("Accept-Encoding", "")
        if not offered or answer.status_code != 200 or request.method == "HEAD":
            return answer
        whole = original(Response(coded(_chunks_of(answer))))
        whole.headers["Content-Encoding"] = "gzip"
        return whole

    get = view.StreamApi.stream
    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _late_snapshot() -> None:
    """A snapshot is not found as long as its job is young and has hardly begun: a replica lags."""
    from reference_server.api import jobs
    from reference_server.api.requests import unknown_job

    original = jobs.JobsApi.snapshot

    async def snapshot(self: jobs.JobsApi, job_id: str) -> Any:
        run = await self._run(job_id)
        age = datetime.now(UTC) - datetime.fromisoformat(run.created_at.replace("Z", "+00:00"))
        if run.head < 2 and age.total_seconds() < 0.5:
            raise unknown_job()
        return await original(self, job_id)

    jobs.JobsApi.snapshot = snapshot  # type: ignore[method-assign]


def _no_snapshot_url() -> None:
    from reference_server.api import start
    from reference_server.api.requests import json_answer

    def without(body: dict[str, object], **more: Any) -> Any:
        return json_answer({n: v for n, v in body.items() if n != "snapshot_url"}, **more)

    put(start, "json_answer", without)


def _head_has_body() -> None:
    """HEAD is answered as GET is, body and all."""
    from h11 import _connection
    from hypercorn.protocol import http_stream
    from quart import Response, request

    from reference_server.api import stream as view
    from reference_server.api.requests import require_job_id

    framing = _connection._body_framing
    put(_connection, "_body_framing", lambda method, event: framing(b"GET", event))
    put(http_stream, "suppress_body", lambda method, status: status in (204, 304))

    async def stream(self: Any, job_id: str) -> Any:
        log = await self._hub.log(require_job_id(job_id))
        if log is None or request.method != "HEAD":
            return await get(self, job_id)
        return view.event_stream(Response(self._streams.open(log, 0)))

    get = view.StreamApi.stream
    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _head_refused() -> None:
    from quart import request

    from reference_server.api import stream as view
    from reference_server.problems import Problem

    async def stream(self: Any, job_id: str) -> Any:
        if request.method == "HEAD":
            raise Problem(405, headers={"Allow": "GET, OPTIONS"})
        return await get(self, job_id)

    get = view.StreamApi.stream
    view.StreamApi.stream = stream  # type: ignore[method-assign]


def _no_allow() -> None:
    from reference_server import problems

    original = problems.problem_response

    def without(problem: Any) -> Any:
        problem.headers.pop("Allow", None)
        return original(problem)

    problems.problem_response = without


def _ok_with_error(*statuses: int) -> None:
    """Errors of these statuses are answered 200, the document tells the truth."""
    from reference_server import problems

    original = problems.problem_response

    def ok(problem: Any) -> Any:
        answer = original(problem)
        if problem.status in statuses:
            answer.status_code = 200
        return answer

    problems.problem_response = ok


def _plain_json_errors() -> None:
    from reference_server import problems

    problems.MEDIA_TYPE = "application/json"  # type: ignore[misc]


def _other_status_member() -> None:
    from reference_server import problems

    original = problems.problem_response

    def other(problem: Any) -> Any:
        answer = original(problem)
        text = problem.body().replace(b'"status": %d' % problem.status, b'"status": 500')
        answer.set_data(text)
        return answer

    problems.problem_response = other


def _raw_error_text() -> None:
    from .wire import on_frames

    on_frames(lambda frame, _: b'{"error": "internal"}\n' + frame, "error")


def _always_after_0() -> None:
    from reference_server.stream import Stream

    original = Stream._connection

    def forgetful(self: Stream) -> bytes:
        asked, self._requested = self._requested, 0
        frame = original(self)
        self._requested = asked
        return frame

    Stream._connection = forgetful  # type: ignore[method-assign]


def _opening_with_id() -> None:
    from .wire import on_frames

    on_frames(lambda frame, _: b"id: 0\n" + frame, "connection")


MUTANTS: list[Mutant] = [
    Mutant(
        name="hdr-text-plain",
        breaks=("HDR-01",),
        follows=("PROXY-01", "PROXY-02", "PROXY-03", "PROXY-04", "PROXY-05"),
        patch=partial(stream_header, "Content-Type", "text/plain; charset=utf-8"),
        about="Streams are text/plain.",
    ),
    Mutant(
        name="hdr-latin1-charset",
        breaks=("HDR-01",),
        patch=partial(stream_header, "Content-Type", "text/event-stream; charset=iso-8859-1"),
        about="Streams say that they are Latin-1.",
    ),
    Mutant(
        name="hdr-both-framings",
        breaks=("HDR-02",),
        patch=_both_framings,
        about="Content-Length stands beside chunked coding.",
    ),
    Mutant(
        name="hdr-fixed-length",
        breaks=("HDR-02",),
        patch=_sized_replays,
        about="The streams of ended jobs have a Content-Length.",
    ),
    Mutant(
        name="hdr-cacheable",
        breaks=("HDR-03",),
        follows=("PROXY-04", "PROXY-07"),
        patch=partial(stream_header, "Cache-Control", "public, max-age=60"),
        about="Streams may be cached for a minute.",
    ),
    Mutant(
        name="hdr-no-x-accel",
        breaks=("HDR-04",),
        follows=("PROXY-01",),
        patch=partial(stream_header, "X-Accel-Buffering", None),
        about="X-Accel-Buffering is absent.",
    ),
    Mutant(
        name="hdr-no-vary",
        breaks=("HDR-05",),
        follows=("CORS-04",),
        patch=_no_vary,
        about="No answer has a Vary, so that caches mix up origins.",
    ),
    Mutant(
        name="hdr-no-nosniff",
        breaks=("HDR-05",),
        patch=partial(stream_header, "X-Content-Type-Options", None),
        about="X-Content-Type-Options is absent.",
    ),
    Mutant(
        name="hdr-any-accept",
        breaks=("HDR-06",),
        patch=_any_accept,
        about="A stream is sent whatever Accept says.",
    ),
    Mutant(
        name="hdr-gzip-unflushed",
        breaks=("HDR-07",),
        follows=("PAD-06",),
        patch=partial(gzipped, flushed=False),
        about="Streams are compressed without a flush; compressed padding is no padding either.",
    ),
    Mutant(
        name="hdr-late-snapshot",
        breaks=("HDR-08",),
        follows=("SNAP-01",),
        patch=_late_snapshot,
        about="The snapshot of a new job is 404 for up to 500 ms, which is SNAP-01's matter too.",
    ),
    Mutant(
        name="hdr-no-snapshot-url",
        breaks=("HDR-08",),
        patch=_no_snapshot_url,
        about="The answer to a start does not tell the snapshot's URL.",
    ),
    Mutant(
        name="hdr-head-has-body",
        breaks=("HDR-09",),
        patch=_head_has_body,
        about="HEAD opens a stream.",
    ),
    Mutant(
        name="hdr-head-refused",
        breaks=("HDR-09",),
        patch=_head_refused,
        about="HEAD on a stream is answered 405.",
    ),
    Mutant(
        name="hdr-no-allow",
        breaks=("HDR-09",),
        patch=_no_allow,
        about="405 comes without Allow.",
    ),
    Mutant(
        name="hdr-ok-with-error",
        breaks=("HDR-10",),
        follows=("ISO-02",),
        patch=partial(_ok_with_error, 404),
        about="An unknown job is answered 200 with a problem document.",
    ),
    Mutant(
        name="hdr-plain-json-errors",
        breaks=("HDR-10",),
        follows=("QUOTA-03", "POLL-06"),
        patch=_plain_json_errors,
        about="Errors are application/json: those of quota and cursor are so as well.",
    ),
    Mutant(
        name="hdr-other-status-member",
        breaks=("HDR-10",),
        follows=("QUOTA-03", "POLL-06"),
        patch=_other_status_member,
        about="Problem documents say 500, whatever the status is.",
    ),
    Mutant(
        name="hdr-raw-error-text",
        breaks=("HDR-11",),
        follows=("WIRE-07",),
        patch=_raw_error_text,
        about="A failure also writes JSON into the stream: that line is no known field.",
    ),
    Mutant(
        name="hdr-always-after-0",
        breaks=("HDR-12",),
        patch=_always_after_0,
        about="The opening event says after=0, whatever the cursor is.",
    ),
    Mutant(
        name="hdr-opening-with-id",
        breaks=("HDR-12",),
        patch=_opening_with_id,
        about="The opening event carries an id.",
    ),
]
