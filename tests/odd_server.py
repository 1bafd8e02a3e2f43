"""A server that does one thing to each connection, for tests of what is below HTTP's manners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from streamgauge.client import Client
from streamgauge.clock import RunClock

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SECRET = "Bearer secret"


@asynccontextmanager
async def client_of(handler: Handler, path: str = "") -> AsyncIterator[Client]:
    """A client for such a server; it sends a secret with every request."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}{path}", RunClock(), [("Authorization", SECRET)])
    try:
        yield client
    finally:
        await client.aclose()
        server.close()
