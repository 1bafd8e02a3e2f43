"""Starting jobs: the answer and its URLs at once, joins right behind it, keys used twice."""

from __future__ import annotations

import asyncio
import json

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import Recording
from streamgauge.scenario import together

from .shapes import script

ANSWERED_JOBS = 5
JOINED_JOBS = 12
TWINS = 10


async def starts(lab: Lab) -> None:
    """What a start's answer promises has to hold the moment it arrives."""
    shaped = lab.shared.shaped
    # One after the other: what is asked for at once must not wait for the suite's own crowd.
    seen = [await _views_at_once(lab, n) for n in range(ANSWERED_JOBS if shaped else 1)]
    await together(
        *(_read_on(lab, n, job, stream) for n, (job, stream) in enumerate(seen)),
        *(_join_at_once(lab, n) for n in range(JOINED_JOBS if shaped else 1)),
        _keys(lab),
    )


async def _views_at_once(lab: Lab, number: int) -> tuple[Job, LiveExchange]:
    """The three URLs, asked for in the instant in which the answer names them."""
    shape = script(8, 300) if lab.shared.shaped else None
    job = await lab.start(f"start {number}", shape)
    stream = lab.stream(job, f"stream {number}", bound_s=20.0)
    await asyncio.gather(lab.snapshot(job, f"snapshot {number}"), lab.poll(job, f"poll {number}"))
    return job, stream


async def _read_on(lab: Lab, number: int, job: Job, stream: LiveExchange) -> None:
    await stream.until(lab.ended if lab.shared.shaped else lab.seen(1), 12.0)
    await _tidy(lab, job, f"cancel {number}")


async def _join_at_once(lab: Lab, number: int) -> None:
    # Some are over before anybody can join, the others have their first event only just behind.
    shape = script(6, 60 * (number % 2)) if lab.shared.shaped else None
    job = await lab.start(f"join start {number}", shape)
    joined = lab.stream(job, f"join {number}", bound_s=20.0)
    await joined.until(lab.ended if lab.shared.shaped else lab.seen(1), 12.0)
    await lab.poll(job, f"join poll {number}")
    await _tidy(lab, job, f"join cancel {number}")


async def _keys(lab: Lab) -> None:
    """The same key in turn, at the same time, and with another body."""
    if not lab.shared.has("idempotency"):
        return
    client, key = lab.new_client(), lab.new_client()
    shape = script(4) if lab.shared.shaped else None
    first = await lab.post_start("key first", shape, client_id=client, key=key)
    await lab.post_start("key again", shape, client_id=client, key=key)
    body = json.loads(lab.start_body(shape))
    other = {**body, "job_text": "another body under the same key"}
    await _post(lab, "key other body", other, client, key)
    await _post(lab, "key same body reordered", dict(reversed(body.items())), client, key)
    if not lab.shared.shaped:
        return
    twin_client, twin_key = lab.new_client(), lab.new_client()
    await asyncio.gather(
        *(
            lab.post_start(f"twin {n}", shape, client_id=twin_client, key=twin_key)
            for n in range(TWINS)
        )
    )
    job = lab.job_of(first)
    if job is not None:
        await lab.read(job, "key replay", bound_s=8.0)


async def _post(lab: Lab, label: str, body: dict[str, object], client: str, key: str) -> Recording:
    return await lab.ask(
        "POST",
        lab.profile.api.start,
        label=label,
        headers=lab.start_headers(client, key),
        body=json.dumps(body, ensure_ascii=False).encode(),
    )


async def _tidy(lab: Lab, job: Job, label: str) -> None:
    """A target's own jobs cost something: end those that have served."""
    if not lab.shared.shaped and lab.shared.has("cancel"):
        await lab.cancel(job, label)
