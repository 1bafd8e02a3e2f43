"""The store, or the broker, is stopped for some seconds while jobs run and are read."""

from __future__ import annotations

import asyncio

from streamgauge.hooks import call
from streamgauge.lab import Lab
from streamgauge.profile import Profile
from streamgauge.recording import Recording

from .moving import may, over, read_everywhere, reading, under_way
from .shapes import TINY, script

STEADY = script(120, 50)
AWAY_S = 3.0
START_EVERY_S = 0.5
BACK_EVERY_S = 0.5
BACK_S = 30.0
"""Within this, starts are accepted again after the store has come back."""
BEFORE_S = 2.0
"""How long events are watched before the broker is stopped."""
AGAIN_S = 3.0
"""How long they are watched, once the wake-ups had time to resume."""
BROKER_AWAY = script(400, 50)


def away_s(profile: Profile, long: bool) -> float:
    return AWAY_S + BACK_S + profile.declared.recover_s + 20.0


async def store_away(lab: Lab) -> None:
    """Stop the store, ask for jobs meanwhile, start it again."""
    if not may(lab, "stop_store", "start_store"):
        return
    last = len(lab.instances) - 1
    job = await lab.start("steady start", STEADY, at=lab.instances[last])
    async with reading(lab, (job, "steady", last), (job, "watch", 0)):
        await under_way(lab, job)
        try:
            await call(lab, "stop_store")
            began = lab.now()
            number = 0
            while lab.now() < began + AWAY_S:
                await _post(lab, f"meanwhile {number}")
                number += 1
                await asyncio.sleep(START_EVERY_S)
        finally:
            await call(lab, "start_store")
        lab.facts["accepted_again"] = await _accepted_again(lab)
        await over(lab, job)
    await read_everywhere(lab, job)


async def broker_away(lab: Lab) -> None:
    """Stop the broker and start it again, while events pass from instance to instance."""
    if not may(lab, "stop_broker", "start_broker"):
        return
    last = len(lab.instances) - 1
    job = await lab.start("steady start", BROKER_AWAY, at=lab.instances[last])
    async with reading(lab, (job, "watch", 0)):
        await under_way(lab, job)
        await lab.pause(BEFORE_S, "events before the broker is stopped")
        try:
            await call(lab, "stop_broker")
            await lab.pause(AWAY_S, "events without the broker")
        finally:
            await call(lab, "start_broker")
        await lab.pause(lab.profile.declared.recover_s / 2, "wake-ups to resume")
        lab.facts["again_from"] = lab.now()
        await lab.pause(AGAIN_S, "events with the broker back")
        # Asked for where the job runs: elsewhere the question itself could wake the reader.
        await over(lab, job, number=last)
    await read_everywhere(lab, job)


async def _post(lab: Lab, label: str) -> Recording:
    return await lab.post_start(label, TINY, client_id=lab.new_client())


async def _accepted_again(lab: Lab) -> bool:
    """Ask for jobs until one is accepted."""
    deadline = lab.now() + BACK_S
    number = 0
    while lab.now() < deadline:
        answer = await _post(lab, f"afterwards {number}")
        if answer.status is not None and 200 <= answer.status < 300:
            return True
        number += 1
        await asyncio.sleep(BACK_EVERY_S)
    return False
