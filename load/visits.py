"""What users do: each function is one visit of one kind of client, from its start to its end."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Final

import gevent

from streamgauge.framing import NoConnection, WireError

from .crowd import Crowd
from .jobs import Job, Plan
from .polling import Polled
from .streams import Stream
from .target import Refused

REST_S: Final = 0.5
"""After a start that failed: a crowd that hammers a broken target only shows itself."""
STAY_S: Final = 15.0
"""For so long a reader stays on streams that nobody says will end."""
SLOW_BYTES: Final = 8_192
SLOW_S: Final = 0.05
SLOW_EVENTS_MAX: Final = 400
"""A slow reader takes about forty frames a second; longer jobs would outlast any run."""
DROPS_MAX: Final = 6
HERD_S: Final = 1.0
"""All herds of all processes drop at the same moments: whole multiples of this, by the clock."""
HERD_PLAN: Final = Plan(250, 12, "completed")
ABUSED: Final = Plan(10, 0, "completed")
ABUSE_EXTRA: Final = 3
"""So many starts beyond the quota."""
ABUSE_REST_S: Final = 2.0


class QuotaBroken(Exception):
    """More starts were admitted than one client has."""


def _start(crowd: Crowd, plan: Plan | None = None, *, streamed: bool = True) -> Job | None:
    """Start the next job, or one of this kind; None where that failed, after a rest.

    `streamed`: somebody will open its stream at once, so that it may wait for that.
    """
    target = crowd.target
    if not target.shares:
        # The address, or the start itself, is the stream: every reader has a job of its own.
        return Job("", None)
    began = time.time()
    try:
        job = target.start(plan or next(crowd.plans), waits=streamed)
    except WireError as error:
        crowd.reached(error if isinstance(error, NoConnection) else None)
        crowd.measured("start", time.time() - began, error=error)
        gevent.sleep(REST_S)
        return None
    crowd.reached(None)
    crowd.measured("start", time.time() - began)
    crowd.tally.counts["jobs"] += 1
    crowd.jobs.add(job)
    return job


def _stays(crowd: Crowd) -> float:
    return 0.0 if crowd.target.profile.events.terminal else STAY_S


def start_and_read(crowd: Crowd) -> None:
    """Start a job, read it to its end, and hold it against the log as it is kept."""
    job = _start(crowd)
    if job is None:
        return
    Stream(crowd, job, "starter", stays_s=_stays(crowd)).read()
    if _polls(crowd) and job.ended:
        Polled(crowd, job, "kept log").read()


def join_late(crowd: Crowd) -> None:
    """Join a job that runs, or one that is over, in turn."""
    job = _to_join(crowd, ended=crowd.jobs.after_is_next())
    if job is None:
        start_and_read(crowd)
        return
    Stream(crowd, job, "late joiner", stays_s=_stays(crowd)).read()


def _to_join(crowd: Crowd, ended: bool) -> Job | None:
    can = crowd.target.profile.capabilities
    if not crowd.target.shares or can.join is False or can.replay is False:
        return None
    job = crowd.jobs.to_join(ended)
    if job is None:
        # The other half is better than nothing; a moment's rest lets jobs come about.
        gevent.sleep(0.1)
        job = crowd.jobs.to_join(not ended)
    return job


def read_flakily(crowd: Crowd) -> None:
    """Read a job and drop out at random points, each time coming back with the cursor."""
    job = _start(crowd)
    if job is None:
        return
    if crowd.target.profile.capabilities.resume is not True:
        Stream(crowd, job, "flaky reader", stays_s=_stays(crowd)).read()
        return
    size = job.plan.events if job.plan else 20
    left = random.randint(1, DROPS_MAX)
    points = sorted(random.randint(1, size) for _ in range(left))

    def leaves(stream: Stream) -> bool:
        if points and stream.follower.events >= points[0]:
            while points and stream.follower.events >= points[0]:
                points.pop(0)
            return True
        return False

    Stream(crowd, job, "flaky reader", leaves=leaves, stays_s=_stays(crowd)).read()


def poll(crowd: Crowd) -> None:
    """Follow a job by polling, where the target has that."""
    if not _polls(crowd):
        join_late(crowd)
        return
    job = _to_join(crowd, ended=False) or _start(crowd, streamed=False)
    if job is None:
        return
    Polled(crowd, job, "poller", pause_s=0.2).read()


def _polls(crowd: Crowd) -> bool:
    profile = crowd.target.profile
    return profile.capabilities.polling is True and bool(profile.api.events)


def read_slowly(crowd: Crowd) -> None:
    """Take a few events at a time, with rests: the target keeps what is not taken."""
    plan = next(crowd.plans)
    if plan.events > SLOW_EVENTS_MAX:
        plan = Plan(SLOW_EVENTS_MAX // 2, plan.interval_ms, plan.outcome)
    job = _start(crowd, plan)
    if job is None:
        return
    stream = Stream(
        crowd, job, "slow reader", ages=False, read_bytes=SLOW_BYTES, pause_s=SLOW_S,
        stays_s=_stays(crowd),
    )  # fmt: skip
    stream.read()


def run_with_the_herd(crowd: Crowd) -> None:
    """Read the herd's job; all drop at once and come back at once."""
    with crowd.herd_gate:
        job = crowd.herd_job
        if job is None or job.ended or not crowd.target.shares:
            job = crowd.herd_job = _start(crowd, HERD_PLAN)
    if job is None:
        return
    resumes = crowd.target.profile.capabilities.resume is True
    turn = time.time() // HERD_S

    def leaves(_: Stream) -> bool:
        nonlocal turn
        now = time.time() // HERD_S
        if not resumes or now == turn:
            return False
        turn = now
        return True

    Stream(crowd, job, "herd", leaves=leaves, stays_s=_stays(crowd)).read()


def abuse_quota(crowd: Crowd) -> None:
    """Start more jobs than one client may: exactly the quota is admitted, the rest refused."""
    profile = crowd.target.profile
    limit = profile.declared.quota_runs
    if profile.capabilities.quota is not True or not limit or not profile.api.client_id_header:
        start_and_read(crowd)
        return
    client = str(uuid.uuid4())
    jobs: list[Job] = []
    for _ in range(limit + ABUSE_EXTRA):
        began = time.time()
        try:
            jobs.append(crowd.target.start(ABUSED, client, waits=False))
        except Refused as refused:
            if refused.status == profile.declared.quota_status and len(jobs) >= limit:
                crowd.tally.counts["refused by quota"] += 1
                continue
            crowd.measured("start", 0.0, error=refused)
        except WireError as error:
            crowd.reached(error if isinstance(error, NoConnection) else None)
            crowd.measured("start", 0.0, error=error)
        else:
            crowd.measured("start", time.time() - began)
    if len(jobs) > limit and crowd.tally.counts["refused by quota"]:
        said = f"{len(jobs)} starts of one client were admitted where {limit} are allowed"
        crowd.measured("start", 0.0, error=QuotaBroken(said))
    for job in jobs:
        Stream(crowd, job, "quota abuser").read()
    gevent.sleep(ABUSE_REST_S)


VISITS: Final[Mapping[str, Callable[[Crowd], None]]] = {
    "starters": start_and_read,
    "late_joiners": join_late,
    "flaky_readers": read_flakily,
    "pollers": poll,
    "slow_readers": read_slowly,
    "herd": run_with_the_herd,
    "quota_abusers": abuse_quota,
}
"""By the name of their share in a profile's `[load]`."""
