"""The three clients: httpx-sse in this process, npm's eventsource in node, and Chromium's own.

Each takes streams and gives back, for each stream, what it heard and why it stopped early. None is
ever installed from here: what is missing is left out, with the line that gets it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import httpx
import httpx_sse

from ..browser import BrowserMissing, chromium
from .model import Heard, Stream
from .replay import LISTEN, playing

Hearing = tuple[list[Heard], str]
"""What was heard of one stream, and why the client stopped before its end."""

EVENTS_MAX = 5000
LISTEN_S = 5.0
"""Recorded bytes from loopback are over in no time; longer, and the client never ends."""
NODE_S = 10.0
NODE_OUTPUT_BYTES_MAX = 16 * 1024 * 1024
NODE_CLIENT = Path(__file__).parents[2] / "tools" / "witness"


class LeftOut(Exception):
    """The client cannot be asked; the message says why, and how to let it."""


async def hear_httpx_sse(streams: Sequence[Stream]) -> tuple[str, list[Hearing]]:
    """The Python client, in this process: no socket stands between it and the recorded pieces."""
    return version("httpx-sse"), [_hear_one(stream) for stream in streams]


def _hear_one(stream: Stream) -> Hearing:
    def answer(_: httpx.Request) -> httpx.Response:
        kind = stream.content_type.encode("latin-1", "replace")
        return httpx.Response(200, headers=[(b"Content-Type", kind)], content=pieces())

    def pieces() -> Iterator[bytes]:
        yield from stream.chunks

    heard: list[Heard] = []
    try:
        with (
            httpx.Client(transport=httpx.MockTransport(answer), trust_env=False) as client,
            httpx_sse.connect_sse(client, "GET", "http://recorded.invalid/") as source,
        ):
            for event in source.iter_sse():
                heard.append(Heard(event.event, event.data, event.id))
                if len(heard) > EVENTS_MAX:
                    return heard, f"more than {EVENTS_MAX} events"
    except Exception as error:  # whatever a client does to its user is what is asked here
        return heard, f"it raises {type(error).__name__} after {len(heard)} events"
    return heard, ""


async def hear_node(streams: Sequence[Stream]) -> tuple[str, list[Hearing]]:
    """The npm package, in a node process of its own."""
    node = shutil.which("node")
    installed = NODE_CLIENT / "node_modules" / "eventsource" / "package.json"
    if node is None or not installed.is_file():
        raise LeftOut("it is not installed: `make witnesses` in a checkout does it (Node 20, npm)")
    told = str(json.loads(installed.read_text("utf-8")).get("version", ""))
    async with playing(streams) as address:
        with as_file(files(__package__).joinpath(LISTEN)) as module:
            process = await asyncio.create_subprocess_exec(
                node,
                str(NODE_CLIENT / "client.mjs"),
                str(module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(NODE_S):
                    out, _ = await process.communicate(
                        json.dumps(_asked(streams, address)).encode()
                    )
            except TimeoutError as error:
                raise LeftOut(f"it did not end within {NODE_S:.0f} s") from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
    if process.returncode or len(out) > NODE_OUTPUT_BYTES_MAX:
        raise LeftOut(f"node ended with exit code {process.returncode}")
    return told, _told(json.loads(out))


async def hear_chromium(streams: Sequence[Stream]) -> tuple[str, list[Hearing]]:
    """The browser's EventSource, on a page of the replaying server."""
    try:
        async with playing(streams) as address, chromium() as browser:
            page = await browser.new_page()
            await page.goto(f"{address}/")
            async with asyncio.timeout(LISTEN_S * 2):
                answer = await page.evaluate(
                    "async ({streams, boundMs}) => (await import('/listen.mjs'))"
                    ".listen(EventSource, streams, boundMs)",
                    _asked(streams, address),
                )
            return browser.version, _told(answer)
    except BrowserMissing as missing:
        raise LeftOut(str(missing)) from missing


def _asked(streams: Sequence[Stream], address: str) -> dict[str, Any]:
    return {
        "streams": [
            {"url": f"{address}/{number}", "types": stream.types}
            for number, stream in enumerate(streams)
        ],
        "boundMs": LISTEN_S * 1000,
    }


def _told(answer: Any) -> list[Hearing]:
    """What `listen.mjs` gave back."""
    return [
        (
            [Heard(*map(str, event)) for event in each["events"][:EVENTS_MAX]],
            "" if each["why"] == "end" else f"it did not see the end within {LISTEN_S:.0f} s",
        )
        for each in answer
    ]
