"""LIFE: how jobs begin, end and are ended, and what their streams do then."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any
from urllib.parse import parse_qs, urlsplit

from streamgauge.check import Run, check
from streamgauge.lab import outcome
from streamgauge.profile import Profile
from streamgauge.recording import Bundle, End, PackedReads, Recording
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .payloads import schema_fault
from .reading import Seen, as_json, control, exhibit, has_terminal, listed, stream_log

EVERYWHERE = ("log", "live", "endings", "starts")
MARGIN_S = 0.5
"""On top of a declared time: what the suite's own clock and the network may add."""
RACE_S = 0.5
"""A stream opened so shortly before the end races it: its seam is judged by REPLAY and LATE."""
GRACE_S = 1.0
"""So long after the terminal event was seen a view may still have to catch up."""
AT_ONCE_S = 2.0
"""What "at once" may take beyond the declared time to the first byte."""
SELF_START_MARGIN_S = 3.0
RANKS = {"queued": 0, "started": 1, "running": 2, "completed": 3, "failed": 3, "canceled": 3}
ENDED = 3
CODE = re.compile(r"\S{1,100}")
INTERNALS = (
    (re.compile(r"Traceback \(most recent|File \"[^\"]+\", line \d+"), "a Python traceback"),
    (re.compile(r"(?m)^\s*at [\w.$<>/]+ ?\(?.*:\d+\)?|goroutine \d+ \["), "a stack trace"),
    (
        re.compile(r"\b[\w.]*\w\.py\b|[/\\][\w.-]+\.(?:js|ts|go|rs|java|rb|php|cs)\b"),
        "a source file",
    ),
    (
        re.compile(r"(?<![\w/.])/(?:home|usr|var|opt|app|srv|etc|root|tmp|work|src|Users)/\S+"),
        "a file path",
    ),
    (re.compile(r"\b[A-Za-z]:\\\w"), "a file path"),
    (
        re.compile(
            r"\b[A-Z]\w+(?:Error|Exception)\b|\b(?:[A-Z][a-z0-9]+)+(?:Crash|Failure|Timeout|Exit)\b"
            r"|\b[A-Z]\w+\([\'\"]|\bobject at 0x[0-9a-f]+"
        ),
        "an exception's name",
    ),
)


# -- what the run saw of each job -----------------------------------------------------------------


@dataclass(slots=True)
class Story:
    """All that the run recorded about one job."""

    job: str
    streams: list[Recording] = field(default_factory=list)
    views: list[Recording] = field(default_factory=list)
    """Snapshots and pages that were answered as such."""


def _stories(run: Run) -> list[Story]:
    """Every job of the run; packed streams (hundreds of the same finished log) are left out."""
    found: dict[str, Story] = {}
    for recording in run.recordings():
        job = recording.info.get("job")
        if job is None or recording.request.method != "GET":
            continue
        story = found.setdefault(str(job), Story(str(job)))
        if recording.is_stream and not isinstance(recording.reads, PackedReads):
            story.streams.append(recording)
        elif recording.status == 200 and isinstance(recording.json, dict):
            story.views.append(recording)
    return list(found.values())


def _cursor(recording: Recording, profile: Profile) -> str:
    """The cursor that a stream was opened with, "" for none."""
    if after := recording.info.get("after"):
        return str(after)
    query = parse_qs(urlsplit(recording.request.url).query)
    return next(iter(query.get(profile.api.cursor_query, ())), "")


def _whole(recording: Recording, profile: Profile) -> bool:
    """A stream from the first event to the terminal one, without an announced gap."""
    return (
        not _cursor(recording, profile)
        and has_terminal(stream_log(recording, profile), profile)
        and not (profile.events.gap and control(recording, profile.events.gap))
    )


def _ordered(seen: Iterable[Seen], profile: Profile) -> list[Seen]:
    """Each event once, in the order of ids where they are numbers: order itself is REPLAY's."""
    once: dict[str, Seen] = {}
    for number, event in enumerate(seen):
        once.setdefault(event.id or f"without id {number}", event)
    events = list(once.values())
    if profile.ids.order != "opaque" and all(e.id.isdigit() for e in events):
        events.sort(key=lambda event: int(event.id))
    return events


def _logs(run: Run, story: Story) -> list[tuple[Recording, list[Seen]]]:
    """The job's whole finished log, as each stream shows it that has it."""
    return [
        (r, _ordered(stream_log(r, run.profile), run.profile))
        for r in story.streams
        if _whole(r, run.profile)
    ]


def _ended_at(run: Run, story: Story) -> float | None:
    """When the suite first saw the job's terminal event."""
    times = [
        event.at
        for r in (*story.streams, *story.views)
        for event in (stream_log(r, run.profile) if r.is_stream else listed(r))
        if event.type in run.profile.events.terminal
    ]
    return min(times, default=None)


