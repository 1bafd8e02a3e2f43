"""Targets that implement nothing: against none of them may any check of the suite pass.

A suite that says "pass" where nothing was shown is worse than none. Each server here is as small as
its kind of nothing allows: `python -m tests.null_targets NAME` runs one of them on a free port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

HEAD_MAX_BYTES: Final = 262_144
BODY_MAX_BYTES: Final = 4_194_304
#: Behind the discard port of loopback nobody answers: a client that follows sees another fault.
ELSEWHERE: Final = "http://127.0.0.1:9/moved"
STREAM_HEAD: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What a null target looks at."""

    method: str
    path: str
    content_type: str
    body: bytes


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """One request; None where the client left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        size = min(int(fields.get("content-length") or 0), BODY_MAX_BYTES)
        body = await reader.readexactly(size)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
        return None
    method, _, rest = first.partition(" ")
    return Request(method, rest.partition(" ")[0], fields.get("content-type", ""), body)


async def _send(
    writer: asyncio.StreamWriter,
    status: str,
    headers: Mapping[str, str],
    body: bytes = b"",
    *,
    sized: bool = True,
) -> None:
    fields = dict(headers)
    if sized:
        fields["Content-Length"] = str(len(body))
    fields["Connection"] = "close"
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)
    await writer.drain()


async def _ok(request: Request, writer: asyncio.StreamWriter) -> None:
    await _send(writer, "200 OK", {"Content-Type": "text/plain"}, b"OK\n")


async def _echo(request: Request, writer: asyncio.StreamWriter) -> None:
    """The body comes back, with its own media type; without a body, the path does."""
    kind = request.content_type or "text/plain"
    await _send(writer, "200 OK", {"Content-Type": kind}, request.body or request.path.encode())


async def _html(request: Request, writer: asyncio.StreamWriter) -> None:
    page = b"<!doctype html><title>Welcome</title><h1>It works!</h1>"
    await _send(writer, "200 OK", {"Content-Type": "text/html; charset=utf-8"}, page)


async def _redirect(request: Request, writer: asyncio.StreamWriter) -> None:
    await _send(writer, "308 Permanent Redirect", {"Location": ELSEWHERE})


async def _never(request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _garbage(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 8)
    await writer.drain()


async def _empty_stream(request: Request, writer: asyncio.StreamWriter) -> None:
    """Every answer is as it should be, only that the stream has nothing in it and ends."""
    if not await _job(request, writer):
        await _send(writer, "200 OK", STREAM_HEAD, sized=False)


async def _silent_stream(request: Request, writer: asyncio.StreamWriter) -> None:
    """The same with a stream that opens and never says a word."""
    if not await _job(request, writer):
        await _send(writer, "200 OK", STREAM_HEAD, sized=False)
        await asyncio.Event().wait()


async def _job(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Answer for the resources beside the stream, as of a job that has emitted nothing."""
    path = request.path.partition("?")[0]
    if path.endswith("/stream"):
        return False
    status = "200 OK"
    if request.method == "POST" and path.endswith("/start"):
        status, job = "202 Accepted", str(uuid.uuid4())
        urls = {f"{name}_url": f"/api/jobs/{job}/{name}" for name in ("stream", "snapshot")}
        body: dict[str, object] = {"job_id": job, **urls, "events_url": f"/api/jobs/{job}/events"}
        body["quota"] = {"limit": 5, "remaining": 4}
    else:
        job = path.split("/")[-2] if path.count("/") > 2 else ""
        body = {"job_id": job, "status": "queued", "cursor": 0, "events": []}
        if path.endswith("/events"):
            body |= {"has_more": False, "done": False, "gap": None}
    text = json.dumps(body).encode()
    await _send(writer, status, {"Content-Type": "application/json"}, text)
    return True


#: Name -> how it answers a request; None: it hangs up without having read one.
NULL_TARGETS: Final[Mapping[str, Answer | None]] = {
    "ok-to-everything": _ok,
    "echo": _echo,
    "empty-stream": _empty_stream,
    "html": _html,
    "never-answers": _never,
    "closes-at-once": None,
    "not-http": _garbage,
    "redirects": _redirect,
    "hangs-in-stream": _silent_stream,
}


async def serve(name: str) -> None:
    """Serve for ever, one request a connection."""
    answer = NULL_TARGETS[name]

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader) if answer is not None else None
            if answer is not None and request is not None:
                await answer(request, writer)
        except OSError:
            pass  # the client left: there is nobody to answer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=HEAD_MAX_BYTES)
    port = server.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", flush=True)
    async with server:
        await server.serve_forever()


def main(arguments: list[str]) -> int:
    """Run the null target that is named."""
    if len(arguments) != 1 or arguments[0] not in NULL_TARGETS:
        print(f"expected one of {', '.join(NULL_TARGETS)}", file=sys.stderr)
        return 2
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
