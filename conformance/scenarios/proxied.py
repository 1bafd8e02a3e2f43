"""One running job behind several proxies at once, beside a reader that has none in between."""

from __future__ import annotations

import asyncio

from streamgauge.client import LiveExchange
from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.relay import Passage, Powers
from streamgauge.relay.real import KINDS, RealProxy

from .ending import natural_end
from .shapes import script

EVENTS = 9
INTERVAL_MS = 600
BLOCK_BYTES = 4096
CODED = ("Accept-Encoding", "gzip")

MODELS = {
    "willing": Powers(honour_accel=True),
    "holding": Powers(hold_bytes=BLOCK_BYTES, strip=("X-Accel-Buffering",)),
    "compressing": Powers(gzip=True),
}


async def proxied(lab: Lab) -> None:
    """Read one job through all of them."""
    passage = await lab.passage()
    real = [RealProxy(kind) for kind in KINDS if kind.program]
    try:
        running = await asyncio.gather(*(proxy.start(passage.relay.address) for proxy in real))
        lab.facts["trouble"] = {p.kind.name: p.trouble for p in real if p.trouble}
        await _read(lab, passage, [p for p, ok in zip(real, running, strict=True) if ok])
    finally:
        await asyncio.gather(*(proxy.stop() for proxy in real))


async def _read(lab: Lab, passage: Passage, real: list[RealProxy]) -> None:
    lab.facts["real"] = [proxy.kind.name for proxy in real]
    if lab.shared.shaped:
        job = await lab.start("start", script(EVENTS, INTERVAL_MS))
        bound_s = EVENTS * INTERVAL_MS / 1000 + 12.0
    else:
        job = lab.shared_job()
        bound_s = max(1.0, lab.left_s() - 20.0)
    lab.facts["job"] = job.job_id
    readers = [lab.stream(job, "direct", bound_s=bound_s)]
    readers += [
        lab.stream(
            job,
            f"through {name}",
            headers=[CODED] if powers.gzip else (),
            bound_s=bound_s,
            via=passage.via(powers),
        )
        for name, powers in MODELS.items()
    ]
    readers += [
        lab.stream(
            job,
            f"real {proxy.kind.name}",
            bound_s=bound_s,
            via=passage.via(front=proxy.address, words=f"{proxy.kind.name}, as installed"),
        )
        for proxy in real
    ]
    await _until_over(lab, job, readers, bound_s)


async def _until_over(lab: Lab, job: Job, readers: list[LiveExchange], bound_s: float) -> None:
    if lab.shared.shaped:
        await readers[0].until(lab.ended, bound_s)
    else:
        job = await natural_end(lab)
    close_s = lab.profile.declared.close_s + 1.0
    await asyncio.gather(*(r.until(lambda each: each.end is not None, close_s) for r in readers))
    await lab.read(job, "final replay", bound_s=10.0)