def _terminals(seen: Sequence[Seen], profile: Profile) -> list[int]:
    return [n for n, event in enumerate(seen) if event.type in profile.events.terminal]


def _status(data: Any) -> str:
    return str(data.get("status", "")) if isinstance(data, dict) else ""


def _view_status(recording: Recording) -> str:
    return _status(recording.json)


def _final_status(log: Sequence[Seen], profile: Profile) -> str:
    """How a log says that its job ended, "" where it does not; that `done` agrees is LIFE-11's."""
    told = {
        event.type: status
        for event in log
        if RANKS.get(status := _status(event.data)) == ENDED
        and (event.type == "job_status" or event.type in profile.events.terminal)
    }
    return told.get("job_status") or next(iter(told.values()), "")


def _margin(run: Run) -> float:
    return MARGIN_S + run.evidence.loop_lag_s


def _lasted(recording: Recording) -> str:
    return f"{recording.ended_at - recording.sent_at:.1f} s"


# -- LIFE-01, LIFE-02 -----------------------------------------------------------------------------


@check("LIFE-01", *EVERYWHERE)
def test_one_terminal_event_and_it_is_the_last(run: Run) -> Found:
    """If a job ends, then its log has exactly one terminal event, with an id, behind all others."""
    judged = without_ids = 0
    for story in _stories(run):
        end = _ended_at(run, story)
        if end is None:
            continue
        for recording in (*story.streams, *story.views):
            is_stream = recording.is_stream
            seen = stream_log(recording, run.profile) if is_stream else listed(recording)
            where = _terminals(seen, run.profile)
            if not where:
                continue
            if not any(event.id for event in seen):
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
    logs = _logs(run, story)
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
            or _cursor(recording, run.profile)
            or _is_recycled(recording, run.profile)
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
    for story in _stories(run):
        for recording in story.streams:
            seen = stream_log(recording, run.profile)
            if not has_terminal(seen, run.profile):
                continue
            last = seen[-1]
            took = recording.ended_at - last.at
            late = took > within_s + _margin(run)
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


# -- LIFE-03 --------------------------------------------------------------------------------------


@check("LIFE-03", *EVERYWHERE)
def test_states_only_move_forward(run: Run) -> Found:
    """If a view has shown a state, then it never shows an earlier one afterwards."""
    if "job_status" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no job_status events")
    judged = 0
    for story in _stories(run):
        for recording in story.streams:
            judged += _in_log(run, recording, stream_log(recording, run.profile))
        for recording in story.views:
            judged += _in_log(run, recording, listed(recording))
            judged += _fits_its_events(run, recording)
        by_place: dict[str, list[Recording]] = {}
        for recording in story.views:
            by_place.setdefault(recording.request.url.partition("?")[0], []).append(recording)
        for place in by_place.values():
            judged += _over_time(place)
    return Found(judged, "states compared")


def _in_log(run: Run, recording: Recording, seen: Sequence[Seen]) -> int:
    """The states that a log goes through; events sorted by id, so that order is left to REPLAY."""
    moves = [
        (_status(event.data), event)
        for event in _ordered(seen, run.profile)
        if event.type == "job_status" and _status(event.data) in RANKS
    ]
    for (before, _), (after, event) in pairwise(moves):
        if _is_back(before, after):
            raise Broken(
                f"{recording.label}: job_status {after!r} (event {event.id!r}) follows {before!r}",
                exhibit(recording, event, "back to an earlier state"),
                what="states compared",
            )
    return len(moves)


def _is_back(before: str, after: str) -> bool:
    if RANKS[before] == ENDED:
        return before != after
    return RANKS[after] < RANKS[before]


def _fits_its_events(run: Run, recording: Recording) -> int:
    """A snapshot's status against the events that the same snapshot lists."""
    body, status, events = recording.json, _view_status(recording), listed(recording)
    is_snapshot = "has_more" not in body and "done" not in body
    complete = not events or str(body.get("cursor")) == events[-1].id
    if not is_snapshot or status not in RANKS or "events" not in body or not complete:
        return 0
    shown = {_status(e.data) for e in events if e.type == "job_status"}
    ended = has_terminal(events, run.profile)
    ended_status = ended or any(RANKS.get(each) == ENDED for each in shown)
    fault = ""
    if status == "queued" and events:
        fault = f"says queued and lists {len(events)} events"
    elif RANKS[status] == ENDED and not ended_status:
        fault = f"says {status} and lists no end among its {len(events)} events"
    elif RANKS[status] < ENDED and ended:
        fault = f"says {status} and lists the terminal event"
    if fault:
        raise Broken(f"{recording.label}: the snapshot {fault}", recording, what="states compared")
    return 1


