"""A job that one instance started, as all the others show it; and what is asked of the others.

Each instance is the home of one job that all instances are then asked for: while it runs, at its
end, and after every event. Nothing here goes through a balancer: whoever is asked is known.
"""

from __future__ import annotations

import asyncio
from itertools import cycle

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
LOOKS_MAX = 600
RUN_S = 15.0
"""Each of these scripts is over within three seconds; a busy machine may take longer."""
CANCELLED = script(400, 50)
LOOK_EVERY_S = 0.05
BURST = 5
"""So many times the quota is asked for at once."""


async def elsewhere(lab: Lab) -> None:
    """Use the deployment through each of its instances; without any, there is nothing to do."""
    lab.facts["instances"] = len(lab.instances)
    if not lab.shared.instances:
        return
    if not lab.shared.shaped:
        raise Unable("jobs that several instances are asked for have to be shaped")
    lab.expect("jobs that run on one instance and are read on the others", 10.0)
    homes = min(HOMES_MAX, len(lab.instances))
    await together(
        *(_seen_by_all(lab, home) for home in range(homes)),
        _hopping_polls(lab),
        _hopping_reader(lab),
        _cancelled(lab),
        _quota(lab),
    )


async def _seen_by_all(lab: Lab, home: int) -> None:
    """One instance starts a job; every other shows it live, and all show it when it is over."""
    name = f"home {home + 1}"
    job = await lab.start(f"{name} start", script(EVENTS, INTERVAL_MS), at=lab.instances[home])
    reader = lab.stream(job, f"{name} reader", bound_s=RUN_S)
    others = [n for n in range(len(lab.instances)) if n != home]
    asked = {n: lab.at_instance(job, n) for n in others}
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
    job = await lab.start("polled start", script(HOPS_EVENTS, HOPS_INTERVAL_MS))
    reader = lab.stream(job, "polled reader", bound_s=RUN_S)
    after: str | None = None
    hops = cycle(range(len(lab.instances)))
    over_at = None
    for number in range(LOOKS_MAX):
        there = lab.at_instance(job, next(hops))
        if number % 3 == 2:
            await lab.snapshot(there, f"polled snapshot {number}")
        else:
            page = await lab.poll(there, f"polled page {number}", after=after, limit=1000)
            body = page.json
            if isinstance(body, dict) and body.get("cursor") is not None:
                after = str(body["cursor"])
        if lab.ended(reader) and over_at is None:
            over_at = number
        # Every instance is asked twice after the end was seen on the first.
        if over_at is not None and number > over_at + 6 * len(lab.instances):
            break
        if reader.end is not None and not lab.ended(reader):
            break
        await asyncio.sleep(LOOK_EVERY_S)
    await lab.read(job, "polled replay", bound_s=RUN_S)


async def _hopping_reader(lab: Lab) -> None:
    """One client that reads a few events on one instance, then goes on at the next."""
    job = await lab.start("hopping start", script(HOPS_EVENTS, HOPS_INTERVAL_MS))
    count = len(lab.instances)
    cursor = ""
    for number in range(HOPS_MAX):
        there = lab.at_instance(job, number % count)
        live = lab.stream(there, f"hopping/{number}", cursor=cursor or None, bound_s=RUN_S)
        await live.until(lab.seen(EVENTS_A_HOP), RUN_S)
        if lab.ended(live):
            break
        recording = await live.leave()
        cursor = cursor_after(recording, cursor)
        if not recording.is_stream:
            break
    await lab.read(job, "hopping replay", bound_s=RUN_S)


async def _cancelled(lab: Lab) -> None:
    """A job that is cancelled through another instance than the one that runs it."""
    if not lab.shared.has("cancel"):
        return
    job = await lab.start("cancelled start", CANCELLED)
    last = len(lab.instances) - 1
    readers = [
        lab.stream(job, "cancelled reader", bound_s=RUN_S),
        lab.stream(lab.at_instance(job, last), "cancelled reader elsewhere", bound_s=RUN_S),
    ]
    await asyncio.gather(*(reader.until(lab.seen(2), 5.0) for reader in readers))
    await lab.cancel(lab.at_instance(job, last), "cancel")
    within_s = lab.profile.declared.cancel_s + 2.0
    await asyncio.gather(*(reader.until(lab.ended, within_s) for reader in readers))


async def _quota(lab: Lab) -> None:
    """A quota that is used up on all instances, in turn and at once."""
    runs = lab.profile.declared.quota_runs
    if runs == 0 or lab.profile.capabilities.quota is False:
        return
    clients = lab.instances
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
