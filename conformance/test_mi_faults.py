"""MI: instances fail, and neither jobs nor their readers lose anything.

The last instance is killed, told to end and paused, and all are restarted in turn, by the control
hooks of the profile. Without hooks these rules are not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, NotRun, Unable

from .breaking import (
    broken_part,
    connections,
    drained_part,
    hooked,
    job_of_start,
    killed_part,
    last_seen,
    log_afterwards,
    read_whole,
    ready_while_draining,
    taken_over_while_paused,
)
from .clocks import slack_s
from .reading import Seen, exhibit, has_terminal, ids_of, stream_log


@check("MI-04", "killed")
def test_a_job_outlives_its_instance(run: Run) -> Found:
    """If the instance that runs a job is killed, then the job goes on or ends in declared time."""
    bundle, at, _ = killed_part(run)
    within_s = run.profile.declared.takeover_s
    for label in ("steady", "swift"):
        recording, seen = last_seen(run, bundle, job_of_start(bundle, f"{label} start"))
        if not has_terminal(seen[-1:], run.profile):
            raise Broken(
                f"a job whose instance was killed has not ended {recording.sent_at - at:.0f} s "
                f"later, and shows {len(seen)} of its {_asked(bundle, label)} events",
                exhibit(recording, seen[-1] if seen else None),
                what="jobs",
            )
    late_s, reader = _pause_after(run, bundle, "watch", at)
    if late_s > within_s + slack_s(run):
        raise Broken(
            f"a job whose instance was killed showed its next event {late_s:.1f} s later; "
            f"declared are {within_s:g} s",
            Exhibit(reader, "what a reader on another instance saw"),
            what="jobs",
        )
    return Found(2, "jobs", f"{late_s:.1f} s from the kill to the next event")


@check("MI-05", "killed")
def test_readers_go_on_elsewhere(run: Run) -> Found:
    """If the instance that serves a reader is killed, then it gets the exact log from another."""
    bundle, _, _ = killed_part(run)
    compared = 0
    for label in ("steady", "swift"):
        log = log_afterwards(run, bundle, job_of_start(bundle, f"{label} start"))
        what = f"a reader ({label!r}) whose instance was killed"
        compared += read_whole(run, bundle, label, log, what, compared)
    return Found(compared, "events compared")


@check("MI-06", "drained")
def test_an_instance_that_is_told_to_end_drains(run: Run) -> Found:
    """If an instance gets SIGTERM, then it says so, ends its streams well, and loses nothing."""
    bundle, at, ended = drained_part(run)
    if not ended.ended_cleanly:
        raise Broken(
            f"{ended.label}: after SIGTERM the stream was cut ({outcome(ended)}); it should end in "
            "good order, so that no reader takes it for a fault",
            Exhibit(ended, "the stream on that instance"),
            what="answers",
        )
    within_s = run.profile.declared.grace_s
    if ended.ended_at - at > within_s + slack_s(run):
        raise Broken(
            f"{ended.label}: the stream ended {ended.ended_at - at:.1f} s after SIGTERM; declared "
            f"are {within_s:g} s",
            ended,
            what="answers",
        )
    told = ready_while_draining(bundle, at, ended.ended_at)
    log = log_afterwards(run, bundle, job_of_start(bundle, "steady start"))
    compared = 0
    for label in ("steady", "watch"):
        what = f"a reader ({label!r}) while an instance drained"
        compared += read_whole(run, bundle, label, log, what, compared)
    return Found(compared, "events compared", told)


@check("MI-07", "rolled")
def test_a_rolling_restart_goes_unnoticed(run: Run) -> Found:
    """If all instances are restarted in turn, then readers see no fault and no long pause."""
    bundle = broken_part(run, "rolled")
    at, _ = hooked(bundle, "restart")
    within_s = run.profile.declared.handover_s
    compared, longest, moved = 0, 0.0, 0
    for start in [r for r in bundle.all("start") if r.info.get("made")]:
        label = f"reader {start.label.removeprefix('start ')}"
        log = log_afterwards(run, bundle, str(start.info["made"]))
        what = f"{label!r} during a rolling restart"
        compared += read_whole(run, bundle, label, log, what, compared)
        readings = connections(bundle, label)
        moved += len(readings) - 1
        pause_s, recording, event = _longest_pause(run, readings, at)
        if pause_s > within_s + slack_s(run):
            raise Broken(
                f"{what} got no event for {pause_s:.1f} s; declared are {within_s:g} s",
                exhibit(recording, event, "the event after the pause"),
                count=compared,
                what="events compared",
            )
        longest = max(longest, pause_s)
    if not moved:
        raise Unable("no reader had to reconnect, so nothing was restarted")
    return Found(compared, "events compared", f"{moved} reconnects; longest pause {longest:.1f} s")


@check("MI-08", "store_away", "broker_away")
def test_store_and_broker_may_restart(run: Run) -> Found:
    """If the store or the broker restarts, then what was seen stays, and readers go on."""
    compared, left_out = 0, []
    for scenario, readers in (("store_away", ("steady", "watch")), ("broker_away", ("watch",))):
        what = f"while the {scenario.removesuffix('_away')} was away"
        try:
            bundle = broken_part(run, scenario)
        except NotRun as reason:
            left_out.append(str(reason))
            continue
        job = job_of_start(bundle, "steady start")
        recording, seen = last_seen(run, bundle, job)
        if not has_terminal(seen[-1:], run.profile):
            raise Broken(
                f"a job that ran {what} has not ended since, and shows {len(seen)} of its "
                f"{_asked(bundle, 'steady')} events",
                recording,
                count=compared,
                what="events compared",
            )
        log = log_afterwards(run, bundle, job)
        for label in readers:
            compared += read_whole(run, bundle, label, log, f"a reader {what}", compared)
    if len(left_out) == 2:
        raise NotRun(left_out[0])
    return Found(compared, "events compared", "; ".join(left_out))


@check("MI-09", "paused")
def test_a_paused_instance_is_fenced(run: Run) -> Found:
    """If an instance wakes up after its job was taken over, then no id and no end comes twice."""
    bundle, log = taken_over_while_paused(run)
    for recording in [*connections(bundle, "steady"), *connections(bundle, "watch")]:
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        for earlier, later in pairwise(seen):
            if earlier.id == later.id:
                raise Broken(
                    f"{recording.label}: id {later.id!r} came twice after an instance had woken up",
                    exhibit(recording, later),
                    what="events compared",
                )
    ends = [event for event in log if event.type in run.profile.events.terminal]
    if len(ends) > 1 or len(set(ids_of(log))) < len(log):
        raise Broken(
            f"the log has {len(ends)} terminal events and {len(log) - len(set(ids_of(log)))} ids "
            "twice after a paused instance has woken up",
            last_seen(run, bundle, job_of_start(bundle, "steady start"))[0],
            what="events compared",
        )
    compared = 0
    for label in ("steady", "watch"):
        what = f"a reader ({label!r}) while an instance was paused and woken"
        compared += read_whole(run, bundle, label, log, what, compared)
    return Found(compared, "events compared")


def _asked(bundle: Bundle, label: str) -> object:
    start = bundle.get(f"{label} start")
    shape = start.info.get("shape") if start is not None else None
    return shape.get("events") if isinstance(shape, dict) else "unknown number of"


def _pause_after(run: Run, bundle: Bundle, label: str, at: float) -> tuple[float, Recording]:
    """How long after the fault a reader on a healthy instance saw something new.

    What was committed before may still arrive in the instant after it; the pause is what counts.
    """
    readings = connections(bundle, label)
    pause_s, recording, _ = _longest_pause(run, readings, at)
    return pause_s, recording


def _longest_pause(
    run: Run, readings: Sequence[Recording], since: float
) -> tuple[float, Recording, Seen | None]:
    """The longest time without an event that a reader saw, from a moment on."""
    found: tuple[float, Recording, Seen | None] = (0.0, readings[0], None)
    before = since
    for recording in readings:
        for event in stream_log(recording, run.profile) if recording.is_stream else ():
            if event.at > since and event.at - before > found[0]:
                found = (event.at - before, recording, event)
            before = max(before, event.at)
    return found