def _over_time(views: Sequence[Recording]) -> int:
    """One view, asked again and again: each answer against those that it followed."""
    told = [r for r in views if _view_status(r) in RANKS]
    finished = sorted(told, key=lambda r: r.ended_at)
    best: Recording | None = None
    position = 0
    for recording in sorted(told, key=lambda r: r.sent_at):
        while position < len(finished) and finished[position].ended_at <= recording.sent_at:
            earlier = finished[position]
            if best is None or RANKS[_view_status(earlier)] >= RANKS[_view_status(best)]:
                best = earlier
            position += 1
        if best is not None and _is_back(_view_status(best), _view_status(recording)):
            raise Broken(
                f"{recording.label} says {_view_status(recording)!r}, though {best.label} had said "
                f"{_view_status(best)!r} {recording.sent_at - best.ended_at:.2f} s before",
                recording,
                best,
                what="states compared",
            )
    return len(told)


# -- LIFE-04, LIFE-05 -----------------------------------------------------------------------------


@check("LIFE-04", "endings")
def test_a_failing_job_says_why_and_ends(run: Run) -> Found:
    """If a job fails, then an error event with a code and without internals precedes its end."""
    if "error" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no error events")
    if not run.shaped:
        return _natural_failures(run)
    bundle = run.bundle("endings")
    judged, missing = 0, []
    for name, asked in (("failed", None), ("crashed", 30)):
        best = _best_log(run, bundle, name)
        if best is None:
            missing.append(f"the {name} job was not seen")
            continue
        recording, log = best
        status = _final_status(log, run.profile)
        if status == "completed" and (asked is None or len(log) >= asked):
            missing.append(f"the job that was asked to be {name} completed")
            continue
        _require_said(run, recording, log, name)
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "failed jobs", "; ".join(missing))


def _best_log(run: Run, bundle: Bundle, name: str) -> tuple[Recording, list[Seen]] | None:
    """The view that shows most of a job: an end before anything, then the number of events."""
    found = []
    for recording in bundle.all(name):
        if recording.request.method != "GET" or _cursor(recording, run.profile):
            continue
        seen = stream_log(recording, run.profile) if recording.is_stream else listed(recording)
        if seen:
            log = _ordered(seen, run.profile)
            found.append((has_terminal(log, run.profile), len(log), recording, log))
    if not found:
        return None
    _, _, recording, log = max(found, key=lambda each: (each[0], each[1], each[2].is_stream))
    return recording, log


def _require_said(run: Run, recording: Recording, log: Sequence[Seen], name: str) -> None:
    what = {"count": 1, "what": "failed jobs"}
    ends = _terminals(log, run.profile)
    errors = [n for n, event in enumerate(log) if event.type == "error"]
    if not ends:
        said = "an error event but no end" if errors else "neither an error event nor an end"
        raise Broken(
            f"the {name} job has {said}: {recording.label} shows {len(log)} events within "
            f"{_lasted(recording)} and no terminal event",
            exhibit(recording, log[-1], "the last event"),
            **what,  # type: ignore[arg-type]
        )
    if not errors or errors[0] > ends[0]:
        raise Broken(
            f"the {name} job ended as {_final_status(log, run.profile)!r} without an error event "
            "before its end",
            exhibit(recording, log[ends[0]], "the end"),
            **what,  # type: ignore[arg-type]
        )
    for event in (log[n] for n in errors):
        data = event.data if isinstance(event.data, dict) else {}
        code = data.get("code")
        if not isinstance(code, str) or not CODE.fullmatch(code):
            fault = f"has no machine-readable code: {code!r}"
        elif leak := _leak(data):
            fault = f"shows {leak[0]}: {leak[1]!r}"
        else:
            continue
        raise Broken(
            f"the error event {event.id!r} of the {name} job {fault}",
            exhibit(recording, event, "the error event"),
            **what,  # type: ignore[arg-type]
        )


def _leak(data: dict[str, Any]) -> tuple[str, str] | None:
    """What of a program's inside an error's texts show; its code is a name and may be any."""
    for member, value in data.items():
        if member == "code" or not isinstance(value, str):
            continue
        for pattern, name in INTERNALS:
            if hit := pattern.search(value):
                return name, hit[0][:80]
    return None


def _natural_failures(run: Run) -> Found:
    judged = 0
    for story in _stories(run):
        for recording, log in _logs(run, story)[:1]:
            if _final_status(log, run.profile) == "failed":
                _require_said(run, recording, log, "target's own")
                judged += 1
    if not judged:
        raise Unable("none of the target's own jobs failed, and jobs cannot be made to fail")
    return Found(judged, "failed jobs")


