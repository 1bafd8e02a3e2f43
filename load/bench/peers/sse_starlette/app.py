"""FastAPI with sse-starlette on uvicorn, as their documentation writes a broadcast.

A queue for each client, filled by whoever publishes, and a generator that yields what comes out of
it. The JSON text is made once and not once per client, which the documentation does not ask for.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI
from sse_starlette.sse import EventSourceResponse, ServerSentEvent

TEXT_BYTES = 3930
app = FastAPI()
clients: set[asyncio.Queue[tuple[int, str]]] = set()
running: set[asyncio.Task[None]] = set()
history: list[tuple[int, str]] = []
numbers = itertools.count(1)


def event() -> tuple[int, str]:
    emitted = next(numbers)
    stamp = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    data = f'"data":{{"text":"{"x" * TEXT_BYTES}"}}'
    return emitted, f'{{"id":{emitted},"type":"agent_chunk","timestamp":"{stamp}",{data}}}'


@app.get("/stream")
async def stream() -> EventSourceResponse:
    async def events() -> AsyncIterator[ServerSentEvent]:
        queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        clients.add(queue)
        try:
            while True:
                number, data = await queue.get()
                yield ServerSentEvent(data, event="agent_chunk", id=str(number), sep="\n")
        finally:
            clients.discard(queue)

    return EventSourceResponse(events())


@app.get("/replay")
async def replay(events: int) -> EventSourceResponse:
    while len(history) < events:
        history.append(event())

    async def replayed() -> AsyncIterator[ServerSentEvent]:
        for number, data in history:
            yield ServerSentEvent(data, event="agent_chunk", id=str(number), sep="\n")

    return EventSourceResponse(replayed())


@app.post("/run", status_code=202)
async def run(events: int, burst: int, us: int) -> None:
    async def emit() -> None:
        for first in range(0, events, burst):
            for _ in range(min(burst, events - first)):
                new = event()
                for queue in clients:
                    queue.put_nowait(new)
            await asyncio.sleep(us / 1e6)

    task = asyncio.create_task(emit())
    running.add(task)
    task.add_done_callback(running.discard)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", backlog=4096))
    server.run(sockets=[listener])
