"""LATE: who joins late gets the log from its first event, be the job running or over.

A second tab, a colleague with the link or a page that was reloaded all come late. What they miss,
they never learn of.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.verdict import Broken, Found, Unable

from .finals import FinalLog, ended_at, from_start, job_of, known_log, own_streams, unanswered
from .reading import (
    Seen,
    exhibit,
    first_sights,
    has_gap,
    has_terminal,
    ids_of,
    last_event,
    stream_log,
    streams,
)

LIVE_AFTER_S = 0.5
"""What arrives so much later than the head is no longer the replay."""
OPEN_MARGIN_S = 0.5
STALLED_S = 5.0
"""A finished job's replay that brings no byte for so long is not slow: it hangs."""
DEAD_AFTER_S = 5.0


class Joined(Enum):
    """What a late joiner got beside the beginning of the log."""

    LIVE = auto()
    NOTHING_LIVE = auto()
    """Its connection was over before anything that was emitted meanwhile had come."""
    NOTHING_HAPPENED = auto()


@check("LATE-01", "live")
def test_a_late_joiner_gets_the_whole_log(run: Run) -> Found:
    """If a reader joins a running job, then it gets the log from its first event, and goes on."""
    bundle = run.bundle("live")
    job = str(bundle.facts.get("job"))
    over, log = ended_at(run, job), known_log(run, job)
    everything = [r for r in run.recordings() if job_of(r) == job and r.status == 200]
    if log is None:
        raise Unable(bundle.unable or "no stream showed any event of the running job")
    judged, behind = 0, []
    dead: list[Recording] = []
    for joiner in bundle.all("joiner"):
        if over is not None and joiner.sent_at >= over:
            continue
        others = first_sights((r for r in everything if r is not joiner), run.profile)
        known = sum(others.get(i, float("inf")) < joiner.sent_at for i in log.ids)
        fault = unanswered(joiner)
        if not joiner.answered and not fault:
            continue
        judged += 1
        if fault := fault or _beginning_fault(run, joiner, log, known):
            raise Broken(
                f"{joiner.label} joined when the job had emitted {known} events: {fault}",
                exhibit(joiner, None, "the late joiner"),
                log.recording,
                count=judged,
                what="late joiners",
            )
        behind.append(known)
        if _went_on(run, joiner, log, others) is Joined.NOTHING_LIVE:
            dead.append(joiner)
            if joiner.end in (End.TIMEOUT, End.LEFT):
                raise _dead(run, dead, judged)
    if dead and len(dead) == judged:
        raise _dead(run, dead, judged)
    if not judged:
        raise Unable(bundle.unable or "nobody joined while the job was running")
    return Found(
        judged, "late joiners", f"they joined when {', '.join(map(str, behind))} events had passed"
    )


def _beginning_fault(run: Run, joiner: Recording, log: FinalLog, known: int) -> str:
    """What is wrong with the part of the log that was there when the reader joined."""
    if not joiner.is_stream:
        return f"status {joiner.status} ({joiner.media_type or 'no type'}) instead of a stream"
    got, due = ids_of(stream_log(joiner, run.profile)), log.ids[:known]
    if has_gap(joiner, run.profile):
        due = [i for i in due if i in got]  # older history is gone, and the stream says so
    if not due or got[:1] == due[:1]:
        missing = next((i for i in due if i not in got), None)
        if missing is None:
            return ""
        last = log.place(got[-1]) if got else None
        if last is not None and due.index(missing) > last:
            return ""  # it ended before it came to that: judged as not live
        return f"event {missing!r}, which others had seen before, never reached it"
    if not got and joiner.end not in (End.TIMEOUT, End.LEFT):
        return f"the stream ended ({joiner.end.value}) without any event of the log"
    return f"its first event is {got[0]!r} instead of {due[0]!r}" if got else "it got no event"


def _went_on(run: Run, joiner: Recording, log: FinalLog, others: dict[str, float]) -> Joined:
    """Whether anything that was emitted after the joiner had come reached it on this connection."""
    seen = stream_log(joiner, run.profile)
    head = joiner.head_at or joiner.sent_at
    if has_terminal(seen, run.profile):
        return Joined.LIVE
    if any(e.at > head + LIVE_AFTER_S and others.get(e.id, e.at) > head for e in seen):
        return Joined.LIVE
    place = log.place(seen[-1].id) if seen else None
    rest = log.ids[place + 1 :] if place is not None else log.ids
    if joiner.end in (End.TIMEOUT, End.LEFT):
        missed = [
            i for i in rest if others.get(i, joiner.ended_at) < joiner.ended_at - DEAD_AFTER_S
        ]
        return Joined.NOTHING_LIVE if missed else Joined.NOTHING_HAPPENED
    return Joined.NOTHING_LIVE if rest else Joined.NOTHING_HAPPENED