@check("LIFE-05", "live", "endings", "quiet", "gaps", "starts")
def test_no_clean_end_without_the_terminal_event(run: Run) -> Found:
    """If a running job's stream ends cleanly, then `done` or the recycle mark was its last word."""
    judged, longest = 0, 0.0
    for story in _stories(run):
        end = _ended_at(run, story)
        known = _first_seen(run, story)
        for recording in story.streams:
            cursor = _cursor(recording, run.profile)
            opened = recording.sent_at
            if end is not None and opened >= end:
                continue  # what a finished job's stream has to hold is judged by REPLAY and LATE
            if cursor and known.get(cursor, opened + 1.0) > opened:
                continue  # an odd cursor, ahead of the log or foreign
            seen = stream_log(recording, run.profile)
            lasted = recording.ended_at - opened
            longest, judged = max(longest, lasted), judged + 1
            if (
                recording.ended_cleanly
                and not has_terminal(seen, run.profile)
                and not _is_recycled(recording, run.profile)
            ):
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


def _first_seen(run: Run, story: Story) -> dict[str, float]:
    """When each of a job's ids was first seen anywhere."""
    known: dict[str, float] = {}
    for recording in (*story.streams, *story.views):
        is_stream = recording.is_stream
        for event in stream_log(recording, run.profile) if is_stream else listed(recording):
            known[event.id] = min(event.at, known.get(event.id, event.at))
    return known


def _is_recycled(recording: Recording, profile: Profile) -> bool:
    """Whether the declared comment stands behind the last field line (padding may surround it)."""
    mark = profile.events.recycle.encode()
    for block in reversed(recording.blocks):
        for line in reversed(block.lines):
            if not line.is_comment:
                return False
            if mark and line.raw[1:].strip() == mark:
                return True
    return False


# -- LIFE-06 --------------------------------------------------------------------------------------


@check("LIFE-06", "endings", part="cancel")
def test_a_cancel_reaches_every_reader(run: Run) -> Found:
    """If a job is cancelled, then every reader sees it end in time, and again changes nothing."""
    cancel = run.need("endings", "cancelled cancel")
    if not cancel.answered:
        raise Unable(f"the cancel was not answered: {outcome(cancel)}")
    _require_accepted(cancel)
    bundle = run.bundle("endings")
    reached, slowest = 0, 0.0
    for number in range(3):
        took = _reached(run, bundle, number, cancel)
        if took is not None:
            reached, slowest = reached + 1, max(slowest, took)
    if not reached:
        raise Unable(bundle.unable or "no reader watched the job when it was cancelled")
    _require_idempotent(run, bundle)
    notes = [f"the slowest of {reached} readers saw the end {slowest:.2f} s after the cancel"]
    if note := _unbegun(run, bundle):
        notes.append(note)
    return Found(reached, "readers of cancelled jobs", "; ".join(notes), shown=cancel)


def _require_accepted(answer: Recording) -> None:
    if answer.status is None or not 200 <= answer.status < 300:
        raise Broken(f"{answer.label}: {outcome(answer)} instead of 2xx", answer)


def _reached(run: Run, bundle: Bundle, number: int, cancel: Recording) -> float | None:
    """How long after the cancel a reader saw the end; None where there was no such reader."""
    reader = bundle.get(f"cancelled reader {number}")
    if reader is None or not reader.is_stream or cancel.head_at is None:
        return None
    resumed = bundle.get(f"cancelled resumed {number}")
    within_s = run.profile.declared.cancel_s
    for recording in (reader, *([resumed] if resumed is not None else [])):
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        where = _terminals(seen, run.profile)
        if not where:
            continue
        event = seen[where[0]]
        if event.at < cancel.sent_at:
            raise Unable("the job had ended before it was cancelled")
        since = max(cancel.head_at, recording.sent_at)
        status = _final_status(seen, run.profile)
        if status and not status.startswith("cancel"):
            if not run.shaped and status == _view_status(cancel):
                raise Unable("the target's own job ended by itself as it was cancelled")
            raise Broken(
                f"{recording.label}: the cancelled job ended as {status!r}, not as 'canceled'",
                exhibit(recording, event, "the end"),
            )
        if event.at - since > within_s + _margin(run):
            raise Broken(
                f"{recording.label}: the end came {event.at - since:.1f} s after the cancel; "
                f"declared are {within_s:g} s",
                exhibit(recording, event, "the end"),
            )
        return max(0.0, event.at - since)
    waited = reader.ended_at - cancel.head_at
    if resumed is None and waited < within_s:
        return None
    raise Broken(
        f"{reader.label} has not seen the job end, {max(waited, 0.0):.1f} s after the cancel was "
        f"answered with {cancel.status}"
        + (f", and coming back as {resumed.label!r} it has not either" if resumed else ""),
        reader,
        resumed,
        cancel,
    )


