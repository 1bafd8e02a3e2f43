"""Connections that say nothing, or say it slowly, while somebody else wants to be served."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

from streamgauge.lab import Lab
from streamgauge.raw import connect

from .reconnecting import CONNECTIONS_MAX, PAUSE_S
from .shapes import script

SLOW = 110
"""Connections with half of a request on them."""
IDLE = 50
"""Connections without a single byte."""
AT_ONCE = 20
DRIP_S = 0.25
SETTLE_S = 0.5
ANSWER_S = 8.0
CALM_WITHIN_S = 45.0
LOOK_EVERY_S = 0.25


async def siege(lab: Lab) -> None:
    """An ordinary client before, and one while the connections are held."""
    began = lab.now()
    lab.expect("until the others are done: this would disturb them", CALM_WITHIN_S)
    # A target that fails here fails everybody, so nothing that is timed may stand beside it.
    await _until_calm(lab, began + min(CALM_WITHIN_S, lab.left_s() / 2))
    await _ordinary(lab, "before")
    held = await _hold(lab)
    dripping = asyncio.create_task(_drip([writer for writer, slow in held if slow]))
    try:
        lab.facts["held"] = len(held)
        await asyncio.sleep(SETTLE_S)
        await _ordinary(lab, "during")
        lab.facts["open"] = sum(not writer.is_closing() for writer, _ in held)
    finally:
        dripping.cancel()
        for writer, _ in held:
            with contextlib.suppress(OSError):
                writer.transport.abort()
        await asyncio.gather(dripping, return_exceptions=True)


async def _until_calm(lab: Lab, deadline: float) -> None:
    for _ in range(int(CALM_WITHIN_S / LOOK_EVERY_S)):
        if lab.shared.calm or lab.now() >= deadline:
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def _hold(lab: Lab) -> list[tuple[asyncio.StreamWriter, bool]]:
    """Open the connections; the slow ones get the beginning of a request."""
    limit = asyncio.Semaphore(AT_ONCE)
    url = lab.client.url(lab.profile.api.start)
    parts = urlsplit(url)
    line = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"

    async def one(number: int) -> tuple[asyncio.StreamWriter, bool] | None:
        slow = number < SLOW
        try:
            async with limit:
                _, writer = await connect(url)
        except (OSError, TimeoutError):
            return None
        if slow:
            # Half of them in the head, half of them in the body.
            body = "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
            writer.write((line + (body if number % 2 else "X-Slow: ")).encode())
        return writer, slow

    made = await asyncio.gather(*map(one, range(SLOW + IDLE)))
    return [each for each in made if each is not None]


async def _drip(writers: list[asyncio.StreamWriter]) -> None:
    while True:
        await asyncio.sleep(DRIP_S)
        for writer in writers:
            if not writer.is_closing():
                writer.write(b"a")


async def _ordinary(lab: Lab, when: str) -> None:
    """A start, its snapshot, and the first events of its stream."""
    shape = script(6) if lab.shared.shaped else None
    if shape is None:
        job = lab.natural()[0]
    else:
        answer = await lab.ask(
            "POST",
            lab.profile.api.start,
            label=f"{when} start",
            headers=lab.start_headers(lab.new_client()),
            body=lab.start_body(shape),
            bound_s=ANSWER_S,
            info={"shape": dict(shape)},
        )
        started = lab.job_of(answer)
        if started is None:
            return
        job = started
    await lab.snapshot(job, f"{when} snapshot", bound_s=ANSWER_S)
    deadline = lab.now() + ANSWER_S
    for _ in range(CONNECTIONS_MAX):
        left_s = max(deadline - lab.now(), PAUSE_S)
        stream = lab.stream(job, f"{when} stream", bound_s=left_s)
        seen = await stream.until(lab.seen(1), left_s)
        recording = await stream.leave()
        if seen or not recording.is_stream or lab.now() >= deadline:
            return
        await asyncio.sleep(PAUSE_S)  # recycled: a client comes again
