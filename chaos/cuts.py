"""Connections that are cut at a logical point: behind an event, inside a frame, before the end.

A relay stands before the deployment, and ends each reader's first connection after an exact number
of bytes. Where the points lie is read from a stream of another job with the same script: the same
script gives frames of the same size, and the first differing byte is behind none of the points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import httpx

from streamgauge.relay.powers import Powers
from streamgauge.relay.relay import EXCHANGE_HEADER, Relay

from .readers import Connection, Detour

#: The text of every sixth event: letters of two, three and four bytes.
PAYLOAD: Final = "Größe, 大きさ, 📏. " * 4
TEXT_EVERY: Final = 6
FIRST_CUT: Final = 32
"""The event at which the first reader's connection is cut; each other one's a few events later."""
READ_S: Final = 30.0


def _after(body: bytes, number: int) -> int:
    """Directly behind the event's frame."""
    return _frame(body, number + 1)


def _inside(body: bytes, number: int) -> int:
    """In the middle of the event's data."""
    begin = body.index(b"data:", _frame(body, number))
    return (begin + body.index(b"\n", begin)) // 2


def _id_and_data(body: bytes, number: int) -> int:
    """Behind the event's `id:` line."""
    return body.index(b"\n", body.index(b"id: %d\n" % number)) + 1


def _inside_utf8(body: bytes, number: int) -> int:
    """Behind the first of the bytes of a letter."""
    begin = body.index(b"data:", _frame(body, number))
    return next(n for n in range(begin, len(body)) if body[n] >= 0xC0) + 1


def _before_done(body: bytes, _number: int) -> int:
    """Before the terminal event's frame."""
    last = body.rindex(b"event: done")
    return body.rindex(b"\n\n", 0, last) + 2


def _frame(body: bytes, number: int) -> int:
    """Where the event's frame begins."""
    line = body.index(b"id: %d\n" % number)
    return body.rfind(b"\n\n", 0, line) + 2


POINTS: Final[Mapping[str, Callable[[bytes, int], int]]] = {
    "behind-an-event": _after,
    "inside-a-frame": _inside,
    "between-id-and-data": _id_and_data,
    "inside-utf-8": _inside_utf8,
    "before-done": _before_done,
}


async def sample(url: str, job: str, headers: Mapping[str, str]) -> bytes:
    """The whole stream of a job that has ended. Raises httpx.HTTPError."""
    async with httpx.AsyncClient(timeout=READ_S, headers=headers, trust_env=False) as http:
        answer = await http.get(f"{url}/api/jobs/{job}/stream")
        answer.raise_for_status()
        return answer.content


def detours(relay: Relay, prefix: str, point: str, body: bytes, readers: int) -> dict[int, Detour]:
    """For each reader a first connection through the relay that is cut at its own place."""
    found = {}
    for reader in range(readers):
        # Event 2 is the first with a text, then every sixth is.
        number = 2 + (FIRST_CUT // TEXT_EVERY + reader) * TEXT_EVERY
        offset = POINTS[point](body, number)
        name, _ = relay.announce(Powers(cut_after=offset))
        found[reader] = Detour(relay.address + prefix, {EXCHANGE_HEADER: name})
    return found


def cut_there(point: str, connection: Connection) -> bool:
    """Whether a connection ended as one does that was cut at this point."""
    inside = point not in ("behind-an-event", "before-done")
    return bool(connection.broken) and bool(connection.entries) and connection.torn == inside