def _require_idempotent(run: Run, bundle: Bundle) -> None:
    repeats = [
        r
        for label in ("cancelled cancel again", "cancelled cancel after the end")
        if (r := bundle.get(label)) is not None and r.answered
    ]
    for again in repeats:
        _require_accepted(again)
        status = _view_status(again)
        if status and not status.startswith("cancel"):
            raise Broken(f"{again.label}: answers the status {status!r}, not 'canceled'", again)
    before, after = bundle.get("cancelled snapshot"), bundle.get("cancelled snapshot later")
    if before is None or after is None or before.status != 200 or after.status != 200:
        return
    was, now = listed(before), listed(after)
    if [event.id for event in was] != [event.id for event in now]:
        raise Broken(
            f"cancelling again changed the log: {len(was)} events before, {len(now)} after it",
            after,
            before,
        )
    if _view_status(before) != _view_status(after):
        raise Broken(
            f"cancelling again changed the status from {_view_status(before)!r} to "
            f"{_view_status(after)!r}",
            after,
            before,
        )


def _unbegun(run: Run, bundle: Bundle) -> str:
    """A job cancelled before its first event has a whole log; returns what was not seen."""
    cancel = bundle.get("unbegun cancel")
    if cancel is None or not cancel.answered:
        return "a cancel before the first event was not judged (no job waits for a subscriber)"
    _require_accepted(cancel)
    best = _best_log(run, bundle, "unbegun")
    if best is None or not has_terminal(best[1], run.profile):
        replay = bundle.get("unbegun replay")
        raise Broken(
            "a job that was cancelled before it began has no end: neither its stream nor its "
            f"snapshot shows a terminal event ({outcome(replay) if replay else 'no replay'})",
            replay,
            cancel,
        )
    recording, log = best
    status = _final_status(log, run.profile)
    if not status.startswith("cancel"):
        raise Broken(
            f"a job that was cancelled before it began ended as {status!r}",
            exhibit(recording, log[-1]),
        )
    first = log[0]
    if "job_status" in run.profile.events.names and (
        first.type != "job_status" or _status(first.data) != "started"
    ):
        raise Broken(
            "the log of a job that was cancelled before it began starts with "
            f"{first.type} {_status(first.data)!r}, not with job_status 'started'",
            exhibit(recording, first, "the first event"),
        )
    return ""


# -- LIFE-07, LIFE-08 -----------------------------------------------------------------------------


@check("LIFE-07", "log", "endings")
def test_a_terminal_cursor_gets_the_declared_answer(run: Run) -> Found:
    """If a reader comes back with the terminal event's id, then it is told at once to stop."""
    declared = run.profile.declared.terminal_resume_status
    ends = {story.job: _last_ids(run, story) for story in _stories(run)}
    opened = [
        r
        for name in ("log", "endings")
        if name in run.evidence.bundles
        for r in run.bundle(name).recordings
        if r.request.method == "GET"
        and r.request.header("Accept") == "text/event-stream"
        and r.end is not End.REFUSED
        and r.info.get("after") in ends.get(str(r.info.get("job")), ())
    ]
    heads = [r.head_at - r.sent_at for r in run.bundle("log").all("replay 1") if r.head_at]
    usual = median(heads) if heads else 0.0
    limit = run.profile.declared.first_byte_s + AT_ONCE_S + usual + _margin(run)
    for number, recording in enumerate(opened):
        fault = _resume_fault(run, recording, declared, limit)
        if fault:
            raise Broken(
                f"{recording.label} (Last-Event-ID {recording.info['after']}, the terminal event): "
                f"{fault}; declared is {declared}",
                recording,
                count=number,
                what="reconnects after the end",
            )
    if not opened:
        raise Unable(run.bundle("log").unable or "no terminal event with an id was seen to resume")
    return Found(len(opened), "reconnects after the end", shown=opened[0])


def _last_ids(run: Run, story: Story) -> set[str]:
    """The id of a job's last event, where that is the terminal one."""
    last = [log[-1] for _, log in _logs(run, story)]
    return {event.id for event in last if event.type in run.profile.events.terminal and event.id}


def _resume_fault(run: Run, recording: Recording, declared: int, limit: float) -> str:
    if recording.is_stream:
        seen = stream_log(recording, run.profile)
        if seen and _ignores_cursors(run):
            raise Unable(
                "resuming after any event gives the whole log again, so the answer to the terminal "
                "cursor tells nothing (see REPLAY-04)"
            )
        if seen:
            return f"{len(seen)} events were sent again"
        if not recording.ended_cleanly:
            return f"a stream was opened and stayed silent for {_lasted(recording)}"
        if declared != 200:
            return "an empty stream was opened and ended, so that a browser reconnects for ever"
        return "" if recording.ended_at - recording.sent_at <= limit else "it did not end at once"
    if not recording.answered:
        return outcome(recording)
    if recording.status != declared:
        return f"answered with {outcome(recording)}"
    head_after = (recording.head_at or recording.ended_at) - recording.sent_at
    return f"answered only after {head_after:.1f} s" if head_after > limit else ""


