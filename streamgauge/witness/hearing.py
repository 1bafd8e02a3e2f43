"""Gives a run's streams to every client that is there, and puts together what they heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ..recording import Bundle
from .clients import Hearing, LeftOut, hear_chromium, hear_httpx_sse, hear_node
from .model import Stream, Witness, differences
from .sample import sample

Client = Callable[[Sequence[Stream]], Awaitable[tuple[str, list[Hearing]]]]

ALL_S = 45.0
"""Whatever a client does, the report is not held up for longer."""


def hear(bundles: Iterable[Bundle], *, browser: bool) -> tuple[Witness, ...]:
    """What real clients make of a run's streams, () where there is none to give them.

    Nothing in here can end a run: a client that fails is left out, with the reason.
    """
    try:
        streams = sample(bundles)
        return asyncio.run(_hear(streams, browser)) if streams else ()
    except Exception as error:
        return (Witness("all", left_out=f"asking failed ({type(error).__name__})"),)


async def _hear(streams: Sequence[Stream], browser: bool) -> tuple[Witness, ...]:
    clients: list[tuple[str, Client]] = [
        ("httpx-sse", hear_httpx_sse),
        ("eventsource (npm)", hear_node),
        ("Chromium's EventSource", hear_chromium if browser else _not_asked),
    ]
    return tuple([await _one(name, client, streams) for name, client in clients])


async def _not_asked(_: Sequence[Stream]) -> tuple[str, list[Hearing]]:
    raise LeftOut("it takes --browser")


async def _one(name: str, client: Client, streams: Sequence[Stream]) -> Witness:
    try:
        async with asyncio.timeout(ALL_S):
            told, hearings = await client(streams)
    except LeftOut as reason:
        return Witness(name, left_out=str(reason))
    except Exception as error:
        return Witness(name, left_out=f"asking it failed ({type(error).__name__})")
    found = [
        difference
        for stream, (heard, failure) in zip(streams, hearings, strict=True)
        for difference in differences(stream.name, stream.truth, heard, failure)
    ]
    events = sum(len(stream.truth) for stream in streams)
    return Witness(name, told, len(streams), events, tuple(found))
