"""Notices that the target has gone away, so that a run does not sit out the waits it had planned.

A connection that ended badly is only a doubt: a target may cut streams and still be there. It is
gone when no connection can be made for several seconds on end.
"""

from __future__ import annotations

import asyncio

from .client import Client
from .recording import End

LOOK_S = 1.0
QUIET_LOOK_S = 5.0
"""Where nothing is asked of the target for so long, it is looked for all the same."""
GONE_S = 4.0
"""A restart that takes less than this is none of our business."""
TRY_S = 0.5
TRY_BOUND_S = 3.0


async def until_gone(client: Client) -> str:
    """Wait until the target is gone; returns what the system said of it."""
    known, looked = 0, client.clock.now()
    while True:
        await asyncio.sleep(LOOK_S)
        now = client.clock.now()
        idle = now - max(looked, client.asked_at) > QUIET_LOOK_S
        if client.doubts == known and not idle:
            continue
        known, looked = client.doubts, now
        if said := await _refused(client):
            return said
        known = client.doubts  # those of our own tries among them


async def _refused(client: Client) -> str:
    """What is said where every try of some seconds finds nobody, "" where one is answered."""
    began = client.clock.now()
    while True:
        answer = await client.ask("GET", "/", label="still there", bound_s=TRY_BOUND_S)
        if answer.end is not End.REFUSED:
            return ""
        if client.clock.now() - began > GONE_S:
            return answer.error or "no connection"
        await asyncio.sleep(TRY_S)