def _ignores_cursors(run: Run) -> bool:
    """Whether resuming from the middle of the finished log gives all of it as well."""
    bundle = run.bundle("log")
    replay = bundle.get("replay 1")
    whole = stream_log(replay, run.profile) if replay is not None and replay.is_stream else ()
    resumed = [r for r in bundle.all("suffix") if r.is_stream]
    sample = resumed[len(resumed) // 4 :: max(1, len(resumed) // 3)][:3]
    return bool(whole and sample) and all(
        (seen := stream_log(r, run.profile)) and seen[0].id == whole[0].id for r in sample
    )


@check("LIFE-08", "inputs", "log")
def test_204_and_304_have_no_body(run: Run) -> Found:
    """If an answer's status is 204 or 304, then no byte follows its head and none is announced."""
    judged = []
    for label in ("bare terminal", "bare 304"):
        recording = run.bundle("inputs").get(label)
        if recording is None or recording.status not in (204, 304):
            continue
        judged.append(f"{recording.status} ({label})")
        if recording.surplus:
            raise Broken(
                f"{label}: {len(recording.surplus)} bytes follow the head of the "
                f"{recording.status}: {recording.surplus[:60]!r}; on a kept connection they are "
                "taken for the next answer",
                recording,
                count=len(judged),
                what="answers without body",
            )
    for recording in run.recordings():
        if recording.status != 204:
            continue
        announced = [
            f"{name}: {value}"
            for name, value in recording.headers
            if (name.lower() == "content-length" and value.strip() != "0")
            or name.lower() == "transfer-encoding"
        ]
        if announced:
            raise Broken(
                f"{recording.label}: a 204 that announces a body ({announced[0]})",
                recording,
                count=len(judged),
                what="answers without body",
            )
    if not judged:
        bundle = run.bundle("inputs")
        raise Unable(bundle.unable or "no answer had the status 204 or 304")
    return Found(len(judged), "answers without body", f"read to the last byte: {', '.join(judged)}")


# -- LIFE-09, LIFE-10 -----------------------------------------------------------------------------


@check("LIFE-09", "endings")
def test_a_job_goes_on_without_readers(run: Run) -> Found:
    """If nobody reads a job, or its only reader leaves, then it goes on to its end."""
    if not run.shaped:
        raise Unable("needs a job that is known to last for a while after its reader has left")
    bundle = run.bundle("endings")
    judged, missing = 0, []
    for name in ("unread", "left"):
        replay = bundle.get(f"{name} replay")
        if replay is None or not replay.is_stream:
            missing.append(f"{name}: no replay was had")
            continue
        _require_went_on(run, bundle, name, replay)
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "jobs without a reader", "; ".join(missing))


def _require_went_on(run: Run, bundle: Bundle, name: str, replay: Recording) -> None:
    snapshot, reader = bundle.get(f"{name} snapshot"), bundle.get(f"{name} reader")
    shown = listed(snapshot) if snapshot is not None else ()
    seen = stream_log(replay, run.profile)
    status = _final_status(_ordered((*shown, *seen), run.profile), run.profile)
    alone = "without ever having had a reader" if reader is None else "after its reader had left"
    if status.startswith("cancel") or status == "failed":
        raise Broken(
            f"the job {name!r} ended as {status!r} {alone}: nobody had asked for that",
            exhibit(replay, seen[-1] if seen else None, "the end"),
            reader,
        )
    base = len(stream_log(reader, run.profile)) if reader is not None else 0
    # What a replay shows at once was there before it was opened.
    opened_at = replay.reads[0].at if replay.reads else replay.sent_at
    early = sum(event.at <= opened_at + 0.3 for event in seen)
    had = max(len(shown), early)
    ended = has_terminal(shown, run.profile) or (
        has_terminal(seen, run.profile) and early == len(seen)
    )
    if not ended and had < base + 3:
        since = reader.ended_at if reader is not None else _started(bundle, name)
        waited = replay.sent_at - since
        raise Broken(
            f"the job {name!r} stood still {alone}: {base} events before, {had} events "
            f"{waited:.1f} s later, although it emits one each 0.1 s",
            replay,
            snapshot,
        )


def _started(bundle: Bundle, name: str) -> float:
    start = bundle.get(f"{name} start")
    return start.ended_at if start is not None else 0.0


