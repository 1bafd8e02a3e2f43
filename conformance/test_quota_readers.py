"""QUOTA: neither aborted streams nor a reached limit harm the jobs and readers of a client.

The quota is about starts. Where it is tied to connections, two hundred resets use it up, and a
client at its limit loses what it was watching.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .quotas import all_let_in, declared_runs, end_status, is_refused, refusals_of, require_counted
from .reading import Seen, exhibit, has_terminal, recycled, stream_log, succeeded

RESETS_MIN = 150
"""Of the 200 resets; fewer prove too little."""
LIVE_S = 0.3
"""What came so long after a stream's first bytes was no replay."""
SILENT_S = 5.0
AFTERMATH_S = 1.0
"""A stream that ends so soon after something was done to the quota was ended by it."""
GONE = (End.CUT, End.RESET)


@check("QUOTA-07", "quota")
def test_aborted_streams_change_nothing(run: Run) -> Found:
    """If 200 streams are reset before their first byte, then quota, job and readers live on."""
    runs = declared_runs(run)
    bundle, what = run.bundle("quota"), "streams that were reset"
    resets = int(bundle.facts.get("resets", 0))
    if resets < RESETS_MIN:
        raise Unable(bundle.unable or f"only {resets} streams could be reset, 200 are meant to be")
    require_counted(run, runs)
    why = f"{resets} streams that were reset before their first byte were charged"
    all_let_in(run, "reset", runs, why, what)
    notes = []
    beyond = bundle.get("reset refused")
    if beyond is not None and succeeded(beyond):
        raise Broken(
            f"start {runs + 1} of a client was accepted after {resets} of its streams had been "
            "reset: they have given starts back",
            beyond,
            count=resets,
            what=what,
        )
    if beyond is None or not is_refused(run, beyond):
        notes.append(f"the start beyond the limit was not judged: {beyond and outcome(beyond)}")
    reader, replay = bundle.get("reset reader"), bundle.get("reset replay")
    if reader is None or not reader.is_stream:
        raise Unable(bundle.unable or "no reader watched the job beside the resets")
    began, ended = bundle.facts.get("reset_during", (0.0, 0.0))
    fault = _disturbed(run, bundle, "reset", 0, (began, ended))
    if not fault and _fell_silent(run, reader, replay):
        fault = f"{reader.label!r} got no further event, while a replay shows the job's end"
    if fault:
        raise Broken(f"beside {resets} resets {fault}", reader, replay, count=resets, what=what)
    status = end_status(run, stream_log(replay, run.profile)) if replay is not None else ""
    if status not in ("", "completed", "ended"):
        raise Broken(
            f"the job whose streams were reset ended as {status!r}, not as 'completed'",
            replay,
            count=resets,
            what=what,
        )
    if not status:
        notes.append("how the job ended was not seen")
    return Found(resets, what, "; ".join(notes), shown=reader)


def _disturbed(
    run: Run, bundle: Bundle, name: str, number: int, during: tuple[float, float]
) -> str:
    """What became of a reader that should have gone on to its job's end, "" where it has.

    Only a stream that ends while something was done to the quota is held against it: what ends at
    other times has other reasons (LIFE-05, RT-06).
    """
    reader = bundle.get(f"{name} reader {number}") or bundle.get(f"{name} reader")
    if reader is None or not reader.is_stream:
        return ""
    seen = stream_log(reader, run.profile)
    parts = [reader, *(r for r in bundle.all(f"{name} resumed {number}") if r.is_stream)]
    ends = [end_status(run, stream_log(part, run.profile)) for part in parts]
    status = next(filter(None, ends), "")
    # The suite itself ends a target's own jobs when they have served.
    tidied = bundle.get(f"tidy {reader.info.get('job')}") is not None
    if status in ("canceled", "cancelled", "failed") and not tidied:
        return f"the job of {reader.label!r} ended as {status!r}, which nobody had asked for"
    if has_terminal(seen, run.profile):
        return ""
    if (
        _break_off_anyway(run, bundle)
        or not during[0] <= reader.ended_at <= during[1] + AFTERMATH_S
    ):
        return ""
    if reader.ended_cleanly and not recycled(reader, run.profile):
        return f"{reader.label!r} was ended without the job's end and without the recycle mark"
    if reader.end in GONE:
        return (
            f"{reader.label!r} was broken off ({reader.end.value}) "
            f"{reader.ended_at - reader.sent_at:.1f} s after it was opened, with {len(seen)} events"
        )
    return ""


