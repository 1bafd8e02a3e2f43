"""Whether the generator itself was the bottleneck: then a pass proves nothing about the target."""

from __future__ import annotations

import resource
import time
from typing import Any, Final

import gevent
import psutil

from .tally import Tally, Whole

PROBE_S: Final = 0.02
LOOK_S: Final = 1.0
BUSY_PERCENT: Final = 95.0
"""One processor is used up: what comes later waits for us."""
BUSY_SHARE_MAX: Final = 1 / 3
FILES_SHARE_MAX: Final = 0.9
LAG_SHARE_MAX: Final = 0.25
"""Of the bound on event age: more of our own in it would decide the verdict."""
LATE_SHARE: Final = 0.95
"""A machine that does other things too is late now and then, one that is too small always."""
LAG_LEAST_S: Final = 0.05
DROPPED_SHARE_MAX: Final = 0.01


def watch_over_self(tally: Tally) -> None:
    """Measure this process for as long as the greenlet lives."""
    process = psutil.Process()
    process.cpu_percent(None)
    looked = time.monotonic()
    busy, looks, percents, files = 0, 0, 0.0, 0
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    while True:
        before = time.monotonic()
        gevent.sleep(PROBE_S)
        now = time.monotonic()
        tally.lag.add(max(0.0, now - before - PROBE_S))
        if now - looked < LOOK_S:
            continue
        looked = now
        percent = process.cpu_percent(None)
        looks += 1
        busy += percent >= BUSY_PERCENT
        percents += percent
        files = max(files, process.num_fds())
        tally.health.update(
            cpu_percent=percents / looks,
            cpu_now=percent,
            busy_share=busy / looks,
            files=files,
            files_max=limit,
            memory_bytes=process.memory_info().rss,
        )


def overload(sums: Whole, age_bound_s: float) -> list[str]:
    """Why the generator, and not the target, may have set the pace; nothing where it did not."""
    found: list[str] = []
    for name, health in sorted(sums.health.items()):
        found += [f"{name}: {said}" for said in _of_process(health)]
    lag = sums.lag.percentile(LATE_SHARE)
    lag_max = max(LAG_LEAST_S, age_bound_s * LAG_SHARE_MAX)
    if lag is not None and lag > lag_max:
        found.append(f"its own loop was {lag:.3f} s late (p95; {lag_max:.3f} s is tolerable)")
    due = sums.counts["arrivals due"]
    dropped = sums.counts["arrivals dropped"]
    if due and dropped > due * DROPPED_SHARE_MAX:
        found.append(f"{dropped} of {due} arrivals were dropped: too many streams were open")
    return found


def _of_process(health: dict[str, Any]) -> list[str]:
    found: list[str] = []
    if health.get("busy_share", 0.0) > BUSY_SHARE_MAX:
        found.append(
            f"its processor was used up in {health['busy_share']:.0%} of all seconds "
            "(more workers: --processes)"
        )
    if health.get("files", 0) > FILES_SHARE_MAX * health.get("files_max", 1):
        found.append(f"{health['files']} of {health['files_max']} files were open (ulimit -n)")
    return found
