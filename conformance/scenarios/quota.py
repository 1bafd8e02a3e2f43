"""Quotas: how many starts a client has, what uses one up, and whom a full client disturbs."""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job, Shape
from streamgauge.lab import Lab
from streamgauge.raw import reset_at_once
from streamgauge.recording import Recording
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .shapes import TINY, script

RESETS = 200
RESETS_AT_ONCE = 20
RESET_AFTER_S = (0.0, 0.002, 0.01, 0.03)
"""At once, and in every stage of a stream's opening."""
RUNNING = script(40, 100)
RESUMES_MAX = 12
RESUME_AFTER_S = 0.5


async def quota(lab: Lab) -> None:
    """Each rule gets a client of its own, so that none stands in another's way."""
    runs = lab.profile.declared.quota_runs
    if runs == 0:
        raise Unable("the profile declares no quota (declared.quota_runs = 0)")
    lab.facts["runs"] = runs
    if not lab.shared.shaped:
        # Silent jobs have no streams that a full client could disturb.
        running = [] if lab.shared.silent else [_full_while_running(lab, runs, None)]
        await together(*running, _client_ids(lab))
        await _burst(lab, runs)
        return
    await together(
        _in_turn(lab, runs),
        _burst(lab, runs),
        _full_while_running(lab, runs, RUNNING),
        _any_ending(lab, runs),
        _refused_are_free(lab, runs),
        _repeats_are_free(lab, runs),
        _reads_are_free(lab, runs),
        _resets(lab, runs),
        _client_ids(lab),
    )


async def _starts(
    lab: Lab, name: str, count: int, client: str, shape: Shape | None, first: int = 1
) -> list[Job]:
    jobs = []
    for number in range(first, first + count):
        answer = await lab.post_start(f"{name} {number}", shape, client_id=client)
        job = lab.job_of(answer)
        if job is not None:
            jobs.append(job)
    return jobs


async def _refused(lab: Lab, name: str, client: str, shape: Shape | None) -> Recording:
    """A start beyond the limit, as a browser page would send it."""
    headers = [*lab.start_headers(client), ("Origin", lab.profile.api.origin)]
    return await lab.ask(
        "POST",
        lab.profile.api.start,
        label=name,
        headers=headers,
        body=lab.start_body(shape),
        info={"client": client, "shape": dict(shape) if shape else None},
    )


async def _in_turn(lab: Lab, runs: int) -> None:
    client = lab.new_client()
    await _starts(lab, "turn", runs, client, TINY)
    for number in range(2):
        await _refused(lab, f"turn refused {number}", client, TINY)
    await lab.post_start("turn other client", TINY, client_id=lab.new_client())


async def _burst(lab: Lab, runs: int) -> None:
    client = lab.new_client()
    shape = TINY if lab.shared.shaped else None
    answers = await asyncio.gather(
        *(lab.post_start(f"burst {n}", shape, client_id=client) for n in range(5 * runs))
    )
    await _tidy(lab, [job for answer in answers if (job := lab.job_of(answer))])


async def _full_while_running(lab: Lab, runs: int, shape: Shape | None) -> None:
    """At the limit, with jobs still running: their streams go on, everything but starts is free."""
    client = lab.new_client()
    jobs = await _starts(lab, "running", runs, client, shape)
    readers = [
        lab.stream(job, f"running reader {n}", bound_s=30.0, headers=_as(lab, client))
        for n, job in enumerate(jobs)
    ]
    await asyncio.gather(*(reader.until(lab.seen(2 if shape else 1), 8.0) for reader in readers))
    for number in range(2):
        await _refused(lab, f"running refused {number}", client, shape)
    other = await lab.post_start("running other client", shape, client_id=lab.new_client())
    await asyncio.gather(*(_views(lab, job, client, n) for n, job in enumerate(jobs)))
    if shape is None:
        await asyncio.gather(*(r.until(lab.seen(2), 8.0) for r in readers))
        # What the suite is about to cancel is nothing that the quota did.
        await asyncio.gather(*(reader.leave() for reader in readers))
    else:
        await asyncio.gather(*(reader.until(lab.ended, 15.0) for reader in readers))
        await _resume_recycled(lab, "running", jobs, readers)
    await _tidy(lab, [*jobs, *([job] if (job := lab.job_of(other)) else [])])


async def _resume_recycled(
    lab: Lab, name: str, jobs: list[Job], readers: list[LiveExchange]
) -> None:
    """A reader whose stream was recycled comes back with its cursor, until it has seen the end."""

    async def follow(number: int, job: Job, reader: LiveExchange) -> None:
        latest, cursor = reader, lab.newest(reader)
        for turn in range(RESUMES_MAX):
            if lab.ended(latest) or latest.end is None or latest.status != 200:
                return
            label = f"{name} resumed {number}" + (f"/{turn}" if turn else "")
            latest = lab.stream(job, label, cursor=cursor or None, bound_s=8.0)
            await latest.finish()
            cursor = lab.newest(latest) or cursor
            if not lab.ended(latest):
                await asyncio.sleep(RESUME_AFTER_S)

    await asyncio.gather(
        *(follow(n, *pair) for n, pair in enumerate(zip(jobs, readers, strict=True)))
    )


async def _views(lab: Lab, job: Job, client: str, number: int) -> None:
    """Streams, resumes, snapshots and polls with the full client's id."""
    for turn in range(2):
        stream = lab.stream(
            job,
            f"running again {number}/{turn}",
            cursor="1" if turn else None,
            headers=_as(lab, client),
            bound_s=8.0,
        )
        await stream.until(lab.opened, 5.0)
        await stream.leave()
    await lab.snapshot(job, f"running snapshot {number}", headers=_as(lab, client))
    await lab.poll(job, f"running poll {number}")


