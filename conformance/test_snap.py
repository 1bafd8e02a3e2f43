"""SNAP: is a snapshot whole, there at once, consistent with the log, and final in the end?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .comparing import difference
from .finals import FinalLog, by_job, ended_at, final_log, unanswered
from .reading import Seen, body_of, cursor_of, exhibit, has_terminal, listed
from .states import FINAL, RANKS

EVERYWHERE = ("live", "log", "starts", "quiet", "texts")
SETTLED_S = 1.0
"""A snapshot asked for so long after the terminal event was seen has to show the end."""


def snapshots(run: Run, *scenarios: str) -> list[Recording]:
    """All plain requests for snapshots, in the order in which they were sent."""
    found = []
    for name in scenarios:
        for recording in run.bundle(name).recordings if name in run.evidence.bundles else ():
            is_snapshot = "snapshot" in recording.label.split()
            if is_snapshot and recording.request.header("If-None-Match") is None:
                found.append(recording)
    return sorted(found, key=lambda recording: recording.sent_at)


def _logs(run: Run, recordings: list[Recording]) -> Iterator[tuple[Recording, FinalLog]]:
    """Each snapshot that has events or a cursor, with the final log of its job."""
    for job, own in by_job(recordings).items():
        log = final_log(run, job)
        if log is None:
            continue
        for recording in own:
            if body_of(recording):
                yield recording, log


@check("SNAP-01", *EVERYWHERE)
def test_a_snapshot_is_complete_and_there_at_once(run: Run) -> Found:
    """If a start was answered, then its snapshot is there at once with all its members."""
    at_once = snapshots(run, "starts")
    if not at_once:
        raise Unable(run.bundle("starts").unable or "no snapshot was asked for right after a start")
    looked = 0
    for recording in snapshots(run, *EVERYWHERE):
        fault = unanswered(recording)
        if not recording.answered and not fault:
            continue
        looked += 1
        if fault := fault or _shape_fault(recording):
            when = "right after the start's answer" if recording in at_once else "of a known job"
            raise Broken(
                f"the snapshot {when} ({recording.label}): {fault}",
                recording,
                count=looked,
                what="snapshots looked at",
            )
    return Found(looked, "snapshots looked at", f"{len(at_once)} of them right after a start")


def _shape_fault(recording: Recording) -> str:
    if recording.status != 200:
        return f"status {recording.status} instead of 200"
    body = recording.json
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    missing = [name for name in ("job_id", "status", "cursor", "events") if name not in body]
    if missing:
        return f"the member {missing[0]!r} is missing; there are {', '.join(map(repr, body))}"
    job = str(recording.info.get("job", ""))
    if str(body["job_id"]) != job:
        return f"job_id is {body['job_id']!r} instead of {job!r}"
    if not isinstance(body["status"], str) or not body["status"]:
        return f"status is {body['status']!r}, not the name of a state"
    events = body["events"]
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        return "events is not a list of objects"
    for event in events:
        if lacking := [name for name in ("id", "type") if name not in event]:
            return f"an event has no {lacking[0]!r}: {json.dumps(event)[:120]}"
    cursor = body["cursor"]
    if isinstance(cursor, bool) or not isinstance(cursor, int | str):
        return f"cursor is {cursor!r}, neither a number nor a string"
    if events and type(cursor) is not type(events[-1]["id"]):
        return f"cursor is {cursor!r}, the ids of its events are like {events[-1]['id']!r}"
    return ""


@check("SNAP-02", *EVERYWHERE)
def test_the_cursor_is_an_id_of_the_log(run: Run) -> Found:
    """If a snapshot names a cursor, then it is an event id, which every view takes as a cursor."""
    judged = 0
    for recording, log in _logs(run, snapshots(run, *EVERYWHERE)):
        if "cursor" not in body_of(recording):
            continue
        judged += 1
        if fault := _cursor_fault(run, recording, log):
            raise Broken(
                f"{recording.label}: {fault}",
                recording,
                log.recording,
                count=judged,
                what="cursors looked up in the log",
            )
    if not judged:
        raise Unable("no snapshot with a cursor was taken of a job whose whole log is known")
    return Found(judged, "cursors looked up in the log")


def _cursor_fault(run: Run, recording: Recording, log: FinalLog) -> str:
    cursor, shown = cursor_of(recording), listed(recording)
    if not cursor or log.predates(cursor):
        return ""
    if log.place(cursor) is None:
        first, last = log.events[0].id, log.terminal.id
        return (
            f"the cursor {cursor!r} is no event id of this job, whose log runs from {first!r} to "
            f"{last!r}: no other view can go on from it"
        )
    if shown and has_terminal(shown, run.profile) and cursor != shown[-1].id:
        return (
            f"the cursor is {cursor!r} though the last event of the ended job is {shown[-1].id!r}"
        )
    return ""


@check("SNAP-03", *EVERYWHERE)
def test_snapshot_and_what_follows_are_the_log(run: Run) -> Found:
    """If a snapshot stands at cursor c, then its events are exactly the log up to c."""
    taken = snapshots(run, *EVERYWHERE)
    compared = running = events = 0
    for recording, log in _logs(run, taken):
        body = body_of(recording)
        if "cursor" not in body or not isinstance(body.get("events"), list):
            continue
        if _cursor_fault(run, recording, log):
            raise Unable(f"{recording.label}: its cursor is not an id of the log (see SNAP-02)")
        fault, place = _fold_fault(run, recording, log)
        if fault:
            raise Broken(
                f"{recording.label}, at cursor {cursor_of(recording) or 0!r}: {fault}",
                exhibit(recording, None, "the snapshot"),
                exhibit(log.recording, place, "the log"),
                count=compared,
                what="snapshots compared with the log",
            )
        compared += 1
        events += len(listed(recording))
        running += not has_terminal(listed(recording), run.profile)
    if not events:
        raise Unable("no snapshot with events was taken of a job whose whole log is known")
    return Found(
        compared, "snapshots compared with the log", f"{running} of them while the job was running"
    )


def _fold_fault(run: Run, recording: Recording, log: FinalLog) -> tuple[str, Seen | None]:
    cursor, shown = cursor_of(recording), listed(recording)
    place = log.place(cursor) if cursor else None
    expected = log.events[: place + 1] if place is not None else ()
    if cursor and place is None:  # pruned since
        return "", None
    if log.pruned:
        kept = [n for n, event in enumerate(shown) if log.place(event.id) is not None]
        shown = shown[kept[0] :] if kept else ()
    earliest = body_of(recording).get("earliest")
    if shown and str(earliest) == shown[0].id and (begin := log.place(shown[0].id)):
        expected = expected[begin:]
    fault, at = difference(expected, shown)
    if fault:
        held = f"{len(shown)} events, {len(expected)} stand in the log up to there"
        return f"{fault} (the snapshot holds {held})", _in_log(log, at)
    status = body_of(recording).get("status")
    if status in FINAL and not has_terminal(shown, run.profile) and not _told(shown, str(status)):
        last = repr(shown[-1].id) if shown else "none"
        return (
            f"the status is {status!r}, but its events (the last is {last}) do not tell of that: "
            "status and events were not read together"
        ), log.terminal
    return "", None


def _in_log(log: FinalLog, shown: Seen | None) -> Seen | None:
    place = log.place(shown.id) if shown is not None else None
    return log.events[place] if place is not None else None


def _told(shown: tuple[Seen, ...], status: str) -> bool:
    return any(isinstance(e.data, dict) and e.data.get("status") == status for e in shown)


@check("SNAP-04", *EVERYWHERE)
def test_snapshots_never_go_back(run: Run) -> Found:
    """If a snapshot is asked for after an earlier one has come, then it is not behind that one."""
    pairs = 0
    for job, own in by_job(snapshots(run, *EVERYWHERE)).items():
        log = final_log(run, job)
        judged = [recording for recording in own if "cursor" in body_of(recording)]
        for later in judged:
            for earlier in judged:
                if earlier.ended_at > later.sent_at:
                    continue
                pairs += 1
                if fault := _step_back(earlier, later, log):
                    raise Broken(
                        f"{later.label} was asked for {later.sent_at - earlier.ended_at:.2f} s "
                        f"after {earlier.label} had come, and {fault}",
                        later,
                        earlier,
                        count=pairs,
                        what="pairs of successive snapshots",
                    )
    if not pairs:
        raise Unable("no two snapshots of one job were taken one after the other")
    return Found(pairs, "pairs of successive snapshots")


def _step_back(earlier: Recording, later: Recording, log: FinalLog | None) -> str:
    heads = [_head(recording, log) for recording in (earlier, later)]
    if None not in heads and heads[0] > heads[1]:  # type: ignore[operator]
        return f"its cursor went back from {cursor_of(earlier)!r} to {cursor_of(later) or 0!r}"
    states = [str(body_of(recording).get("status")) for recording in (earlier, later)]
    ranks = [RANKS.get(state) for state in states]
    if None not in ranks and ranks[0] > ranks[1]:  # type: ignore[operator]
        return f"its status went back from {states[0]!r} to {states[1]!r}"
    return ""


def _head(recording: Recording, log: FinalLog | None) -> int | None:
    """How far a snapshot reaches, as a number that can be compared within its job."""
    cursor = cursor_of(recording)
    if not cursor:
        return -1
    if cursor.isdigit():
        return int(cursor)
    return log.place(cursor) if log is not None else None


@check("SNAP-05", *EVERYWHERE)
def test_a_snapshot_shows_only_what_the_log_keeps(run: Run) -> Found:
    """If a snapshot showed an event, then the final log has it."""
    shown = 0
    for recording, log in _logs(run, snapshots(run, *EVERYWHERE)):
        known = set(log.ids)
        for event in listed(recording):
            shown += 1
            if event.id in known or log.predates(event.id):
                continue
            raise Broken(
                f"{recording.label} showed event {event.id!r} ({event.type}), which the final log "
                f"({log.events[0].id!r} to {log.terminal.id!r}) does not have",
                recording,
                log.recording,
                count=shown,
                what="shown events looked up in the log",
            )
    if not shown:
        raise Unable("no snapshot with events was taken of a job whose whole log is known")
    return Found(shown, "shown events looked up in the log")


@check("SNAP-06", *EVERYWHERE)
def test_the_final_snapshot_is_final(run: Run) -> Found:
    """If a job has ended, then its snapshot says so, stays as it is, and its ETag answers 304."""
    taken = snapshots(run, *EVERYWHERE)
    judged = 0
    for job, own in by_job(taken).items():
        over = ended_at(run, job)
        log = final_log(run, job)
        if over is None or log is None:
            continue
        final: Recording | None = None
        for recording in own:
            late = recording.sent_at > over + SETTLED_S
            if not body_of(recording) or not (late or has_terminal(listed(recording), run.profile)):
                continue
            judged += 1
            fault = _final_fault(recording, log)
            if not fault and final is not None:
                fault = _change(final, recording)
            if fault:
                raise Broken(
                    f"{recording.label}, {recording.sent_at - over:.1f} s after the terminal event "
                    f"was first seen: {fault}",
                    recording,
                    exhibit(log.recording, log.terminal, "the terminal event"),
                    final,
                    count=judged,
                    what="snapshots of ended jobs",
                )
            final = recording
    if not judged:
        raise Unable("no snapshot of an ended job was taken")
    return Found(judged, "snapshots of ended jobs", _validators(run, judged))


def _final_fault(recording: Recording, log: FinalLog) -> str:
    data, status = log.terminal.data, body_of(recording).get("status")
    told = data.get("status") if isinstance(data, dict) else None
    if told is not None and status != told:
        return f"its status is {status!r}, the terminal event {log.terminal.id!r} says {told!r}"
    if told is None and isinstance(status, str) and RANKS.get(status, 3) < 3:
        return f"its status is {status!r} though the job has ended"
    return ""


def _change(earlier: Recording, later: Recording) -> str:
    one, other = body_of(earlier), body_of(later)
    changed = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if not changed:
        return ""
    name = changed[0]
    was, now = (json.dumps(body.get(name))[:80] for body in (one, other))
    return (
        f"{name} has changed since {earlier.label} (which showed the end too): {was} became {now}"
    )


def _validators(run: Run, judged: int) -> str:
    """The half about validators; what it found in words."""
    try:
        run.require_part("validators")
    except Inapplicable as reason:
        return f"judged without validators: {reason}"
    asked = run.bundle("log").get("snapshot 304")
    if asked is None or not asked.answered:
        return "judged without validators: no conditional request could be made"
    if asked.status != 304:
        raise Broken(
            f"If-None-Match with the snapshot's own ETag {asked.request.header('If-None-Match')!r} "
            f"was answered {asked.status} instead of 304, though the job had ended",
            asked,
            run.bundle("log").get("snapshot 1"),
            count=judged,
            what="snapshots of ended jobs",
            promised=run.profile.capabilities.validators is True,
        )
    return "its ETag answers 304"
