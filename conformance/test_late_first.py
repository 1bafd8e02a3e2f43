"""LATE: the very first event reaches who joins the moment a start is answered.

A job may begin to emit before its first reader has come, and what is only pushed is then lost. The
race is a matter of milliseconds, so it is run many times.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.verdict import Broken, Found, Unable

from .finals import unanswered
from .reading import exhibit, ids_of, listed, stream_log


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
        kept = ids_of(listed(page)) if page is not None else []
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
        if joined.status == 200:
            raise Unable(f"the stream is answered as {joined.media_type or 'nothing'} (see HDR-01)")
        return unanswered(joined) or f"status {joined.status} instead of a stream"
    got = ids_of(stream_log(joined, run.profile))
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
