"""REPLAY: long histories are replayed quickly, and what has been pruned of them is announced.

A log of many events must neither keep its reader waiting nor hold up other jobs' readers; and where
its beginning is gone, the reader has to be told.
"""

from __future__ import annotations

from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording
from streamgauge.results import Exhibit
from streamgauge.timing import percentile
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .clocks import slack_s
from .reading import (
    Seen,
    control,
    control_data,
    events_of,
    exhibit,
    has_gap,
    has_terminal,
    recycled,
    stream_log,
    streams,
)

WITNESS_LATE_S = 1.0


@check("REPLAY-13", "history")
def test_pruned_history_is_announced(run: Run) -> Found:
    """If history has been pruned, then a reader that asks for it is told so."""
    bundle = run.bundle("history")
    emitted = int(bundle.facts.get("emitted", 0))
    judged = 0
    for recording in bundle.all("replay") + bundle.all("early page"):
        seen = events_of(recording, run.profile)
        if not seen:
            continue
        first = run.profile.ids.first if recording.is_stream else run.profile.ids.first + 1
        pruned = seen[0].id.isdigit() and int(seen[0].id) > first
        gaps = recording.status == 410 or (
            has_gap(recording, run.profile)
            if recording.is_stream
            else bool((recording.json or {}).get("gap"))
        )
        if pruned and not gaps:
            raise Broken(
                f"{recording.label}: the log begins at {seen[0].id}, and nothing says that earlier "
                "events are gone",
                exhibit(recording, seen[0], "the first that is left"),
                count=judged,
                what="reads of pruned history",
            )
        if pruned and recording.is_stream:
            _gap_is_true(run, recording, seen[0], judged)
        judged += pruned
    if not judged:
        if not bundle.all("replay"):
            raise Unable(bundle.unable or "no long history was replayed")
        raise Inapplicable(f"the target keeps a log of {emitted:,} events whole")
    return Found(judged, "reads of pruned history")


def _gap_is_true(run: Run, recording: Recording, first: Seen, judged: int) -> None:
    told = control_data(control(recording, run.profile.events.gap)[0])
    if "earliest" in told and str(told["earliest"]) != first.id:
        raise Broken(
            f"the gap signal says that {told['earliest']} is the earliest event kept, and the "
            f"log begins with {first.id}",
            exhibit(recording, first),
            count=judged,
            what="reads of pruned history",
        )


@check("REPLAY-14", "history", "live")
def test_long_replays_are_quick_and_disturb_nobody(run: Run) -> Found:
    """If a long history is replayed, then it is quick, goes over to live, and nobody notices."""
    bundle = run.bundle("history")
    within = run.profile.declared.replay_s
    judged, told = 0, ""
    joined = bundle.get("running join")
    if joined is not None and joined.answered:
        _reaches_live(run, bundle, joined)
        judged += len(stream_log(joined, run.profile))
    quickest = _quickest(run, bundle)
    if quickest is not None:
        judged += (count := _quick(run, quickest, within, judged))
        told = f"{count:,} events in {quickest.ended_at - quickest.sent_at:.2f} s"
    _witness_undisturbed(run, bundle)
    return Found(judged, "events replayed", told, shown=quickest)


def _quickest(run: Run, bundle: Bundle) -> Recording | None:
    """The replay that took least time, of those that reached the end where any did."""
    replays = [r for r in bundle.all("replay") if r.end is not End.LEFT and r.is_stream]
    whole = [r for r in replays if has_terminal(stream_log(r, run.profile), run.profile)]
    return min(whole or replays, key=lambda r: r.ended_at - r.sent_at, default=None)


def _quick(run: Run, recording: Recording, within: float, judged: int) -> int:
    """Events of a long history that came in time; the quickest of several replays is judged."""
    seen = stream_log(recording, run.profile)
    took = recording.ended_at - recording.sent_at
    complete = has_terminal(seen, run.profile)
    if complete and took <= within + slack_s(run):
        return len(seen)
    if complete and _path_is_slow(run, recording, took):
        raise Unable(f"{len(recording.body):,} octets took {took:.1f} s: the path carries no more")
    raise Broken(
        f"replaying {len(seen):,} events took {took:.1f} s"
        + ("" if complete else " and did not reach the end")
        + f"; declared is {within:g} s",
        recording,
        count=judged,
        what="events replayed",
    )


def _reaches_live(run: Run, bundle: Bundle, joined: Recording) -> None:
    seen = stream_log(joined, run.profile)
    reader = bundle.get("running reader")
    log = stream_log(reader, run.profile) if reader is not None else ()
    if has_terminal(seen, run.profile) or not has_terminal(log, run.profile):
        return
    if recycled(joined, run.profile) or joined.end is End.LEFT:
        return
    raise Broken(
        f"a reader that joined with more than 100 events behind it got {len(seen)} events and "
        f"then nothing more ({joined.end.value}), while the job went on",
        exhibit(joined, seen[-1] if seen else None, "the last that came"),
        what="events replayed",
    )


def _path_is_slow(run: Run, recording: Recording, took: float) -> bool:
    """Whether smaller transfers of this run were no quicker, octet for octet."""
    rate = len(recording.body) / max(took, 1e-6)
    others = [
        len(r.body) / max(r.ended_at - (r.head_at or r.sent_at), 1e-6)
        for r in streams(run.bundle("history"), "replay")
        if r is not recording and r.ended_cleanly
    ]
    silent = max(
        (b.at - a.at for a, b in pairwise(recording.reads)),
        default=0.0,
    )
    return silent < took / 10 and all(other < 2 * rate for other in others) and rate < 5_000_000


def _witness_undisturbed(run: Run, bundle: Bundle) -> None:
    witness = bundle.get("witness")
    if witness is None or not witness.is_stream:
        return
    replays = [(r.sent_at, r.ended_at) for r in bundle.all("replay")]
    seen = stream_log(witness, run.profile)
    waits = [
        later.at - earlier.at
        for earlier, later in pairwise(seen)
        if any(began <= earlier.at <= ended for began, ended in replays)
    ]
    worst = percentile(waits, 0.95)
    if worst > WITNESS_LATE_S + slack_s(run):
        raise Broken(
            f"while a long history was replayed, another job's events came {worst:.1f} s apart "
            "(emitted every 0.04 s)",
            Exhibit(witness, "another reader meanwhile"),
            what="events replayed",
        )
