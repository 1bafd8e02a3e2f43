"""LATE: do readers that come late, go early or sit side by side all get one and the same log?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum, auto
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.verdict import Broken, Found, Unable

from .finals import (
    FinalLog,
    ended,
    ended_at,
    final_log,
    from_start,
    job_of,
    known_log,
    scenario_log,
    unanswered,
)
from .reading import Seen, control, exhibit, listed, stream_log, streams

LIVE_AFTER_S = 0.5
"""What arrives so much later than the head is no longer the replay."""
SETTLED_S = 1.0
"""By then every reader that opened with the job has gone from replay to live."""
DISTURBED_S = 2.0
"""What happens to a reader so soon after another has left is put down to that."""
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


def _ids(seen: Iterable[Seen]) -> list[str]:
    return [event.id for event in seen]


def _own_streams(run: Run, job: str) -> list[Recording]:
    """All streams of a job, wherever they were recorded."""
    return [r for r in run.recordings() if r.is_stream and job_of(r) == job]


def _first_sights(run: Run, recordings: Iterable[Recording]) -> dict[str, float]:
    """When each event was first seen, in any of these recordings."""
    sights: dict[str, float] = {}
    for recording in recordings:
        seen = stream_log(recording, run.profile) if recording.is_stream else listed(recording)
        for event in seen:
            sights[event.id] = min(event.at, sights.get(event.id, event.at))
    return sights


def _same_job(run: Run, job: str) -> list[Recording]:
    return [r for r in run.recordings() if job_of(r) == job and r.status == 200]


@check("LATE-01", "live")
def test_a_late_joiner_gets_the_whole_log(run: Run) -> Found:
    """If a reader joins a running job, then it gets the log from its first event, and goes on."""
    bundle = run.bundle("live")
    job = str(bundle.facts.get("job"))
    over, log, everything = ended_at(run, job), known_log(run, job), _same_job(run, job)
    if log is None:
        raise Unable(bundle.unable or "no stream showed any event of the running job")
    judged, behind = 0, []
    dead: list[Recording] = []
    for joiner in bundle.all("joiner"):
        if over is not None and joiner.sent_at >= over:
            continue
        others = _first_sights(run, (r for r in everything if r is not joiner))
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
    got, due = _ids(stream_log(joiner, run.profile)), log.ids[:known]
    if run.profile.events.gap and control(joiner, run.profile.events.gap):
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
    if ended(run, seen):
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


@check("LATE-02", "live")
def test_readers_side_by_side_see_one_sequence(run: Run) -> Found:
    """If several readers watch a job, then what they hold are prefixes of one sequence."""
    bundle = run.bundle("live")
    job = str(bundle.facts.get("job"))
    names = ("reader", "natural", "shaped")
    readers = [
        recording
        for recording in _own_streams(run, job)
        if recording.label.split()[0] in names and from_start(run, recording)
    ]
    if len(readers) < 2:
        raise Unable(bundle.unable or "no two readers watched one job at the same time")
    steady = max(r.head_at or r.sent_at for r in readers) + SETTLED_S
    sights = _first_sights(run, readers)
    held = [
        [e for e in stream_log(r, run.profile) if sights[e.id] > steady or not e.id]
        for r in readers
    ]
    longest = max(range(len(held)), key=lambda n: len(held[n]))
    compared = 0
    for number, own in enumerate(held):
        if number == longest:
            continue
        place = next(
            (n for n, (a, b) in enumerate(zip(own, held[longest], strict=False)) if a.id != b.id),
            None,
        )
        if place is not None:
            raise _parted(
                run, job, (readers[longest], held[longest]), (readers[number], own), place
            )
        compared += len(own)
    if not compared:
        raise Unable("no two readers were connected while events were being emitted")
    return Found(compared, "live events compared between readers", f"{len(readers)} readers")


def _parted(
    run: Run,
    job: str,
    one: tuple[Recording, list[Seen]],
    other: tuple[Recording, list[Seen]],
    place: int,
) -> Broken:
    """Two readers that hold different sequences; the final log tells which of them is wrong."""
    log = final_log(run, job)
    known = log.ids if log is not None else []
    wrong, right = (one, other) if _is_slice(_ids(other[1]), known) and known else (other, one)
    mine, theirs = wrong[1][place], right[1][place]
    return Broken(
        f"{wrong[0].label} received event {mine.id!r} where {right[0].label} received "
        f"{theirs.id!r}, both connected since the job began: they do not follow one sequence",
        exhibit(wrong[0], mine, "where they part"),
        exhibit(right[0], theirs, "the other reader"),
        count=place,
        what="live events compared between readers",
    )


def _is_slice(part: Sequence[str], whole: Sequence[str]) -> bool:
    if not part or part[0] not in whole:
        return False
    begin = list(whole).index(part[0])
    return list(whole[begin : begin + len(part)]) == list(part)


@check("LATE-03", "live")
def test_leaving_disturbs_nobody(run: Run) -> Found:
    """If a reader leaves, then the job and the other readers go on as if nothing had happened."""
    bundle, log = run.bundle("live"), scenario_log(run, "live")
    over = ended_at(run, job_of(log.recording)) or 0.0
    left = [r.ended_at for r in bundle.all("leaver") if r.is_stream and r.end is End.LEFT]
    left = [moment for moment in left if moment < over]
    if not left:
        raise Unable(bundle.unable or "nobody left while the job was running")
    judged = 0
    for reader in bundle.all("reader"):
        if not reader.is_stream or reader.ended_at <= left[0]:
            continue
        moments = [moment for moment in left if moment < reader.ended_at]
        if fault := _disturbed(run, reader, log, moments):
            raise Broken(
                f"{reader.label}: {fault}",
                exhibit(reader, _last(run, reader), "the last event of the reader that stayed"),
                *bundle.all("leaver"),
                count=judged,
                what="readers that stayed",
            )
        judged += 1
    if not judged:
        raise Unable("no reader was still connected when another one left (see LATE-01)")
    told = log.terminal.data.get("status") if isinstance(log.terminal.data, dict) else None
    near = any(0 <= over - moment < DISTURBED_S for moment in left)
    if run.shaped and near and told not in (None, "completed"):
        raise Broken(
            f"the job ended as {told!r} within {DISTURBED_S:.0f} s after a reader had left, "
            "though its script ends as 'completed'",
            exhibit(log.recording, log.terminal, "the end of the job"),
            *bundle.all("leaver"),
            count=judged,
            what="readers that stayed",
        )
    return Found(judged, "readers that stayed", f"while {len(left)} others left")


def _last(run: Run, recording: Recording) -> Seen | None:
    seen = stream_log(recording, run.profile)
    return seen[-1] if seen else None


def _disturbed(run: Run, reader: Recording, log: FinalLog, moments: Sequence[float]) -> str:
    """How a reader that stayed was harmed when another had left, "" where it was not.

    Raises:
        Unable: it was harmed, but not just then.
    """
    seen = stream_log(reader, run.profile)
    if seen and ended(run, seen):
        gap = _hole(seen, log)
        if gap is None:
            return ""
        after, missing = gap
        if any(0 <= after.at - moment < DISTURBED_S for moment in moments):
            return f"event {missing!r} never came, just after another reader had left"
        raise Unable(f"{reader.label} lacks event {missing!r}, but not because another left")
    last_at = seen[-1].at if seen else (reader.head_at or reader.sent_at)
    if reader.end in (End.TIMEOUT, End.LEFT):
        stopped, how = last_at, "stayed open, but nothing more came"
    else:
        stopped, how = reader.ended_at, f"ended ({reader.end.value})"
    recycled = reader.ended_cleanly and any(
        run.profile.events.recycle.encode() in line.raw
        for block in reader.blocks[-2:]
        for line in block.comments
    )
    near = [
        stopped - moment for moment in moments if -OPEN_MARGIN_S <= stopped - moment < DISTURBED_S
    ]
    if recycled:
        return ""
    if near:
        last = repr(seen[-1].id) if seen else "none"
        return (
            f"its stream {how} {max(0.0, near[-1]):.2f} s after another reader had left; its last "
            f"event is {last}, the job went on to {log.terminal.id!r}"
        )
    raise Unable(f"{reader.label} did not see the end of the job (see LIFE-05)")


def _hole(seen: Sequence[Seen], log: FinalLog) -> tuple[Seen, str] | None:
    """The first event of the log that a reader jumped over, and the event that it got instead."""
    places = [(log.place(event.id), event) for event in seen]
    known = [(place, event) for place, event in places if place is not None]
    for (before, _), (after, event) in pairwise(known):
        if after > before + 1:
            return event, log.ids[before + 1]
    return None


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
                exhibit(recording, _last(run, recording) if recording.is_stream else None),
                count=judged,
                what="joins of finished jobs",
            )
        terminal = _last(run, recording)
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
    over = ended_at(run, job_of(recording))
    return over is not None and recording.sent_at > over


def _afterwards_fault(run: Run, recording: Recording) -> str:
    if not recording.is_stream:
        said = unanswered(recording) or f"status {recording.status}"
        return f"{said} instead of the log"
    seen, close_s = stream_log(recording, run.profile), run.profile.declared.close_s
    witness = _witness(run, recording)
    if not seen or not ended(run, seen):
        return _unfinished(recording, seen)
    if witness is not None and not _has_gap(run, recording):
        shown = set(_ids(seen))
        if witness[0].id not in shown:
            return f"its first event is {seen[0].id!r} instead of {witness[0].id!r}"
        if missing := [i for i in _ids(witness) if i and i not in shown]:
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


def _has_gap(run: Run, recording: Recording) -> bool:
    return bool(run.profile.events.gap and control(recording, run.profile.events.gap))


def _witness(run: Run, recording: Recording) -> tuple[Seen, ...] | None:
    """The log as somebody saw it who read it live, from the beginning to the end."""
    for other in _own_streams(run, job_of(recording)):
        if other.sent_at < recording.sent_at and "reader" in other.label.split():
            seen = stream_log(other, run.profile) if from_start(run, other) else ()
            if seen and ended(run, seen):
                return seen
    return None


def _live_readers_hang(run: Run) -> bool:
    """Whether readers that had watched the job live were not let go at its end either."""
    close_s = run.profile.declared.close_s
    for reader in streams(run.bundle("live"), "reader"):
        seen = stream_log(reader, run.profile)
        if not ended(run, seen) or seen[-1].at < (reader.head_at or 0.0) + LIVE_AFTER_S:
            continue
        if reader.ended_at - seen[-1].at > close_s + OPEN_MARGIN_S:
            return True
    return False


@check("LATE-05", "starts")
def test_the_very_first_event_arrives(run: Run) -> Found:
    """If a reader joins the moment a start is answered, then it gets the first event too."""
    bundle = run.bundle("starts")
    judged = 0
    for joined in bundle.all("join"):
        if joined.label.split()[1:2] in (["start"], ["poll"], ["cancel"]):
            continue
        if not joined.answered and not unanswered(joined):
            continue
        number = joined.label.rpartition(" ")[2]
        page = bundle.get(f"join poll {number}")
        kept = _ids(listed(page)) if page is not None else []
        fault = _first_fault(run, joined, kept)
        if fault:
            raise Broken(
                f"{joined.label}, sent {_moment(bundle.get(f'join start {number}'), joined)} the "
                f"start's answer: {fault}",
                exhibit(joined, None, "the reader from the first moment"),
                page,
                count=judged,
                what="joins right after the start",
            )
        judged += bool(joined.is_stream and stream_log(joined, run.profile))
    if not judged:
        raise Unable(bundle.unable or "no stream that was opened right after a start had an event")
    return Found(judged, "joins right after the start")


def _moment(start: Recording | None, joined: Recording) -> str:
    if start is None:
        return "after"
    return f"{(joined.sent_at - start.ended_at) * 1000:.0f} ms after"


def _first_fault(run: Run, joined: Recording, kept: Sequence[str]) -> str:
    """What a reader from the first moment lacks."""
    if not joined.is_stream:
        return unanswered(joined) or f"status {joined.status} instead of a stream"
    got = _ids(stream_log(joined, run.profile))
    first = str(run.profile.ids.first) if run.profile.ids.order == "contiguous" else ""
    due = first or (kept[0] if kept else "")
    if not got:
        if not kept or joined.end not in (End.TIMEOUT, End.LEFT):
            return ""  # it was recycled, or nothing had been emitted: no first event to be missed
        waited = joined.ended_at - joined.sent_at
        return f"no event within {waited:.1f} s, though polling shows {len(kept)} of them"
    if not got[0]:
        raise Unable("the events have no ids to be told apart by (see REPLAY-01)")
    if due and got[0] != due:
        if kept and kept[0] == got[0]:
            raise Unable(
                f"the log itself begins with {got[0]!r} instead of {due!r} (see REPLAY-02)"
            )
        return f"its first event is {got[0]!r}, the log begins with {due!r}"
    missing = [i for i in kept if i not in got]
    if run.shaped and missing and joined.end in (End.TIMEOUT, End.LEFT):
        raise Unable(
            f"{joined.label} lacks event {missing[0]!r}, but not the first (see REPLAY-11)"
        )
    return ""
