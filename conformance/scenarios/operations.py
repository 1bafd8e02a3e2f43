"""What an operator looks at: liveness, readiness, and metrics before and after a job was read."""

from __future__ import annotations

import asyncio
import uuid

from streamgauge.lab import Lab
from streamgauge.metrics import MetricsError, samples
from streamgauge.recording import Recording, outcome
from streamgauge.verdict import Unable

from .shapes import script

BOUND_S = 5.0
SCRAPES = 3
HEALTH_TRIES = 3
"""So many failures in a row take an instance out of service by default (Kubernetes)."""
HEALTH_AGAIN_S = 1.0
SCRAPE_EVERY_S = 0.5
READ_S = 8.0
EVENTS = 12


async def operations(lab: Lab) -> None:
    """Scrape, let the target do the work that its metrics are about, scrape again."""
    api, found = lab.profile.api, lab.shared.found
    # A target that answers 200 to any path has no health check because it answers 200 to one.
    nothing = await _get(lab, f"/streamgauge-{uuid.uuid4()}", "unknown path")
    live = await _health(lab, api.healthz, "live 1")
    ready = await _health(lab, api.readyz, "ready 1")
    before = await _get(lab, api.metrics, "metrics before")
    found["health"] = _no_health(nothing, live, ready)
    found["metrics"] = _no_metrics(before)
    if found["metrics"] and found["health"]:
        return
    if lab.shared.shaped:
        job = await lab.start("start", script(EVENTS, 10))
        await lab.read(job, "reader", bound_s=READ_S)
        await lab.read(job, "replay", bound_s=READ_S)
    else:
        job, _ = lab.natural()
        replay = lab.stream(job, "replay", bound_s=READ_S)
        await replay.until(lab.ended, READ_S)
        await replay.leave()
    for number in range(SCRAPES):
        await _get(lab, api.metrics, f"metrics after {number}")
        await asyncio.sleep(SCRAPE_EVERY_S)
    await _health(lab, api.healthz, "live 2")
    await _health(lab, api.readyz, "ready 2")


async def _health(lab: Lab, path: str, label: str) -> Recording:
    """Ask until the answer is a good one, a few times: so do those who act on such answers."""
    answer = await _get(lab, path, label)
    for number in range(1, HEALTH_TRIES):
        if answer.status is None or answer.status < 500:
            break
        await asyncio.sleep(HEALTH_AGAIN_S)
        answer = await _get(lab, path, f"{label} again {number}")
    return answer


async def _get(lab: Lab, path: str, label: str) -> Recording:
    if not path.startswith("/"):
        raise Unable(f"{path!r} in the profile's [api] is no path")
    return await lab.ask("GET", path, label=label, headers=[("Accept", "*/*")], bound_s=BOUND_S)


def _no_health(nothing: Recording, live: Recording, ready: Recording) -> str:
    """Why there is no health check to judge, "" where there is one."""
    if nothing.status == 200:
        return "any path at all is answered 200"
    answered = [r for r in (live, ready) if r.status is not None and 200 <= r.status < 300]
    told = [f"GET {r.request.url} {outcome(r)}" for r in (live, ready)]
    # 503 is an answer, too: that of something that is there and not well.
    return "" if answered or 503 in (live.status, ready.status) else "; ".join(told)


def _no_metrics(answer: Recording) -> str:
    if answer.status != 200:
        return f"GET {answer.request.url}: {outcome(answer)}"
    try:
        found = samples(answer.body)
    except MetricsError as error:
        return f"GET {answer.request.url} is not the Prometheus text format ({error})"
    return "" if found else f"GET {answer.request.url} has no sample"