def _as(lab: Lab, client: str) -> list[tuple[str, str]]:
    return [(lab.profile.api.client_id_header, client)]


async def _any_ending(lab: Lab, runs: int) -> None:
    """Completed, failed and cancelled runs are used up alike, and stay so after they have ended."""
    client = lab.new_client()
    shapes: list[Shape] = [TINY, script(6, 0, outcome="failed"), script(200, 100)]
    for number in range(runs):
        shape = shapes[number % len(shapes)]
        answer = await lab.post_start(f"ending {number}", shape, client_id=client)
        job = lab.job_of(answer)
        if job is None:
            return
        if shape is shapes[2] and lab.shared.has("cancel"):
            await lab.cancel(job, f"ending cancel {number}")
        if shape is not shapes[2] or lab.shared.has("cancel"):
            await lab.read(job, f"ending read {number}", bound_s=8.0)
    await _refused(lab, "ending refused", client, TINY)


async def _refused_are_free(lab: Lab, runs: int) -> None:
    """Starts that are refused for what they say leave all starts there."""
    client = lab.new_client()
    headers = lab.start_headers(client)
    plain = [(n, "text/plain" if n == "Content-Type" else v) for n, v in headers]
    for name, sent, body in (
        ("json", headers, b"{"),
        ("fields", headers, b'{"resume_text": 7}'),
        ("type", plain, b"resume_text=x"),
    ):
        await lab.ask("POST", lab.profile.api.start, label=f"free {name}", headers=sent, body=body)
    await _starts(lab, "free", runs, client, TINY)
    for number in range(2):
        await _refused(lab, f"free refused {number}", client, TINY)


async def _repeats_are_free(lab: Lab, runs: int) -> None:
    if not lab.shared.has("idempotency"):
        return
    client, key = lab.new_client(), lab.new_client()
    for number in range(3):
        await lab.post_start(f"repeat key {number}", TINY, client_id=client, key=key)
    await _starts(lab, "repeat", runs - 1, client, TINY, first=2)
    await _refused(lab, "repeat refused", client, TINY)
    await lab.post_start("repeat key at the limit", TINY, client_id=client, key=key)


async def _reads_are_free(lab: Lab, runs: int) -> None:
    """More reads than the client has starts, then all the starts that it has left."""
    client = lab.new_client()
    jobs = await _starts(lab, "reads", 1, client, TINY)
    if not jobs:
        return
    own = _as(lab, client)
    for number in range(runs + 1):
        resumed = "1" if number % 2 else None
        await lab.read(jobs[0], f"reads stream {number}", cursor=resumed, headers=own, bound_s=8.0)
    await lab.snapshot(jobs[0], "reads snapshot", headers=own)
    await lab.ask("GET", jobs[0].events, label="reads poll", headers=own)
    await _starts(lab, "reads", runs - 1, client, TINY, first=2)
    await _refused(lab, "reads refused", client, TINY)


async def _resets(lab: Lab, runs: int) -> None:
    """Streams that are reset before their first byte, many of them, beside a reader that stays."""
    client = lab.new_client()
    jobs = await _starts(lab, "reset", 1, client, script(80, 60))
    if not jobs:
        return
    reader = lab.stream(jobs[0], "reset reader", bound_s=30.0, headers=_as(lab, client))
    await reader.until(lab.seen(2), 5.0)
    limit = asyncio.Semaphore(RESETS_AT_ONCE)
    headers = (("Accept", "text/event-stream"), *_as(lab, client))

    async def one(number: int) -> bool:
        async with limit:
            after_s = RESET_AFTER_S[number % len(RESET_AFTER_S)]
            return await reset_at_once(lab.client, jobs[0].stream, headers, after_s=after_s)

    began = lab.now()
    lab.facts["resets"] = sum(await asyncio.gather(*map(one, range(RESETS))))
    lab.facts["reset_during"] = [began, lab.now()]
    await _starts(lab, "reset", runs - 1, client, TINY, first=2)
    await _refused(lab, "reset refused", client, TINY)
    await reader.until(lab.ended, 15.0)
    await _resume_recycled(lab, "reset", jobs, [reader])
    await lab.read(jobs[0], "reset replay", bound_s=10.0)


async def _client_ids(lab: Lab) -> None:
    """Ids that are no ids, and one id under three spellings of the header's name."""
    name = lab.profile.api.client_id_header
    shape = TINY if lab.shared.shaped else None
    bare = lab.start_headers(None)
    first, second = lab.new_client(), lab.new_client()
    cases = {
        "missing": bare,
        "blank": [*bare, (name, "")],
        "repeated": [*bare, (name, first), (name, second)],
        "8 KiB": [*bare, (name, "a" * 8192)],
        "odd bytes": [*bare, (name, "caf\xe9\xff")],
    }
    for label, headers in cases.items():
        answer = await lab.ask(
            "POST",
            lab.profile.api.start,
            label=f"id {label}",
            headers=headers,
            body=lab.start_body(shape),
        )
        await _tidy(lab, [job] if (job := lab.job_of(answer)) else [])
    if not lab.shared.shaped:
        return
    client = lab.new_client()
    spellings = (name, name.lower(), name.upper())
    for number in range(lab.profile.declared.quota_runs + 1):
        await lab.ask(
            "POST",
            lab.profile.api.start,
            label=f"spelling {number}",
            headers=[*bare, (spellings[number % 3], client)],
            body=lab.start_body(TINY),
        )


async def _tidy(lab: Lab, jobs: list[Job]) -> None:
    """A target's own jobs cost something: end those that have served."""
    if lab.shared.shaped or not lab.shared.has("cancel"):
        return
    for job in jobs:
        await lab.cancel(job, f"tidy {job.job_id}")
