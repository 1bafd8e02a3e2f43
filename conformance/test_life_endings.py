"""LIFE: the terminal event is one and the last, and a stream ends with it and only with it.

A reader takes a clean end for the whole log. One that comes without the terminal event, or not at
all after it, leaves the reader with half a log or waiting for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.applies import why_not
from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.verdict import Broken, Found, Unable, Undecided

from .payloads import schema_fault
from .reading import (
    Seen,
    as_json,
    events_of,
    exhibit,
    first_sights,
    has_terminal,
    is_coded,
    recycled,
    stream_log,
)
from .stories import (
    EVERYWHERE,
    Story,
    all_stories,
    asked_after,
    clock_margin_s,
    end_seen_at,
    terminal_places,
    whole_logs,
)

RACE_S = 0.5
"""A stream opened so shortly before the end races it: its seam is judged by REPLAY and LATE."""


@check("LIFE-01", *EVERYWHERE)
def test_one_terminal_event_and_it_is_the_last(run: Run) -> Found:
    """If a job ends, then its log has exactly one terminal event, with an id, behind all others."""
    judged = without_ids = 0
    for story in all_stories(run):
        end = end_seen_at(run, story)
        if end is None:
            continue
        for recording in (*story.streams, *story.views):
            is_stream = recording.is_stream
            seen = events_of(recording, run.profile)
            where = terminal_places(seen, run.profile)
            if not where:
                continue
            unnamed = not any(event.id for event in seen)
            if unnamed and not why_not("REPLAY-01", run.profile, run.evidence.found):
                without_ids += 1
                continue
            fault = _terminal_fault(run, seen, where) or (
                _sent_twice(seen, where, recording, end) if is_stream else None
            )
            if fault:
                raise Broken(
                    f"{recording.label} ({story.job}): {fault[0]}",
                    exhibit(recording, fault[1], "the fault"),
                    count=judged,
                    what="endings looked at",
                )
            judged += 1
        _require_replayed(run, story, judged)
    if not judged and without_ids:
        raise Unable("the terminal events have no id because no event has one (see REPLAY-01)")
    return Found(judged, "endings looked at")


def _terminal_fault(run: Run, seen: Sequence[Seen], where: list[int]) -> tuple[str, Seen] | None:
    last = seen[where[0]]
    if not any(event.id for event in seen):
        return _unnumbered_fault(run, seen, where)
    if not last.id:
        return f"the terminal event {last.type!r} has no id, so nobody can resume after it", last
    for other in (seen[n] for n in where[1:]):
        if other.id != last.id:
            return f"a second terminal event (id {other.id!r}) stands behind id {last.id!r}", other
    for event in seen[where[0] + 1 :]:
        if event.type in run.profile.events.terminal or _belongs_before(event, last, seen):
            continue
        return f"{event.type} {event.id!r} stands behind the terminal event {last.id!r}", event
    if last.block is not None and not isinstance(as_json(last.text), dict):
        return None  # WIRE-10 says so of all events
    if fault := schema_fault(last.type, last.data):
        return f"the terminal event {last.id!r} does not match its schema: {fault}", last
    return None


def _unnumbered_fault(run: Run, seen: Sequence[Seen], where: list[int]) -> tuple[str, Seen] | None:
    """The same where no event has an id: place and number are all there is to judge."""
    names = [seen[n].type for n in where]
    twice = next((n for n in where[1:] if seen[n].type in names[: where.index(n)]), None)
    if twice is not None:
        return f"the terminal event {seen[twice].type!r} was sent more than once", seen[twice]
    # A profile that leaves the names open lists several that may end a log, one behind another.
    if len(where) > 1 and run.profile.events.names:
        return f"{len(where)} terminal events ({', '.join(names)})", seen[where[1]]
    behind = seen[where[-1] + 1 :]
    if behind:
        return f"{behind[0].type} stands behind the terminal event {names[-1]!r}", behind[0]
    return None


def _belongs_before(event: Seen, last: Seen, seen: Sequence[Seen]) -> bool:
    """Whether an event behind the end was merely shown late or again: order is REPLAY's matter."""
    if event.id.isdigit() and last.id.isdigit():
        return int(event.id) < int(last.id)
    return bool(event.id) and any(
        other.id == event.id for other in seen[: next(n for n, e in enumerate(seen) if e is last)]
    )


def _sent_twice(
    seen: Sequence[Seen], where: list[int], recording: Recording, end: float
) -> tuple[str, Seen] | None:
    """The same terminal event twice on one stream, where no race of the joining explains it."""
    if len(where) < 2:
        return None
    others = [event.id for n, event in enumerate(seen) if n not in where]
    raced = seen[where[0]].at - recording.sent_at < RACE_S and recording.sent_at < end
    if raced or len(set(others)) < len(others):
        return None  # a seam, or everything comes twice: REPLAY-02, REPLAY-11
    again = seen[where[1]]
    return f"the terminal event {again.id!r} was sent {len(where)} times", again


