"""Small servers in the shapes of protocol §12 that share nothing with the reference server.

Real systems of these shapes have no ids, no replay, their own names and their own faults. Run one:
`python -m tests.foreign_targets NAME`; it takes a free port and prints its address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

HEAD: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
    "Connection": "close",
}
STEPS: Final = (
    *("started", "fetch_start", "fetch_complete", "media_detect_start", "media_detected"),
    *("content_extract_start", "content_extracted", "ai_start", "ai_complete"),
    *("save_start", "save_complete", "completed", "complete"),
)
STEP_S: Final = 0.45
Send = Callable[[bytes], Awaitable[None]]


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Request:
    """What these servers look at."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Server:
    """One target: a name, its jobs, and all requests that reached it."""

    name: str
    queues: dict[str, asyncio.Queue[bytes | None]] = field(default_factory=dict)
    readers: dict[str, list[asyncio.Queue[bytes | None]]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    news: list[bytes] = field(default_factory=list)

    def work(self, job: Awaitable[None]) -> None:
        task = asyncio.ensure_future(job)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def _article(server: Server, request: Request, writer: asyncio.StreamWriter) -> None:
    """A queue per job: whoever reads takes the events away. With `buffered`, the seed's fault."""
    if request.method == "POST" and request.path == "/process-article-stream":
        job = uuid.uuid4().hex
        queue = server.queues[job] = asyncio.Queue()

        async def work() -> None:
            for step in STEPS:
                await asyncio.sleep(STEP_S)
                body: dict[str, object] = {"message": f"{step} …", "progress": 1}
                if server.name != "article-untimed-buffered":
                    body["timestamp"] = now()
                queue.put_nowait(f"event: {step}\r\ndata: {json.dumps(body)}\r\n\r\n".encode())
            queue.put_nowait(None)

        server.work(work())
        await _answer(writer, 200, {"job_id": job})
    elif request.method == "GET" and request.path.startswith("/status/"):
        waiting = server.queues.get(request.path.removeprefix("/status/"))
        if waiting is None:
            await _answer(writer, 404, {"detail": "Job not found"})
            return
        send = await _open(writer)
        held = b""
        while (piece := await waiting.get()) is not None:
            if "buffered" in server.name:
                held += piece
            else:
                await send(piece)
        await send(held)
        await send(b"")
    else:
        await _answer(writer, 404, {"detail": "Not Found"})


async def _quiz(server: Server, request: Request, writer: asyncio.StreamWriter) -> None:
    """The POST streams; `quiz-renamed` ends with a name that no profile lists."""
    if request.method != "POST" or not request.path.startswith("/api/quiz/generate-stream/"):
        await _answer(writer, 404, {"statusCode": 404, "message": f"Cannot {request.method}"})
        return
    send = await _open(writer)

    async def say(kind: str, **more: object) -> None:
        told = {"type": kind, **more, "timestamp": now()}
        await send(f"data: {json.dumps(told)}\n\n".encode())

    await say("connection", message="Stream connected")
    for number in range(6):
        await asyncio.sleep(1.0)
        await say("question", data={"n": number, "text": "Was heißt 流?"})
    if server.name == "quiz-cut":
        writer.transport.abort()
        return
    await say("quiz_over" if server.name == "quiz-renamed" else "complete", data={"count": 6})
    if server.name == "quiz-twice":
        await say("complete", data={"count": 6})
    await send(b"")


async def _sessions(server: Server, request: Request, writer: asyncio.StreamWriter) -> None:
    """A map of open streams: who comes late gets only what is still to come."""
    parts = request.path.strip("/").split("/")
    if request.method == "POST" and request.path == "/api/sessions":
        session = f"sess_{uuid.uuid4().hex[:10]}"
        server.readers[session] = []
        server.work(_session(server, session))
        await _answer(writer, 201, {"session": {"id": session, "status": "active"}})
    elif request.method == "POST" and parts[-1] == "gate":
        server.queues.setdefault(parts[-2], asyncio.Queue()).put_nowait(b"yes")
        await _answer(writer, 200, {"ok": True})
    elif request.method == "GET" and parts[-1] == "sse" and parts[-2] in server.readers:
        send = await _open(writer)
        mine: asyncio.Queue[bytes | None] = asyncio.Queue()
        server.readers[parts[-2]].append(mine)
        await send(b'event: connected\ndata: {"ok":true}\n\n')
        while (piece := await mine.get()) is not None:
            await send(piece)
        await send(b"")
    else:
        await _answer(writer, 404, {"error": "not found"})


async def _session(server: Server, session: str) -> None:
    gate = server.queues.setdefault(session, asyncio.Queue())

    def tell(name: str, **data: object) -> None:
        piece = f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
        for reader in server.readers[session]:
            reader.put_nowait(piece)

    await asyncio.sleep(1.0)
    tell("stage_start", stage="one")
    await asyncio.sleep(1.0)
    tell("pipeline_gate", gate="review")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(30.0):
            await gate.get()
    for number in range(5):
        await asyncio.sleep(0.9)
        tell("section_draft", section=str(number), content="Text …")
    tell("stage_complete", stage="one")
    tell("pipeline_complete", sections=5)
    for reader in server.readers[session]:
        reader.put_nowait(None)


async def _feed(server: Server, request: Request, writer: asyncio.StreamWriter) -> None:
    """News that never end: live ones, or those after a cursor. `feed-forgetful` looks at none,
    `feed-again` begins with the one that the reader has."""
    if not server.tasks:
        server.work(_news(server))
    send = await _open(writer)
    told = request.headers.get("last-event-id", "")
    at = len(server.news)
    if told.isdigit() and server.name != "feed-forgetful":
        at = int(told) - (server.name == "feed-again")
    while True:
        while at < len(server.news):
            await send(server.news[at])
            at += 1
        await asyncio.sleep(0.02)


async def _news(server: Server) -> None:
    while True:
        number = len(server.news) + 1
        body = json.dumps({"number": number, "timestamp": now()})
        server.news.append(f"id: {number}\nevent: news\ndata: {body}\n\n".encode())
        await asyncio.sleep(STEP_S)


KINDS: Final = {"article": _article, "quiz": _quiz, "sessions": _sessions, "feed": _feed}


async def _open(writer: asyncio.StreamWriter) -> Send:
    """Send a stream's head; what is returned writes chunks, an empty one the last."""
    head = {**HEAD, "Transfer-Encoding": "chunked"}
    lines = ["HTTP/1.1 200 OK", *(f"{n}: {v}" for n, v in head.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()

    async def send(piece: bytes) -> None:
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()

    return send


async def _answer(writer: asyncio.StreamWriter, status: int, body: object) -> None:
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        fields = {n.strip().lower(): v.strip() for n, _, v in (x.partition(":") for x in lines)}
        body = await reader.readexactly(int(fields.get("content-length") or 0))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
        return None
    method, path, *_ = [*first.split(" "), "", ""]
    return Request(method, path.partition("?")[0], fields, body)


async def serve(name: str) -> None:
    """Serve for ever, one request a connection; each request is told on standard output."""
    server = Server(name)
    view = KINDS[name.partition("-")[0]]

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if (request := await _read(reader)) is not None:
                await view(server, request, writer)
        except OSError:
            pass  # the client left
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, limit=262_144)
    print(f"listening on http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", flush=True)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1]))
