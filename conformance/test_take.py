"""TAKE: another instance goes on with a job, and nobody else writes to its log.

What readers see meanwhile is judged with the failing instances (MI); here the log itself is held
against the script that was given to the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.timing import moment
from streamgauge.verdict import Broken, Found, Unable

from .breaking import (
    broken_part,
    connections,
    hooked,
    job_of_start,
    killed_part,
    last_seen,
    log_afterwards,
    taken_over_while_paused,
)
from .clocks import slack_s
from .comparing import difference
from .finals import unanswered
from .reading import Seen, exhibit, has_terminal, stream_log

AS_BEFORE_S = 0.2
"""By how much events may be older on their arrival than before, once the broker is back."""


@check("TAKE-01", "killed")
def test_another_instance_goes_on(run: Run) -> Found:
    """If a job's instance is killed, then the log goes on where it was, to its one end."""
    bundle, _, _ = killed_part(run)
    judged = 0
    for label in ("steady", "swift"):
        judged += _as_scripted(run, bundle, label, "was taken over", judged)
    return Found(judged, "events")


@check("TAKE-02", "paused")
def test_an_old_owner_writes_nothing(run: Run) -> Found:
    """If an owner wakes up after its lease was lost, then the log is what the new owner wrote."""
    bundle, _ = taken_over_while_paused(run)
    return Found(_as_scripted(run, bundle, "steady", "lost its paused owner", 0), "events")


@check("TAKE-03", "killed")
def test_what_was_seen_is_stored(run: Run) -> Found:
    """If a reader saw an event before the kill, then the log has that event afterwards."""
    bundle, _, done_at = killed_part(run)
    compared = 0
    for label in ("steady", "swift"):
        job = job_of_start(bundle, f"{label} start")
        replay, log = last_seen(run, bundle, job)
        first = connections(bundle, label)[0]
        seen = [event for event in stream_log(first, run.profile) if event.at <= done_at]
        if (found := difference(log[: len(seen)], seen))[0]:
            raise Broken(
                f"a reader saw before the kill what the log does not have afterwards: {found[0]}",
                exhibit(first, found[1], "what the reader saw"),
                replay,
                count=compared,
                what="events compared",
            )
        compared += len(seen)
    return Found(compared, "events compared")


@check("TAKE-04", "broker_away")
def test_the_broker_may_go_away(run: Run) -> Found:
    """If the broker stops and returns, then events are late at most, and soon not even that."""
    bundle = broken_part(run, "broker_away")
    stopped, _ = hooked(bundle, "stop_broker")
    _, started = hooked(bundle, "start_broker")
    log = log_afterwards(run, bundle, job_of_start(bundle, "steady start"))
    readings = connections(bundle, "watch")
    seen = [e for r in readings if r.is_stream for e in stream_log(r, run.profile)]
    if (found := difference(log, seen))[0]:
        raise Broken(
            f"a reader during the broker's absence: {found[0]}",
            exhibit(readings[-1], found[1]),
            what="events compared",
        )
    again_from = float(bundle.facts["again_from"])
    ages = _ages(seen)
    before = [age for at, age in ages if at < stopped]
    away = [age for at, age in ages if stopped <= at < started]
    again = [age for at, age in ages if at >= again_from]
    if len(before) < 5 or len(again) < 5:
        raise Unable("too few events came before or after the broker's absence to tell their lag")
    usual = median(before)
    worst = max((age - usual for age in away), default=0.0)
    within_s = run.profile.declared.lag_p95_s
    if worst > within_s + slack_s(run):
        raise Broken(
            f"while the broker was away an event came {worst:.1f} s later than usual; declared "
            f"are {within_s:g} s",
            Exhibit(readings[0], "the reader on another instance than the job's"),
            count=len(seen),
            what="events compared",
        )
    if median(again) - usual > AS_BEFORE_S + slack_s(run):
        raise Broken(
            f"wake-ups did not resume: from {again_from - started:.0f} s after the broker's return "
            f"events came {(median(again) - usual) * 1000:.0f} ms later than before its absence",
            Exhibit(readings[-1], "the reader on another instance than the job's"),
            count=len(seen),
            what="events compared",
        )
    told = f"at most {worst * 1000:.0f} ms later than usual while the broker was away"
    return Found(len(seen), "events compared", told)


@check("TAKE-05", "store_away")
def test_the_store_may_go_away(run: Run) -> Found:
    """If the store stops, then starts are refused until it is back, and no event is lost."""
    bundle = broken_part(run, "store_away")
    hooked(bundle, "start_store")
    meanwhile = bundle.all("meanwhile")
    refused = 0
    for answer in meanwhile:
        if said := unanswered(answer):
            raise Broken(f"a start while the store is away: {said}", answer, count=refused)
        refused += _is_refused_for_now(answer, refused)
    if not refused:
        raise Unable(
            "every start was accepted while the store was away: does the hook stop_store stop it?"
        )
    if not bundle.facts.get("accepted_again"):
        raise Broken(
            "starts were still not accepted half a minute after the store had come back",
            bundle.all("afterwards")[-1],
            count=refused,
            what="starts",
        )
    events = _as_scripted(run, bundle, "steady", "ran while the store was away", refused)
    return Found(refused + events, "answers and events", f"{refused} starts were refused meanwhile")


def _is_refused_for_now(answer: Recording, count: int) -> bool:
    """Whether a start was refused as it should be. Raises Broken: it was refused otherwise."""
    if answer.status is not None and 200 <= answer.status < 300:
        return False
    if answer.status != 503 or not answer.header("retry-after"):
        lacks = " without Retry-After" if answer.status == 503 else ""
        raise Broken(
            f"a start while the store is away: {outcome(answer)}{lacks}; expected 503 with "
            "Retry-After",
            answer,
            count=count,
            what="starts",
        )
    return True


def _as_scripted(run: Run, bundle: Bundle, label: str, what: str, count: int) -> int:
    """Hold a job's log against its script; returns the number of its events.

    Raises:
        Broken: it has more events, or fewer, has failed, or has no end.
        Unable: it was not read.
    """
    start = bundle.get(f"{label} start")
    job = job_of_start(bundle, f"{label} start")
    recording, seen = last_seen(run, bundle, job)
    if not has_terminal(seen, run.profile):
        raise Broken(
            f"a job that {what} has not ended: its log stops after {len(seen)} events",
            exhibit(recording, seen[-1] if seen else None),
            count=count,
            what="events",
        )
    log = log_afterwards(run, bundle, job)
    shape = start.info.get("shape") if start is not None else None
    asked = shape.get("events") if isinstance(shape, dict) else None
    if log and any(event.type == "error" for event in log):
        raise Broken(
            f"a job that {what} did not go on: it ended with an error after {len(log)} events",
            exhibit(recording, log[-1]),
            count=count,
            what="events",
        )
    if len(log) != asked:
        raise Broken(
            f"a job that {what} has {len(log)} events; its script asked for {asked}",
            exhibit(recording, log[-1]),
            count=count,
            what="events",
        )
    return len(log)


def _ages(seen: Sequence[Seen]) -> list[tuple[float, float]]:
    """When each event came, and how old it was by the two clocks (their offset stays in it)."""
    found = []
    for event in seen:
        stamp = moment(event.timestamp)
        if stamp is not None:
            found.append((event.at, event.at - stamp))
    return found
