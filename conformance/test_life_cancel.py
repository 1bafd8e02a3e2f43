"""LIFE: a cancelled job ends, soon, for every reader, and cancelling again changes nothing.

Whoever cancels wants the work to stop and all who watch it to know. A job that was cancelled before
it began is the case that is most easily forgotten.
"""

from __future__ import annotations

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording, outcome
from streamgauge.verdict import Broken, Found, Unable

from .reading import exhibit, has_terminal, listed, stream_log, succeeded
from .states import final_status, told_status, view_status
from .stories import clock_margin_s, fullest_view, terminal_places


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
    if not succeeded(answer):
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
        where = terminal_places(seen, run.profile)
        if not where:
            continue
        event = seen[where[0]]
        if event.at < cancel.sent_at:
            raise Unable("the job had ended before it was cancelled")
        since = max(cancel.head_at, recording.sent_at)
        status = final_status(seen, run.profile)
        if status and not status.startswith("cancel"):
            if not run.shaped and status == view_status(cancel):
                raise Unable("the target's own job ended by itself as it was cancelled")
            raise Broken(
                f"{recording.label}: the cancelled job ended as {status!r}, not as 'canceled'",
                exhibit(recording, event, "the end"),
            )
        if event.at - since > within_s + clock_margin_s(run):
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
        status = view_status(again)
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
    if view_status(before) != view_status(after):
        raise Broken(
            f"cancelling again changed the status from {view_status(before)!r} to "
            f"{view_status(after)!r}",
            after,
            before,
        )


def _unbegun(run: Run, bundle: Bundle) -> str:
    """A job cancelled before its first event has a whole log; returns what was not seen."""
    cancel = bundle.get("unbegun cancel")
    if cancel is None or not cancel.answered:
        return "a cancel before the first event was not judged (no job waits for a subscriber)"
    _require_accepted(cancel)
    best = fullest_view(run, bundle, "unbegun")
    if best is None or not has_terminal(best[1], run.profile):
        replay = bundle.get("unbegun replay")
        raise Broken(
            "a job that was cancelled before it began has no end: neither its stream nor its "
            f"snapshot shows a terminal event ({outcome(replay) if replay else 'no replay'})",
            replay,
            cancel,
        )
    recording, log = best
    status = final_status(log, run.profile)
    if not status.startswith("cancel"):
        raise Broken(
            f"a job that was cancelled before it began ended as {status!r}",
            exhibit(recording, log[-1]),
        )
    first = log[0]
    if "job_status" in run.profile.events.names and (
        first.type != "job_status" or told_status(first.data) != "started"
    ):
        raise Broken(
            "the log of a job that was cancelled before it began starts with "
            f"{first.type} {told_status(first.data)!r}, not with job_status 'started'",
            exhibit(recording, first, "the first event"),
        )
    return ""
