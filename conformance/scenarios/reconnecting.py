"""A correct client: it reads on through cuts, spells of 503 and redirects, as WHATWG HTML says.

Its cursor is the last event id of what was dispatched, never of what was still pending. What it put
together is judged later; here it only keeps coming back until the log has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import Recording
from streamgauge.relay import MOVED, Via

from ..reading import recycled

Way = Callable[[int, bool], Via | None]
"""The way of the nth connection, and whether it follows a redirect of the relay."""

CONNECTIONS_MAX = 60
BARREN_MAX = 5
"""After so many connections in a row that showed nothing and were not cut, no more will come."""
PAUSE_S = 0.1
NOTICED_S = 0.06
RECYCLED_S = 0.3
"""Before who was recycled comes back; a job of some seconds is over before the connections are."""
RETRY_AFTER_MAX_S = 2.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TURNED_AWAY = frozenset({429, 503})
ORDERLY_END_S = 0.5


async def follow(
    lab: Lab,
    job: Job,
    label: str,
    way: Way,
    *,
    bound_s: float,
    by_query: bool = False,
) -> int:
    """Read a job's log to its end over as many connections as it takes; returns their number.

    They are recorded as `label/0`, `label/1`, and so on. `by_query`: the cursor is sent in the
    query instead of the header.
    """
    deadline = lab.now() + bound_s
    cursor, barren, moved = "", 0, False
    place = ""
    for number in range(CONNECTIONS_MAX):
        left_s = deadline - lab.now()
        if left_s <= 0 or barren >= BARREN_MAX:
            return number
        query = f"{lab.profile.api.cursor_query}={quote(cursor, safe='')}"
        live = lab.stream(
            replace(job, stream=place) if place else job,
            f"{label}/{number}",
            cursor=(cursor or None) if not by_query else None,
            query=query if by_query and cursor and not place else "",
            bound_s=left_s,
            info={"after": cursor or None, "query": by_query},
            via=way(number, moved),
        )
        await live.until(lab.ended, left_s)
        if lab.ended(live):
            await live.until(lambda each: each.end is not None, ORDERLY_END_S)
            await live.leave()
            return number + 1
        recording = await live.finish()
        cursor, place, moved = cursor_after(recording, cursor), "", False
        if recording.status in REDIRECTS:
            place, moved = _redirected(lab, recording, live)
            barren += 1
        elif recording.status in TURNED_AWAY:
            await asyncio.sleep(retry_after_s(recording))
        elif not recording.is_stream and recording.answered:
            return number + 1  # 204, or an answer that no client survives
        elif recycled(recording, lab.profile):
            barren = 0
            await asyncio.sleep(RECYCLED_S)
        elif any(map(lab.is_log, recording.blocks)) or was_cut(recording):
            barren = 0
            # Some targets fail who comes back at once, others who leave them time to notice.
            await asyncio.sleep(NOTICED_S if number % 2 == 0 else 0.0)
        else:
            barren += 1
            await asyncio.sleep(PAUSE_S)
    return CONNECTIONS_MAX


def cursor_after(recording: Recording, cursor: str) -> str:
    """The client's last event id when a connection has ended."""
    for block in recording.blocks:
        if block.complete and block.own_id is not None:
            cursor = block.own_id
    return cursor


def was_cut(recording: Recording) -> bool:
    """Whether it was the relay that ended the connection."""
    relay = recording.info.get("relay") or {}
    return str(relay.get("did", "")).startswith(("cut", "reset"))


def retry_after_s(recording: Recording) -> float:
    """How long a client that was turned away waits."""
    value = (recording.header("retry-after") or "").strip()
    return min(float(value), RETRY_AFTER_MAX_S) if value.isdigit() else PAUSE_S


def _redirected(lab: Lab, recording: Recording, live: LiveExchange) -> tuple[str, bool]:
    """Where a redirect leads on the target, and whether it was one of the relay's own."""
    location = recording.header("location") or ""
    if location.startswith(MOVED):
        return live.request.url, True
    return lab.client.resolve(location), False