def _dead(run: Run, dead: Sequence[Recording], judged: int) -> Broken:
    """The target is never live: a joiner gets what is there, and nothing that comes."""
    joiner = dead[-1]
    seen = stream_log(joiner, run.profile)
    last = repr(seen[-1].id) if seen else "none"
    how = "was still open" if joiner.end in (End.TIMEOUT, End.LEFT) else "was ended by the target"
    stayed = joiner.ended_at - (joiner.head_at or joiner.sent_at)
    return Broken(
        f"{len(dead)} of {judged} late joiners got nothing on their connection that was emitted "
        f"after they had joined: {joiner.label} got {len(seen)} events (the last is {last}), and "
        f"its stream {how} after {stayed:.2f} s while the job went on",
        exhibit(joiner, seen[-1] if seen else None, "the last event of the joiner"),
        *dead[:-1],
        count=judged,
        what="late joiners",
    )


@check("LATE-04", "log", "live", "texts", "quiet", "inputs")
def test_joining_a_finished_job(run: Run) -> Found:
    """If a reader joins after the terminal event, then it gets the whole log, and then the end."""
    judged, slowest = 0, 0.0
    for recording in run.recordings():
        if not _joined_afterwards(run, recording):
            continue
        judged += 1
        if fault := _afterwards_fault(run, recording):
            raise Broken(
                f"{recording.label}, opened after the job had ended: {fault}",
                exhibit(
                    recording, last_event(recording, run.profile) if recording.is_stream else None
                ),
                count=judged,
                what="joins of finished jobs",
            )
        terminal = last_event(recording, run.profile)
        assert terminal is not None
        slowest = max(slowest, recording.ended_at - terminal.at)
    if not judged:
        raise Unable(run.bundle("log").unable or "nobody joined a job that was known to have ended")
    return Found(
        judged, "joins of finished jobs", f"closed {slowest:.2f} s after the terminal event at most"
    )


def _joined_afterwards(run: Run, recording: Recording) -> bool:
    words = recording.label.split()
    if "replay" not in words or recording.request.method != "GET":
        return False
    if not from_start(run, recording) or not (recording.answered or unanswered(recording)):
        return False
    if recording.request.header("Last-Event-ID") is not None:
        return False  # an empty one is REPLAY-05's matter
    over = ended_at(run, job_of(recording))
    return over is not None and recording.sent_at > over


def _afterwards_fault(run: Run, recording: Recording) -> str:
    if not recording.is_stream:
        said = unanswered(recording) or f"status {recording.status}"
        return f"{said} instead of the log"
    seen, close_s = stream_log(recording, run.profile), run.profile.declared.close_s
    witness = _witness(run, recording)
    if not seen or not has_terminal(seen, run.profile):
        return _unfinished(recording, seen)
    if witness is not None and not has_gap(recording, run.profile):
        shown = set(ids_of(seen))
        if witness[0].id not in shown:
            return f"its first event is {seen[0].id!r} instead of {witness[0].id!r}"
        if missing := [i for i in ids_of(witness) if i and i not in shown]:
            raise Unable(f"{recording.label} lacks event {missing[0]!r} (see REPLAY-03)")
    open_s = recording.ended_at - seen[-1].at
    if open_s <= close_s + OPEN_MARGIN_S:
        return ""
    if _live_readers_hang(run):
        raise Unable("streams are not closed after the terminal event at all (see LIFE-02)")
    still = "still open" if recording.end in (End.TIMEOUT, End.LEFT) else "closed only"
    return f"{still} {open_s:.1f} s after its terminal event ({close_s:g} s are declared)"


def _unfinished(recording: Recording, seen: Sequence[Seen]) -> str:
    got = f"{len(seen)} events, the last is {seen[-1].id!r}" if seen else "no event"
    if recording.end not in (End.TIMEOUT, End.LEFT):
        return f"the stream ended ({recording.end.value}) without the terminal event: {got}"
    newest = recording.reads[-1].at if recording.reads else recording.sent_at
    silent_s = recording.ended_at - (seen[-1].at if seen else recording.sent_at)
    if recording.ended_at - newest < STALLED_S and silent_s < STALLED_S:
        raise Unable(f"{recording.label} was still being sent when the time was over: {got}")
    return f"it hangs: {silent_s:.1f} s after its last event no terminal event has come; {got}"


def _witness(run: Run, recording: Recording) -> tuple[Seen, ...] | None:
    """The log as somebody saw it who read it live, from the beginning to the end."""
    for other in own_streams(run, job_of(recording)):
        if other.sent_at < recording.sent_at and "reader" in other.label.split():
            seen = stream_log(other, run.profile) if from_start(run, other) else ()
            if seen and has_terminal(seen, run.profile):
                return seen
    return None


def _live_readers_hang(run: Run) -> bool:
    """Whether readers that had watched the job live were not let go at its end either."""
    close_s = run.profile.declared.close_s
    for reader in streams(run.bundle("live"), "reader"):
        seen = stream_log(reader, run.profile)
        if (
            not has_terminal(seen, run.profile)
            or seen[-1].at < (reader.head_at or 0.0) + LIVE_AFTER_S
        ):
            continue
        if reader.ended_at - seen[-1].at > close_s + OPEN_MARGIN_S:
            return True
    return False
