"""LATE: readers side by side see one sequence, and one that leaves disturbs nobody.

Where events are handed from one queue to whoever asks first, each reader gets a part of the log;
where a job is tied to one connection, it dies with that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.verdict import Broken, Found, Unable

from .finals import FinalLog, ended_at, final_log, from_start, job_of, own_streams, scenario_log
from .reading import (
    Seen,
    exhibit,
    first_sights,
    has_terminal,
    ids_of,
    last_event,
    recycled,
    stream_log,
)

SETTLED_S = 1.0
"""By then every reader that opened with the job has gone from replay to live."""
DISTURBED_S = 2.0
"""What happens to a reader so soon after another has left is put down to that."""
JUST_BEFORE_S = 0.5
"""An end may be seen here a little before the leaving that brought it about."""


@check("LATE-02", "live")
def test_readers_side_by_side_see_one_sequence(run: Run) -> Found:
    """If several readers watch a job, then what they hold are prefixes of one sequence."""
    bundle = run.bundle("live")
    job = str(bundle.facts.get("job"))
    names = ("reader", "natural", "shaped")
    readers = [
        recording
        for recording in own_streams(run, job)
        if recording.label.split()[0] in names and from_start(run, recording)
    ]
    if len(readers) < 2:
        raise Unable(bundle.unable or "no two readers watched one job at the same time")
    steady = max(r.head_at or r.sent_at for r in readers) + SETTLED_S
    sights = first_sights(readers, run.profile)
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
    wrong, right = (one, other) if _is_slice(ids_of(other[1]), known) and known else (other, one)
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
                exhibit(
                    reader,
                    last_event(reader, run.profile),
                    "the last event of the reader that stayed",
                ),
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


def _disturbed(run: Run, reader: Recording, log: FinalLog, moments: Sequence[float]) -> str:
    """How a reader that stayed was harmed when another had left, "" where it was not.

    Raises:
        Unable: it was harmed, but not just then.
    """
    seen = stream_log(reader, run.profile)
    if seen and has_terminal(seen, run.profile):
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
    near = [
        stopped - moment for moment in moments if -JUST_BEFORE_S <= stopped - moment < DISTURBED_S
    ]
    if reader.ended_cleanly and recycled(reader, run.profile):
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
