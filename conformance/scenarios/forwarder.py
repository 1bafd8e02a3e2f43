"""A way to the target that can be cut: what stands between a browser and a server, made small.

It takes one request a connection, so that its head can be rewritten for the target (Host, the run's
own headers) and noted down, and passes on the answer as it comes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

HEAD_BYTES_MAX = 65_536
CONNECT_S = 10.0
HOLD_S = 1.0
"""So long nothing more comes before a connection is cut."""
Noted = dict[str, str | int | bool | None]
_OURS = frozenset({"host", "connection"})


@dataclass(slots=True)
class Forwarder:
    """Loopback address, and what came by."""

    target: str
    extra_headers: tuple[tuple[str, str], ...]
    cut_after: int
    """Bytes of the first answer that are let through before its connection is reset."""
    url: str = ""
    requests: list[Noted] = field(default_factory=list)
    """Method, Origin and Last-Event-ID of each request, the status of its answer, whether it was
    cut."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the browser."""
        target: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            noted = self._note(head)
            parts = urlsplit(self.target)
            secure = parts.scheme == "https"
            context = ssl.create_default_context() if secure else None
            async with asyncio.timeout(CONNECT_S):
                answers, target = await asyncio.open_connection(
                    parts.hostname, parts.port or (443 if secure else 80), ssl=context
                )
            target.write(self._rewritten(head, parts.netloc))
            cut = noted["method"] == "GET" and not any(r["cut"] for r in self.requests)
            await self._pass_on(answers, writer, noted, self.cut_after if cut else None)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # whoever broke it, the browser sees a broken connection, as it would anywhere
        finally:
            for each in (writer, target):
                if each is not None:
                    each.close()

    def _note(self, head: bytes) -> Noted:
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = {n.strip().lower(): v.strip() for n, _, v in (x.partition(":") for x in lines)}
        noted: Noted = {
            "method": first.partition(" ")[0],
            "origin": fields.get("origin"),
            "cursor": fields.get("last-event-id"),
            "status": None,
            "cut": False,
        }
        self.requests.append(noted)
        return noted

    def _rewritten(self, head: bytes, host: str) -> bytes:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        kept = [line for line in lines if line.partition(":")[0].strip().lower() not in _OURS]
        own = [f"{name}: {value}" for name, value in self.extra_headers]
        whole = [first, f"Host: {host}", "Connection: close", *kept, *own]
        return ("\r\n".join(whole) + "\r\n\r\n").encode("latin-1")

    async def _pass_on(
        self,
        answers: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        noted: Noted,
        limit: int | None,
    ) -> None:
        passed = 0
        while data := await answers.read(16_384 if limit is None else 1024):
            if not passed:
                word = data.split(b" ", 2)[1:2]
                noted["status"] = int(word[0]) if word and word[0].isdigit() else None
            writer.write(data)
            await writer.drain()
            passed += len(data)
            if limit is not None and passed >= limit:
                # A page that hears of the end before it has read the rest never reads the rest.
                await asyncio.sleep(HOLD_S)
                noted["cut"] = True
                writer.transport.abort()
                return


@asynccontextmanager
async def forwarding(forwarder: Forwarder) -> AsyncIterator[Forwarder]:
    """Listen on a free loopback port for as long as the block lasts."""
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(forwarder.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=HEAD_BYTES_MAX)
    forwarder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield forwarder
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
