"""A job that one instance started, as all the others show it; and what is asked of the others.

Each instance is the home of one job that all instances are then asked for: while it runs, at its
end, and after every event. Nothing here goes through a balancer: whoever is asked is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from urllib.parse import quote

from streamgauge.client import Client, LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .reconnecting import cursor_after
from .shapes import TINY, script

HOMES_MAX = 4
"""Of more instances, the first so many start a job; all are asked for it."""
EVENTS = 30
INTERVAL_MS = 60
HOPS_EVENTS = 60
HOPS_INTERVAL_MS = 50
EVENTS_A_HOP = 4
HOPS_MAX = 60
RUN_S = 15.0
"""Each of these scripts is over within three seconds; a busy machine may take longer."""
CANCELLED = script(400, 50)
LOOK_EVERY_S = 0.05
BURST = 5
"""So many times the quota is asked for at once."""


async def elsewhere(lab: Lab) -> None:
    """Use the deployment through each of its instances; without any, there is nothing to do."""
    lab.facts["instances"] = len(_instances(lab))
    if not lab.shared.instances:
        return
    if not lab.shared.shaped:
        raise Unable("jobs that several instances are asked for have to be shaped")
    lab.expect("jobs that run on one instance and are read on the others", 10.0)
    homes = min(HOMES_MAX, len(_instances(lab)))
    await together(
        *(_seen_by_all(lab, home) for home in range(homes)),
        _hopping_polls(lab),
        _hopping_reader(lab),
        _cancelled(lab),
        _quota(lab),
    )


def _instances(lab: Lab) -> tuple[Client, ...]:
    return (lab.client, *lab.shared.instances)


def at_instance(lab: Lab, job: Job, number: int) -> Job:
    """The same job, asked for at the instance of this number, counted from 0."""
    client, api = _instances(lab)[number], lab.profile.api

    def place(path: str) -> str:
        return client.url(path.replace("{job_id}", quote(job.job_id, safe=""))) if path else ""

    return replace(
        job,
        stream=place(api.stream),
        snapshot=place(api.snapshot),
        events=place(api.events),
        cancel=place(api.cancel),
    )


async def _start_at(lab: Lab, number: int, label: str, shape: dict[str, object]) -> Job:
    own = lab.new_client()
    answer = await lab.post_start(label, shape, client_id=own, at=_instances(lab)[number])
    job = lab.job_of(answer)
    if job is None:
        raise Unable(f"{label} was not accepted: status {answer.status}")
    return at_instance(lab, job, number)


async def _seen_by_all(lab: Lab, home: int) -> None:
    """One instance starts a job; every other shows it live, and all show it when it is over."""
    name = f"home {home + 1}"
    job = await _start_at(lab, home, f"{name} start", script(EVENTS, INTERVAL_MS))
    reader = lab.stream(job, f"{name} reader", bound_s=RUN_S)
    others = [n for n in range(len(_instances(lab))) if n != home]
    asked = {n: at_instance(lab, job, n) for n in others}
    streams = [lab.stream(asked[n], f"{name} live {n + 1}", bound_s=RUN_S) for n in others]
    await asyncio.gather(
        *(lab.snapshot(asked[n], f"{name} early snapshot {n + 1}") for n in others),
        *(lab.poll(asked[n], f"{name} early poll {n + 1}", limit=1000) for n in others),
    )
    await asyncio.gather(*(each.until(lab.ended, RUN_S) for each in (reader, *streams)))
    await lab.read(job, f"{name} replay", bound_s=RUN_S)
    ids = [b.own_id for b in lab.recorded(f"{name} replay").blocks if lab.is_log(b) and b.own_id]
    await asyncio.gather(
        *(lab.read(asked[n], f"{name} replay {n + 1}", bound_s=RUN_S) for n in others),
        *(lab.snapshot(asked[n], f"{name} snapshot {n + 1}") for n in others),
        *(lab.poll(asked[n], f"{name} poll {n + 1}", limit=1000) for n in others),
    )
    for k, number in zip(ids[:-1], cycle(others), strict=False):
        there = asked[number]
        await lab.read(there, f"{name} after {k} on {number + 1}", cursor=k, bound_s=RUN_S)


async def _hopping_polls(lab: Lab) -> None:
    """One client that pages through a running job, and asks another instance each time."""
    job = await _start_at(lab, 0, "polled start", script(HOPS_EVENTS, HOPS_INTERVAL_MS))
    reader = lab.stream(job, "polled reader", bound_s=RUN_S)
    after: str | None = None
    hops = cycle(range(len(_instances(lab))))
    over_at = None
    for number in range(10 * HOPS_MAX):
        there = at_instance(lab, job, next(hops))
        view = lab.snapshot if number % 3 == 2 else None
        if view is not None:
            await view(there, f"polled snapshot {number}")
        else:
            page = await lab.poll(there, f"polled page {number}", after=after, limit=1000)
            body = page.json
            if isinstance(body, dict) and body.get("cursor") is not None:
                after = str(body["cursor"])
        if lab.ended(reader) and over_at is None:
            over_at = number
        # Every instance is asked twice after the end was seen on the first.
        if over_at is not None and number > over_at + 6 * len(_instances(lab)):
            break
        if reader.end is not None and not lab.ended(reader):
            break
        await asyncio.sleep(LOOK_EVERY_S)
    await lab.read(job, "polled replay", bound_s=RUN_S)


async def _hopping_reader(lab: Lab) -> None:
    """One client that reads a few events on one instance, then goes on at the next."""
    job = await _start_at(lab, 0, "hopping start", script(HOPS_EVENTS, HOPS_INTERVAL_MS))
    count = len(_instances(lab))
    cursor = ""
    for number in range(HOPS_MAX):
        there = at_instance(lab, job, number % count)
        live = lab.stream(there, f"hopping/{number}", cursor=cursor or None, bound_s=RUN_S)
        some = lab.seen(EVENTS_A_HOP)
        await _until_ended_or(some, live)
        if lab.ended(live):
            break
        recording = await live.leave()
        cursor = cursor_after(recording, cursor)
        if not recording.is_stream:
            break
    await lab.read(job, "hopping replay", bound_s=RUN_S)


async def _until_ended_or(some: Callable[[LiveExchange], bool], live: LiveExchange) -> None:
    await live.until(lambda each: some(each) or each.end is not None, RUN_S)


async def _cancelled(lab: Lab) -> None:
    """A job that is cancelled through another instance than the one that runs it."""
    if not lab.shared.has("cancel"):
        return
    job = await _start_at(lab, 0, "cancelled start", CANCELLED)
    last = len(_instances(lab)) - 1
    readers = [
        lab.stream(job, "cancelled reader", bound_s=RUN_S),
        lab.stream(at_instance(lab, job, last), "cancelled reader elsewhere", bound_s=RUN_S),
    ]
    await asyncio.gather(*(reader.until(lab.seen(2), 5.0) for reader in readers))
    await lab.cancel(at_instance(lab, job, last), "cancel")
    within_s = lab.profile.declared.cancel_s + 2.0
    await asyncio.gather(*(reader.until(lab.ended, within_s) for reader in readers))


async def _quota(lab: Lab) -> None:
    """A quota that is used up on all instances, in turn and at once."""
    runs = lab.profile.declared.quota_runs
    if runs == 0 or lab.profile.capabilities.quota is False:
        return
    clients = _instances(lab)
    turn = lab.new_client()
    for number, client in zip(range(runs), cycle(clients), strict=False):
        await lab.post_start(f"turn {number}", TINY, client_id=turn, at=client)
    for number, client in enumerate(clients):
        await lab.post_start(f"beyond {number + 1}", TINY, client_id=turn, at=client)
    burst = lab.new_client()
    await asyncio.gather(
        *(
            lab.post_start(f"burst {number}", TINY, client_id=burst, at=client)
            for number, client in zip(range(BURST * runs), cycle(clients), strict=False)
        )
    )
