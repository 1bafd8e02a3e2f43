"""Texts that must not come back: personal data, secrets of a request, forged fields."""

from __future__ import annotations

import asyncio

from streamgauge.job import Job, Shape
from streamgauge.lab import Lab
from streamgauge.recording import Recording, outcome
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .canaries import LINE_ENDS, canary, forgery, personal, start_saying
from .crowd import carry_cursors
from .probe import FIRST_EVENT_WITHIN_S
from .shapes import script

EVENTS = 16
READ_BOUND_S = 15.0
PLAIN_BOUND_S = 29.0
"""So long a default job of a target whose jobs can be shaped is watched; the rest is scripted."""
NATURAL_BOUND_S = 90.0
NATURAL_JOBS = 2


async def secrets(lab: Lab) -> None:
    """One job for each thing that must not come back, seen in every view."""
    if not lab.shared.shaped:
        raise Unable("chosen texts need a job whose emissions can be shaped")
    mark = canary("mark")
    text = personal(mark)
    asks: list[tuple[str, Shape, str, str]] = [
        ("personal", script(EVENTS, payload=text), text, mark),
    ]
    for name, shape in (
        ("completed", script(EVENTS, payload="nothing of the request")),
        ("failed", script(EVENTS, payload="nothing of the request", outcome="failed")),
        ("crashed", script(EVENTS, payload="nothing of the request", crash_at=8)),
    ):
        secret = canary("secret")
        asks.append((f"secret {name}", shape, f"{secret} is all I can {secret}", secret))
    for name, line_end in LINE_ENDS.items():
        forged = canary("forged")
        payload = forgery(forged, line_end)
        asks.append((f"forged {name}", script(EVENTS, payload=payload), "forged", forged))
    await together(*(_views(lab, *ask) for ask in asks))


async def _views(lab: Lab, name: str, shape: Shape, said: str, mark: str) -> None:
    job = await start_with(lab, name, said, mark, shape)
    reader = lab.stream(job, f"{name} reader", bound_s=READ_BOUND_S, info={"mark": mark})
    await reader.until(lab.ended, 10.0)
    await reader.until(lambda live: live.end is not None, lab.profile.declared.close_s + 1.0)
    await views_after(lab, name, job, mark)


async def views_after(lab: Lab, name: str, job: Job, mark: str) -> None:
    """What a job shows when it is over."""
    await asyncio.gather(
        lab.read(job, f"{name} replay", bound_s=READ_BOUND_S, info={"mark": mark}),
        lab.poll(job, f"{name} poll"),
        lab.snapshot(job, f"{name} snapshot"),
    )


async def start_with(lab: Lab, name: str, said: str, mark: str, shape: Shape | None) -> Job:
    """A job whose start says this."""
    client = lab.new_client()
    answer: Recording = await lab.ask(
        "POST",
        lab.profile.api.start,
        label=f"{name} start",
        headers=lab.start_headers(client),
        body=start_saying(lab, said, shape),
        info={"client": client, "shape": dict(shape) if shape else None, "mark": mark},
    )
    job = lab.job_of(answer)
    if job is None:
        raise Unable(f"start was not accepted: {outcome(answer)}")
    lab.facts.setdefault("marks", {})[job.job_id] = mark
    return job


async def plain(lab: Lab) -> None:
    """Jobs as the target runs them by itself, whose starts say what must not come back."""
    shaped = lab.shared.shaped
    # Two where nothing else is, so that each can be looked for in the other.
    jobs = [await _plain_job(lab, number) for number in range(1 if shaped else NATURAL_JOBS)]
    lab.facts["canaries"] = dict(lab.facts.get("marks", {}))
    readers = [
        lab.stream(job, f"plain {n} reader", bound_s=NATURAL_BOUND_S + 10.0)
        for n, job in enumerate(jobs)
    ]
    bound_s = min(PLAIN_BOUND_S if shaped else NATURAL_BOUND_S, max(1.0, lab.left_s() - 25.0))
    lab.expect("jobs of the target's own, to their ends", bound_s)
    first_s = min(bound_s, FIRST_EVENT_WITHIN_S)
    begun = any(await asyncio.gather(*(reader.until(lab.seen(1), first_s) for reader in readers)))
    if begun:
        await asyncio.gather(*(reader.until(lab.ended, bound_s) for reader in readers))
    lab.facts["ended"] = [lab.ended(reader) for reader in readers]
    await asyncio.gather(*(views_after_running(lab, n, job) for n, job in enumerate(jobs)))
    if not shaped and begun and len(jobs) == NATURAL_JOBS:
        await carry_cursors(lab, jobs[0], jobs[1:], "long replay")
    for number, job in enumerate(jobs):
        if not lab.facts["ended"][number] and lab.shared.has("cancel"):
            await lab.cancel(job, f"plain {number} cancel")


async def _plain_job(lab: Lab, number: int) -> Job:
    mark = canary("plain")
    said = f"{mark} at the beginning.\n{personal(mark)}\n{forgery(mark, chr(10))}\n{mark}"
    return await start_with(lab, f"plain {number}", said, mark, None)


async def views_after_running(lab: Lab, number: int, job: Job) -> None:
    """The JSON views; the stream has been read already."""
    await asyncio.gather(
        lab.poll(job, f"plain {number} poll"), lab.snapshot(job, f"plain {number} snapshot")
    )