@check("LIFE-10", "starts", part="idempotency")
def test_a_repeated_start_is_the_same_start(run: Run) -> Found:
    """If a start is repeated under its key, then it is one job; another body under it is 422."""
    bundle = run.bundle("starts")
    first = run.need("starts", "key first")
    if not _accepted(first):
        raise Unable(f"the start with a key was not accepted: {outcome(first)}")
    compared = 0
    twins = [r for r in bundle.all("twin") if r.answered]
    groups = [(first, [bundle.get("key again"), bundle.get("key same body reordered")])]
    if twins:
        groups.append((next(filter(_accepted, twins), twins[0]), [*twins]))
    for model, repeats in groups:
        for repeat in repeats:
            if repeat is None or repeat is model or not repeat.answered:
                continue
            if fault := _unlike(model, repeat):
                raise Broken(
                    f"{repeat.label}: {fault}",
                    repeat,
                    model,
                    count=compared,
                    what="repeated starts",
                )
            compared += 1
    other = bundle.get("key other body")
    if other is not None and other.answered:
        if other.status != 422:
            raise Broken(
                f"the same key with another body was answered with {outcome(other)} instead of 422",
                other,
                first,
                count=compared,
                what="repeated starts",
            )
        compared += 1
    note = "" if twins else "simultaneous repeats were not tried, as jobs cannot be shaped"
    return Found(compared, "repeated starts", note, shown=bundle.get("key again"))


def _accepted(answer: Recording) -> bool:
    body = answer.json
    is_success = answer.status is not None and 200 <= answer.status < 300
    return is_success and isinstance(body, dict) and body.get("job_id") is not None


def _unlike(first: Recording, repeat: Recording) -> str:
    """How a repeat's answer differs from the first one, "" where it does not."""
    if not _accepted(repeat):
        return f"the repeat was answered with {outcome(repeat)}"
    if first.json["job_id"] != repeat.json["job_id"]:
        return f"the repeat made another job: {repeat.json['job_id']}, not {first.json['job_id']}"
    if first.status != repeat.status:
        return f"the repeat was answered with {repeat.status}, the start with {first.status}"
    for member in sorted({*first.json, *repeat.json}):
        was, now = first.json.get(member), repeat.json.get(member)
        if was != now:
            return f"the repeat's answer is another one: {member} is {now!r} instead of {was!r}"
    return ""


# -- LIFE-11, LIFE-12 -----------------------------------------------------------------------------


@check("LIFE-11", *EVERYWHERE)
def test_the_status_frames_the_log(run: Run) -> Found:
    """If a log is finished, then it begins with `started` and all places name the same end."""
    if "job_status" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no job_status events")
    logs = views = 0
    for story in _stories(run):
        faults = [(_frame_fault(run, log), r) for r, log in _logs(run, story)]
        if not faults:
            continue
        # A fault of the log shows on every stream of it; on some streams only, it is a replay's.
        if all(fault for fault, _ in faults):
            fault, recording = faults[-1]
            assert fault is not None
            raise Broken(
                f"{recording.label} ({story.job}): {fault[0]}",
                exhibit(recording, fault[1], "the fault"),
                count=logs,
                what="finished logs",
            )
        logs += 1
        views += _views_agree(run, story, logs)
    return Found(logs, "finished logs", f"compared with {views} answers of the other views")


def _frame_fault(run: Run, log: Sequence[Seen]) -> tuple[str, Seen] | None:
    first, end = log[0], _terminals(log, run.profile)[0]
    begins = run.profile.ids.order != "contiguous" or first.id == str(run.profile.ids.first)
    if begins and (first.type != "job_status" or _status(first.data) != "started"):
        return f"the log begins with {first.type} {_status(first.data)!r}", first
    before, done = log[end - 1], log[end]
    if end == 0 or before.type != "job_status":
        name = before.type if end else "nothing"
        return f"directly before {done.type} stands {name}, not a job_status", done
    told, ended = _status(before.data), _status(done.data)
    if RANKS.get(told) != ENDED:
        return f"the job_status before {done.type} says {told!r}, which is no end", before
    if ended and ended != told:
        return f"job_status says {told!r}, {done.type} says {ended!r}", done
    return None


def _views_agree(run: Run, story: Story, logs: int) -> int:
    """Snapshots and pages from the end on against the log's own last status."""
    end = _ended_at(run, story)
    status = _final_status(_logs(run, story)[-1][1], run.profile)
    compared = 0
    for recording in story.views:
        told = _view_status(recording)
        shows_end = has_terminal(listed(recording), run.profile)
        settled = shows_end or (end is not None and recording.sent_at > end + GRACE_S)
        wrong_end = RANKS.get(told) == ENDED and told != status
        if told in RANKS and (wrong_end or (settled and told != status)):
            raise Broken(
                f"{recording.label} ({story.job}) says {told!r} where the log says {status!r}",
                recording,
                count=logs,
                what="finished logs",
            )
        compared += settled and told in RANKS
    return compared


