"""Connections that are cut: at chosen bytes, at random, and before any id was seen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.recording import Recording
from streamgauge.relay import Passage, Powers, Via
from streamgauge.scenario import together
from streamgauge.verdict import Unable

from .ending import KEPT_BACK_S, natural_end
from .reconnecting import Way, follow, was_cut
from .shapes import UNICODE_TEXT, script

RANDOM_CUTS = 20
PASSES_MAX = 4
RUNNING_EVENTS = 80
RUNNING_INTERVAL_MS = 30
SWEPT_EVENTS = 24
SWEPT_MAX = 200
"""Cursors of a natural log that are resumed from."""
REAL_CUTS = 24
AT_ONCE = 6
BOUND_S = 20.0


async def cuts(lab: Lab) -> None:
    """Cut a running job's readers, then a finished log's at the bytes that matter."""
    passage = await lab.passage()
    seed = random.randrange(2**32)
    lab.facts["seed"] = seed
    chance = random.Random(seed)
    if lab.shared.shaped:
        await together(_running(lab, passage, chance), _swept(lab, passage, chance))
        return
    job = lab.shared_job()
    await together(_early(lab, passage, job, lab.left_s() - KEPT_BACK_S), natural_end(lab))
    lab.facts.update(running=job.job_id, swept=job.job_id)
    replay = await lab.read(job, "running replay")
    await _random(lab, passage, job, chance, sum(map(lab.is_log, replay.blocks)))
    await _sweep(lab, passage, job, chance)


async def _running(lab: Lab, passage: Passage, chance: random.Random) -> None:
    shape = script(RUNNING_EVENTS, RUNNING_INTERVAL_MS, payload=UNICODE_TEXT)
    job = await lab.start("start running", shape)
    lab.facts["running"] = job.job_id
    await asyncio.gather(
        _random(lab, passage, job, chance, RUNNING_EVENTS), _early(lab, passage, job, BOUND_S)
    )
    await lab.read(job, "running replay", bound_s=10.0)


async def _early(lab: Lab, passage: Passage, job: Job, bound_s: float) -> None:
    """Cut before any id was seen: without a byte of the body, within the opening, just before."""
    early = {
        "before the body": Powers(cut_after=0),
        "in the opening": Powers(cut_after=40),
        "before the first id": Powers(cut_before_id=True),
        "by a reset": Powers(cut_before_id=True, reset=True),
    }
    await asyncio.gather(
        *(
            follow(lab, job, f"early {name}", _first(passage, powers), bound_s=bound_s)
            for name, powers in early.items()
        )
    )


def _first(passage: Passage, powers: Powers) -> Way:
    """Only the first connection is treated; it is followed by ordinary ones."""

    def way(number: int, _moved: bool) -> Via:
        return passage.via(powers if number == 0 else None)

    return way


async def _random(lab: Lab, passage: Passage, job: Job, chance: random.Random, events: int) -> None:
    """One client after the other, cut at random, until there were enough cuts."""
    made = 0
    for number in range(PASSES_MAX):
        mean = max(64, events * await _event_bytes(lab, job) // (RANDOM_CUTS + 1))
        left = RANDOM_CUTS - made

        def way(count: int, _moved: bool, left: int = left, mean: int = mean) -> Via:
            place, reset = chance.randrange(1, 2 * mean), chance.random() < 0.5
            powers = Powers(cut_after=place, reset=reset) if count < left else None
            return passage.via(powers)

        label = f"random {number}"
        connections = await follow(lab, job, label, way, bound_s=BOUND_S)
        made += sum(was_cut(lab.recorded(f"{label}/{n}")) for n in range(connections))
        if made >= RANDOM_CUTS or not connections:
            return


async def _event_bytes(lab: Lab, job: Job) -> int:
    """About how many bytes an event takes on the wire."""
    measure = lab.stream(job, "measure", bound_s=5.0)
    await measure.until(lab.seen(3), 3.0)
    recording = await measure.leave()
    return len(recording.body) // max(1, sum(map(lab.is_log, recording.blocks)))


async def _swept(lab: Lab, passage: Passage, chance: random.Random) -> None:
    job = await lab.start("start swept", script(SWEPT_EVENTS, 0, payload=UNICODE_TEXT))
    lab.facts["swept"] = job.job_id
    reader = lab.stream(job, "swept reader", bound_s=15.0)
    await reader.until(lab.ended, 15.0)
    await _sweep(lab, passage, job, chance)


async def _sweep(lab: Lab, passage: Passage, job: Job, chance: random.Random) -> None:
    """Every cursor that a cut can leave behind, and a sample of real cuts."""
    replay = await lab.read(job, "replay")
    cursors = list(dict.fromkeys(b.own_id for b in replay.blocks if b.complete and b.own_id))
    if not cursors:
        raise Unable("a replay of the finished job shows no event with an id")
    some = cursors if len(cursors) <= SWEPT_MAX else cursors[:: len(cursors) // SWEPT_MAX + 1]
    places = _places(replay, chance)
    limit = asyncio.Semaphore(AT_ONCE)

    async def resume(cursor: str) -> LiveExchange | None:
        async with limit:
            await lab.read(job, f"resume {cursor}", cursor=cursor, bulk=True, bound_s=10.0)
        return None

    async def cut(place: int) -> None:
        async with limit:
            way = _first(passage, Powers(cut_after=place))
            await follow(lab, job, f"cut {place}", way, bound_s=10.0)

    async with lab.shared.heavy:
        await asyncio.gather(*map(resume, some), *map(cut, places))


def _places(replay: Recording, chance: random.Random) -> Sequence[int]:
    """Where to cut in truth: beside every kind of seam, the rest at random, some in the padding."""
    seams = sorted(set(_seams(replay)))
    fields = [
        (line.offset, len(line.raw)) for block in replay.blocks for line in block.fields if line.raw
    ]
    places = {chance.randrange(at, at + size) for at, size in chance.choices(fields, k=REAL_CUTS)}
    places |= set(chance.sample(seams, min(len(seams), REAL_CUTS)))
    places.add(len(replay.body) // 2)
    return sorted(places)[: 2 * REAL_CUTS]


def _seams(replay: Recording) -> Iterator[int]:
    for block in replay.blocks:
        if block.event is None and not block.own_id:
            continue
        yield from (block.end - 1, block.end, block.end + 1)
        for line in block.fields:
            yield line.offset
            yield line.offset + len(line.raw)