def _break_off_anyway(run: Run, bundle: Bundle) -> bool:
    """Whether every stream of running jobs ends too early: then it is not the quota's doing."""
    readers = [r for r in bundle.all("running reader") if r.is_stream]
    return bool(readers) and all(
        (reader.ended_cleanly or reader.end in GONE)
        and not has_terminal(stream_log(reader, run.profile), run.profile)
        and not recycled(reader, run.profile)
        for reader in readers
    )


def _fell_silent(run: Run, reader: Recording, replay: Recording | None) -> bool:
    """A stream that had been live shows nothing of an end that a replay shows long before it."""
    seen = stream_log(reader, run.profile)
    was_live = bool(seen) and seen[-1].at > reader.reads[0].at + LIVE_S
    return (
        was_live
        and not has_terminal(seen, run.profile)
        and reader.end in (End.LEFT, End.TIMEOUT)
        and replay is not None
        and replay.sent_at < reader.ended_at
        and has_terminal(stream_log(replay, run.profile), run.profile)
        and reader.ended_at - seen[-1].at > SILENT_S
    )


@check("QUOTA-09", "quota")
def test_running_jobs_survive_the_limit(run: Run) -> Found:
    """If a client reaches its limit, then its running jobs and their streams go on."""
    runs = declared_runs(run)
    bundle, what = run.bundle("quota"), "jobs that ran when the limit was reached"
    refused = [r for r in refusals_of(bundle, "running") if is_refused(run, r)]
    if not refused or refused[0].head_at is None:
        raise Unable(
            bundle.unable or "no client was at its limit while its jobs ran (see QUOTA-01)"
        )
    reached_at, last_refused_at = refused[0].sent_at, refused[-1].ended_at
    judged, open_still = 0, 0
    for number in range(runs):
        reader = bundle.get(f"running reader {number}")
        if reader is None or not reader.is_stream:
            continue
        seen = stream_log(reader, run.profile)
        resumed = [r for r in bundle.all(f"running resumed {number}") if r.is_stream]
        later = [e for r in resumed for e in stream_log(r, run.profile)]
        if _ended_before(run, seen, reached_at):
            continue
        if fault := _disturbed(run, bundle, "running", number, (reached_at, last_refused_at)):
            raise Broken(
                f"after the client had reached its limit {fault}",
                exhibit(reader, seen[-1] if seen else None, "the last event"),
                refused[0],
                count=judged,
                what=what,
            )
        if any(event.at > reached_at for event in (*seen, *later)):
            judged += 1
            continue
        watched = reader.ended_at - reached_at
        if not run.shaped or watched < 5.0 or reader.ended_cleanly:
            open_still += 1
            continue
        raise Broken(
            f"{reader.label!r} showed no event in the {watched:.1f} s after the client had reached "
            f"its limit, although its job emits one each 0.1 s",
            exhibit(reader, seen[-1] if seen else None, "the last event"),
            refused[0],
            count=judged,
            what=what,
        )
    if not judged:
        raise Unable(
            bundle.unable
            or f"no job was seen to emit after the limit was reached ({open_still} were watched)"
        )
    return Found(judged, what, shown=refused[0])


def _ended_before(run: Run, seen: Sequence[Seen], moment: float) -> bool:
    return any(e.type in run.profile.events.terminal and e.at <= moment for e in seen)