def _require_replayed(run: Run, story: Story, judged: int) -> None:
    """A replay that lacks the terminal event and nothing else breaks the rule."""
    logs = whole_logs(run, story)
    if not logs:
        return
    wanted = {e.id for e in logs[0][1] if e.type not in run.profile.events.terminal}
    seen_at = min(e.at for r, log in logs for e in log if e.type in run.profile.events.terminal)
    for recording in story.streams:
        seen = stream_log(recording, run.profile)
        settled = recording.ended_cleanly or recording.end is End.TIMEOUT
        if (
            recording.sent_at < seen_at
            or not settled
            or asked_after(recording, run.profile)
            or recycled(recording, run.profile)
            or has_terminal(seen, run.profile)
        ):
            continue
        if wanted and {event.id for event in seen} >= wanted:
            raise Broken(
                f"{recording.label} ({story.job}): the replay after the job's end shows all "
                f"{len(wanted)} events but the terminal one",
                exhibit(recording, seen[-1], "the last event that was replayed"),
                count=judged,
                what="endings looked at",
            )


@check("LIFE-02", "live", "endings", "starts")
def test_the_stream_ends_after_the_terminal_event(run: Run) -> Found:
    """If the terminal event was sent, then the response ends by its framing and in time."""
    within_s = run.profile.declared.close_s
    judged, slowest = 0, 0.0
    for story in all_stories(run):
        for recording in story.streams:
            seen = stream_log(recording, run.profile)
            if not has_terminal(seen, run.profile):
                continue
            last = seen[-1]
            took = recording.ended_at - last.at
            late = took > within_s + clock_margin_s(run)
            if recording.end in (End.LEFT, End.TIMEOUT) and not late:
                continue  # it was the suite that went
            fault = ""
            if recording.end in (End.CUT, End.RESET, End.PROTOCOL_ERROR):
                fault = (
                    f"broke off ({recording.end.value}: {recording.error}) {took:.1f} s after the "
                    "terminal event instead of ending by its framing"
                )
            elif not recording.ended_cleanly:
                fault = f"was still open {took:.1f} s after the terminal event"
            elif late:
                fault = f"ended {took:.1f} s after the terminal event"
            if fault:
                raise Broken(
                    f"{recording.label} ({story.job}) {fault}; declared are {within_s:g} s",
                    exhibit(recording, last, "the last event"),
                    count=judged,
                    what="streams that showed the terminal event",
                )
            judged, slowest = judged + 1, max(slowest, took)
    return Found(
        judged, "streams that showed the terminal event", f"the slowest ended after {slowest:.2f} s"
    )


@check("LIFE-05", "live", "endings", "quiet", "gaps", "starts")
def test_no_clean_end_without_the_terminal_event(run: Run) -> Found:
    """If a running job's stream ends cleanly, then `done` or the recycle mark was its last word."""
    judged, longest = 0, 0.0
    for story in all_stories(run):
        end = end_seen_at(run, story)
        known = first_sights((*story.streams, *story.views), run.profile)
        for recording in story.streams:
            cursor = asked_after(recording, run.profile)
            opened = recording.sent_at
            if is_coded(recording):
                continue  # its bytes mean something only once they are decoded: see HDR-07
            if end is not None and opened >= end:
                continue  # what a finished job's stream has to hold is judged by REPLAY and LATE
            if cursor and known.get(cursor, opened + 1.0) > opened:
                continue  # an odd cursor, ahead of the log or foreign
            seen = stream_log(recording, run.profile)
            lasted = recording.ended_at - opened
            longest, judged = max(longest, lasted), judged + 1
            broke = recording.end in (End.CUT, End.RESET, End.PROTOCOL_ERROR)
            if broke and run.profile.api.start_streams and not terminal_places(seen, run.profile):
                raise Broken(
                    f"{recording.label} broke off after {lasted:.1f} s and {len(seen)} events "
                    "without a terminal event, and nothing can take up a stream that is the "
                    "answer to its own start",
                    exhibit(recording, seen[-1] if seen else None, "the last event"),
                    count=judged,
                    what="streams of running jobs",
                )
            if (
                recording.ended_cleanly
                and not terminal_places(seen, run.profile)
                and not recycled(recording, run.profile)
            ):
                if seen and not run.profile.events.names:
                    raise Undecided(
                        f"{recording.label} ended cleanly with {seen[-1].type!r}, which the "
                        "profile does not list under events.terminal: is it the end of the log?"
                    )
                raise Broken(
                    f"{recording.label} ({story.job}) ended cleanly after {lasted:.1f} s and "
                    f"{len(seen)} events, without the terminal event and without the comment "
                    f"`: {run.profile.events.recycle}`: a reader takes that for the whole log",
                    exhibit(recording, seen[-1] if seen else None, "the last event"),
                    count=judged,
                    what="streams of running jobs",
                )
    return Found(
        judged,
        "streams of running jobs",
        f"the longest was watched for {longest:.0f} s; a time limit beyond that was not reached",
    )