@check("LIFE-12", *EVERYWHERE)
def test_progress_only_grows(run: Run) -> Found:
    """If a step tells its progress, then it stays in 0..100, never falls, and reaches 100."""
    if "step_progress" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no step_progress events")
    judged = 0
    for story in _stories(run):
        for recording, log in _logs(run, story)[:1]:
            reached: dict[str, float] = {}
            for event, step, pct in _progress(log):
                if not 0 <= pct <= 100:
                    fault = f"is at {pct:g} %"
                elif pct < reached.get(step, 0.0):
                    fault = f"falls from {reached[step]:g} % to {pct:g} %"
                else:
                    reached[step], judged = pct, judged + 1
                    continue
                raise Broken(
                    f"{recording.label} ({story.job}): step {step!r} {fault}",
                    exhibit(recording, event, "the progress"),
                    count=judged,
                    what="progress events",
                )
            short = [(step, pct) for step, pct in reached.items() if pct < 100]
            if short and _final_status(log, run.profile) == "completed":
                step, pct = short[0]
                raise Broken(
                    f"{recording.label} ({story.job}): the job completed, but its step {step!r} "
                    f"never came beyond {pct:g} %",
                    recording,
                    count=judged,
                    what="progress events",
                )
    return Found(judged, "progress events")


def _progress(log: Sequence[Seen]) -> Iterator[tuple[Seen, str, float]]:
    for event in log:
        if event.type != "step_progress" or not isinstance(event.data, dict):
            continue
        pct = event.data.get("pct")
        if isinstance(pct, int | float) and not isinstance(pct, bool):
            yield event, str(event.data.get("step", "")), pct


# -- LIFE-13 --------------------------------------------------------------------------------------


@check("LIFE-13", "waiting", part="wait_for_subscriber")
def test_a_job_waits_for_its_subscriber(run: Run) -> Found:
    """If a job waits for a subscriber, then only a first stream, or time, lets it begin."""
    bundle = run.bundle("waiting")
    held = begun = 0
    for recording in bundle.all("snapshot"):
        if not isinstance(recording.json, dict) or recording.status != 200:
            continue
        held += 1
        if shown := listed(recording):
            raise Broken(
                f"{recording.label}: {len(shown)} events were emitted before any stream was opened",
                recording,
                count=held,
                what="looks at waiting jobs",
            )
    for number in range(len(bundle.all("opened"))):
        begun += _got_the_first(run, bundle, number)
    note = _self_start(run, bundle)
    if not held and not begun:
        raise Unable(bundle.unable or "no job that waits for a subscriber was seen")
    return Found(held + begun, "looks at waiting jobs", note)


def _got_the_first(run: Run, bundle: Bundle, number: int) -> int:
    """Whether the first stream of a job showed its first event; 0 where that can't be told."""
    opened, replay = bundle.get(f"opened {number}"), bundle.get(f"replay {number}")
    if opened is None or replay is None or not (opened.is_stream and replay.is_stream):
        return 0
    log = _ordered(stream_log(replay, run.profile), run.profile)
    if not log or not _whole(replay, run.profile) or _is_recycled(opened, run.profile):
        return 0
    if log[0].id not in {event.id for event in stream_log(opened, run.profile)}:
        raise Broken(
            f"the stream that {opened.label!r} began with did not get the job's first event "
            f"({log[0].type} {log[0].id!r}), which a replay shows",
            opened,
            exhibit(replay, log[0], "the first event"),
        )
    return 1


def _self_start(run: Run, bundle: Bundle) -> str:
    """The job that nobody opens: nothing before the declared time, everything soon after it."""
    wait_s = run.profile.declared.subscriber_wait_s
    start = bundle.get("start unopened")
    looks = [r for r in bundle.all("unopened") if r.status == 200 and isinstance(r.json, dict)]
    if start is None or not looks:
        return "a start without any stream was not judged: the job was not watched"
    began = next((r for r in looks if listed(r)), None)
    if began is not None:
        # The job cannot be older than the moment in which it was asked for.
        age = began.ended_at - start.sent_at
        if age < wait_s - MARGIN_S:
            raise Broken(
                f"the job began by itself at most {age:.1f} s after its start, without a stream; "
                f"declared are {wait_s:g} s",
                began,
                start,
            )
        return f"without a stream the job had begun by itself {age:.1f} s after its start"
    waited = looks[-1].sent_at - start.ended_at
    if waited < wait_s + SELF_START_MARGIN_S - _margin(run):
        return f"a start without any stream was not judged: it was watched for {waited:.0f} s only"
    raise Broken(
        f"without a stream the job had not begun {waited:.1f} s after its start; declared are "
        f"{wait_s:g} s",
        looks[-1],
        start,
    )
