"""Long histories: how fast they are replayed, what of them is kept, whom their replay disturbs."""

from __future__ import annotations

import asyncio

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .over import FINAL
from .shapes import HISTORY_EVENTS, script

EMIT_BOUND_S = 25.0
RUNNING_EVENTS = 500
RUNNING_INTERVAL_MS = 20
WITNESS_INTERVAL_MS = 40
REPLAYS = 3
"""At most, until one is quick: what one loses to a busy machine is not the target's doing."""


async def history(lab: Lab) -> None:
    """A job of 10,000 events, replayed while another job goes on; and one joined in mid-run."""
    if not lab.shared.shaped:
        raise Unable("a long history needs a job whose length can be chosen")
    lab.expect("a history of 10,000 events to be written and replayed", 15.0)
    await together(_long(lab), _running(lab))


async def _long(lab: Lab) -> None:
    job = await lab.start("start", script(HISTORY_EVENTS, 0, payload_bytes=80))
    lab.facts["emitted"] = HISTORY_EVENTS
    quick_s = lab.profile.declared.replay_s
    await _until_written(lab, job)
    async with lab.shared.heavy:
        witness_job = await lab.start("witness start", script(100, WITNESS_INTERVAL_MS))
        witness = lab.stream(witness_job, "witness", bound_s=30.0)
        await witness.until(lab.seen(10), 10.0)
        for number in range(REPLAYS):
            replay = await lab.read(job, f"replay {number}", bulk=True, bound_s=20.0)
            if replay.ended_cleanly and replay.ended_at - replay.sent_at < quick_s:
                break
    await witness.until(lab.ended, 20.0)
    await lab.poll(job, "first page", limit=1000)
    await lab.poll(job, "early page", after="1", limit=10)


async def _until_written(lab: Lab, job: Job) -> None:
    """Follow the job by pages from its far end, which costs the target little."""
    deadline = lab.now() + EMIT_BOUND_S
    number = 0
    while lab.now() < deadline:
        page = await lab.poll(job, f"written {number}", after=str(HISTORY_EVENTS - 1), limit=1)
        body = page.json
        if isinstance(body, dict) and body.get("status") in FINAL:
            return
        number += 1
        await asyncio.sleep(0.25)
    raise Unable(f"{HISTORY_EVENTS} events were not written within {EMIT_BOUND_S:.0f} s")


async def _running(lab: Lab) -> None:
    """Join a job that has more than 100 events behind it and goes on."""
    job = await lab.start("running start", script(RUNNING_EVENTS, RUNNING_INTERVAL_MS))
    reader = lab.stream(job, "running reader", bound_s=40.0)
    await reader.until(lab.seen(150), 15.0)
    joined = lab.stream(job, "running join", bound_s=30.0)
    await asyncio.gather(*(each.until(lab.ended, 30.0) for each in (reader, joined)))
