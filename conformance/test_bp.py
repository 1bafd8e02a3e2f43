"""BP: a reader that stalls costs the others nothing, loses nothing, and holds nobody up.

A reader that takes no byte is ordinary: a laptop that sleeps, a tab in the background, a phone in a
tunnel. Every judgement first makes sure that the target's writes really had to wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, End, Recording
from streamgauge.results import Exhibit
from streamgauge.timing import lag, moment, percentile
from streamgauge.verdict import Broken, Found, Unable

from .clocks import clock_offset, require_calm, slack_s
from .comparing import difference
from .reading import Seen, has_gap, has_terminal, ids_of, stream_log, streams
from .scenarios.stalled import SILENT_S

UNSENT_MIN_BYTES = 6 * 1024 * 1024
"""More than the kernels take in by themselves (Linux: 4 MiB to send at most), and a large write."""
BIG_BYTES = 1_000_000
SLOW_SHARE = 0.6
"""A slow reader that was this much quicker than it should have been has proven nothing."""
ALONE_SHARE = 3.0
"""The lag beside a stalled reader has to be so many times that without one to be its doing."""


@dataclass(frozen=True, slots=True)
class Stall:
    """A reader that stood still, and the log that it should have in the end."""

    recording: Recording
    log: tuple[Seen, ...]
    shown: Recording
    """The stream that the log is taken from."""
    resumed: Recording | None
    """How it came back where it was cut."""


def _readers(run: Run) -> Iterator[Stall]:
    """Readers that stalled so that the target had to wait for them, each with its job's log."""
    bundle = run.bundle("stalled")
    for recording in streams(bundle, "stalled", "unread"):
        if "stalled_at" not in recording.info:
            continue  # a replay
        shown = _whole(run, bundle, recording)
        if shown is None:
            continue
        unsent = sum(len(read.data) for read in shown.reads) - int(recording.info.get("before", 0))
        if unsent >= UNSENT_MIN_BYTES:
            resumed = bundle.get(f"resumed {recording.label}")
            yield Stall(recording, stream_log(shown, run.profile), shown, resumed)


def _whole(run: Run, bundle: Bundle, recording: Recording) -> Recording | None:
    """An ordinary reader's stream of the same job, from the first event to the terminal one."""
    for other in streams(bundle):
        ordinary = "stalled_at" not in other.info and not other.info.get("after")
        if (
            ordinary
            and other.info.get("job") == recording.info.get("job")
            and has_terminal(stream_log(other, run.profile), run.profile)
        ):
            return other
    return None


def _no_stall(run: Run) -> Unable:
    """Why no stall could be judged."""
    reason = run.bundle("stalled").unable
    if not reason and not run.shaped:
        reason = "the target's own job is too small: all of it fits into the buffers on the way"
    return Unable(reason or "no reader could be made to stall the target")


@check("BP-01", "stalled")
def test_stalled_readers_delay_nobody(run: Run) -> Found:
    """If one reader of a job stalls, then another reader's events are as timely as declared."""
    require_calm(run)
    bundle = run.bundle("stalled")
    stall = next((s for s in _readers(run) if s.recording.label.startswith("stalled")), None)
    beside = next((r for r in (*bundle.all("beside"), *bundle.all("reader")) if r.is_stream), None)
    if stall is None or beside is None:
        raise _no_stall(run)
    offset = clock_offset(run)
    if offset.contradictory:
        raise Unable("the timestamps contradict causality: they are no moments of emission")
    bound = run.profile.declared.lag_p95_s
    late = _lags(run, stall.log, beside)
    if not late:
        raise Unable("no event with a timestamp was emitted beside a stalled reader")
    zero = run.evidence.wall_at_zero
    lags = [lag(stamp, zero + at, offset) for stamp, at in late]
    least = percentile((each.least for each in lags), 0.95)
    most = percentile((each.most for each in lags), 0.95)
    told = f"p95 lag beside a stalled reader between {max(0.0, least):.2f} and {most:.2f} s"
    if most < bound:
        return Found(len(lags), "events timed", told, shown=beside)
    if least < bound + slack_s(run):
        raise Unable(f"{told}: too near to the declared {bound:g} s to be told apart here")
    alone = _lag_alone(run, bundle)
    if alone * ALONE_SHARE >= least:
        raise Unable(f"{told}, but without a stalled reader it is late, too: {alone:.2f} s")
    missing = len(stall.log) - len(stream_log(beside, run.profile))
    lost = f"; {missing} events never reached it" if missing > 0 else ""
    raise Broken(
        f"{told}; declared is {bound:g} s{lost}",
        Exhibit(beside, "read without pause, beside a reader that took nothing"),
        stall.recording,
        count=len(lags),
        what="events timed",
    )


def _lags(run: Run, log: Sequence[Seen], reader: Recording) -> list[tuple[float, float]]:
    """Stamp and arrival of each event that was emitted while the reader was there.

    What never arrived counts as if it had come when the reader's time was up.
    """
    arrived = {event.id: event.at for event in stream_log(reader, run.profile)}
    return [
        (stamp, arrived.get(event.id, reader.ended_at))
        for event in log
        if (stamp := moment(event.timestamp)) is not None
    ]


def _lag_alone(run: Run, bundle: Bundle) -> float:
    """The p95 lag of the same job without a stalled reader; 0 where nothing called for it."""
    alone = bundle.get("alone")
    if alone is None:
        return 0.0
    log = stream_log(alone, run.profile)
    if not has_terminal(log, run.profile):
        return inf
    offset, zero = clock_offset(run), run.evidence.wall_at_zero
    lags = (lag(stamp, zero + at, offset).most for stamp, at in _lags(run, log, alone))
    return percentile(lags, 0.95)


@check("BP-03", "stalled")
def test_stalled_readers_are_dealt_with(run: Run) -> Found:
    """If a reader takes nothing for the declared time, then it is dropped, or caught up later."""
    bundle = run.bundle("stalled")
    held_s = float(bundle.facts.get("held_s", 0.0))
    full = bool(bundle.facts.get("full"))
    declared = run.profile.declared
    judged = 0
    outcome = ""
    for stall in _readers(run):
        recording = stall.recording
        if recording.end is End.LEFT:
            continue  # cut by the suite itself
        kept = has_terminal(stream_log(recording, run.profile), run.profile)
        if not kept and recording.end is End.TIMEOUT:
            last = max(recording.reads[-1].at if recording.reads else 0.0, _read_on_at(recording))
            stalled_s = _read_on_at(recording) - recording.info["stalled_at"]
            if recording.ended_at - last < SILENT_S + stalled_s:
                continue  # slow, or TCP itself was still pausing
            require_calm(run)
            raise Broken(
                "a reader that had stalled was neither dropped nor caught up: when it read on, "
                "neither the rest of the log came nor an end",
                Exhibit(recording, "open and silent after a stall"),
                count=judged,
                what="stalled readers",
            )
        outcome = "caught up" if kept else "dropped"
        if full and recording.label.startswith("unread"):
            _as_declared(run, recording, kept=kept, held_s=held_s, count=judged)
        judged += 1
    if not judged:
        raise _no_stall(run)
    told = f"{outcome} after a stall of {held_s:.0f} s"
    if not full:
        promise = declared.stalled_reader.replace("_", " ")
        told += f"; whether it is {promise} after {declared.stalled_reader_s:g} s only with --long"
    return Found(judged, "stalled readers", told)


def _read_on_at(recording: Recording) -> float:
    return float(recording.info.get("read_on_at", recording.sent_at))


def _as_declared(run: Run, recording: Recording, *, kept: bool, held_s: float, count: int) -> None:
    declared = run.profile.declared
    if kept and declared.stalled_reader == "dropped":
        raise Broken(
            f"a reader that took no byte for {held_s:.1f} s was still there and got the whole log; "
            f"declared is that it is dropped after {declared.stalled_reader_s:g} s",
            Exhibit(recording, "kept although it had stalled"),
            count=count,
            what="stalled readers",
        )
    if not kept and declared.stalled_reader == "caught_up":
        raise Broken(
            f"a reader that took no byte for {held_s:.1f} s was dropped ({recording.end.value}); "
            "declared is that it is kept and caught up",
            Exhibit(recording, "dropped after its stall"),
            count=count,
            what="stalled readers",
        )


@check("BP-04", "stalled")
def test_the_log_is_exact_after_a_stall(run: Run) -> Found:
    """If a reader stalls, then what it gets in the end, after a resume too, is the whole log."""
    judged = events = 0
    for stall in _readers(run):
        own = stream_log(stall.recording, run.profile)
        later = stream_log(stall.resumed, run.profile) if stall.resumed is not None else ()
        got = (*own, *later)
        exhibits = (Exhibit(stall.recording, "stalled"), stall.resumed, stall.shown)
        if any(has_gap(r, run.profile) for r in (stall.recording, stall.resumed) if r is not None):
            _in_order(stall, got, events)
        elif has_terminal(got, run.profile):
            said, _ = difference(stall.log, got)
            if said:
                after = f", resumed after {own[-1].id!r}" if stall.resumed and own else ""
                raise Broken(
                    f"{stall.recording.label} ({len(own)} events before its end{after}): {said}",
                    *exhibits,
                    count=events,
                    what="events compared",
                )
        elif stall.resumed is not None:
            raise Broken(
                f"{stall.recording.label} resumed after its stall and never got the rest: "
                f"{len(got)} of {len(stall.log)} events ({stall.resumed.end.value})",
                *exhibits,
                count=events,
                what="events compared",
            )
        else:
            continue  # it hung: judged by BP-03
        judged += 1
        events += len(got)
    if not judged:
        raise _no_stall(run)
    return Found(events, "events compared", f"{judged} readers that had stalled")


def _in_order(stall: Stall, got: Sequence[Seen], count: int) -> None:
    """Where the target says that history is gone, what is left still has to be in order."""
    places = {event.id: place for place, event in enumerate(stall.log)}
    known = [places[i] for i in ids_of(got) if i in places]
    if known != sorted(set(known)):
        raise Broken(
            f"{stall.recording.label}: events came twice or out of order after a stall",
            stall.recording,
            stall.resumed,
            count=count,
            what="events compared",
        )


@check("BP-05", "stalled", "slow")
def test_jobs_do_not_wait_for_readers(run: Run) -> Found:
    """If all readers of a job stall, then it finishes; and a slow reader gets a large event."""
    bundle = run.bundle("stalled")
    unread = [s for s in _readers(run) if s.recording.label.startswith("unread")]
    if bundle.facts.get("over while unread") is False:
        _not_over(run, bundle)
    if not unread:
        raise _no_stall(run)
    slow = run.need("slow", "slow reader")
    whole = next(reversed(run.bundle("slow").all("replay")), None)
    if whole is None:
        raise Unable(run.bundle("slow").unable or "the finished job was not replayed")
    log = stream_log(whole, run.profile)
    big = max((len(event.text.encode()) for event in log), default=0)
    if not slow.is_stream or big < BIG_BYTES or not has_terminal(log, run.profile):
        raise Unable(f"no event of 1 MiB could be had: the largest has {big:,} octets")
    rate = float(slow.info.get("bytes_per_s", 0.0))
    got = stream_log(slow, run.profile)
    size = sum(len(read.data) for read in slow.reads)
    took_s = slow.ended_at - slow.sent_at
    if not has_terminal(got, run.profile):
        _not_intact(run, slow, size, took_s, len(unread))
    elif took_s < SLOW_SHARE * size / rate:
        raise Unable(f"the slow reader got {size:,} octets in {took_s:.1f} s: that is not slow")
    said, shown = difference(log, got)
    if said:
        raise Broken(
            f"read at {rate / 1024:.0f} KiB/s: {said}",
            Exhibit(slow, "", shown.span if shown else None),
            whole,
            count=len(unread),
            what="readers without haste",
        )
    told = f"an event of {big:,} octets was intact after {took_s:.0f} s at {rate / 1024:.0f} KiB/s"
    return Found(len(unread) + 1, "readers without haste", told, shown=slow)


def _not_over(run: Run, bundle: Bundle) -> None:
    """Judge a job that did not end while none of its readers read."""
    moved = "when they read on, it ended" if bundle.facts.get("over once read") else "nor later"
    stalled = [r for r in streams(bundle, "unread") if "stalled_at" in r.info]
    if not stalled:
        raise _no_stall(run)
    # That it ended later proves nothing: a target that is only slow ends later, too.
    if bundle.facts.get("stood still"):
        require_calm(run)
        raise Broken(
            f"a job did not end while all of its readers stalled ({moved})",
            *(Exhibit(r, "a reader that took nothing") for r in stalled),
            what="readers without haste",
        )
    raise Unable("the job was not over in time, but it went on: the target is too slow for this")


def _not_intact(run: Run, slow: Recording, size: int, took_s: float, count: int) -> None:
    """Judge a slow reader that did not get the whole log."""
    last = slow.reads[-1].at if slow.reads else slow.sent_at
    if slow.end in (End.LEFT, End.TIMEOUT):
        require_calm(run)  # it was the suite that stopped waiting
    if slow.end is End.LEFT and slow.ended_at - last < SILENT_S:
        raise Unable(f"only {size:,} octets came in {took_s:.0f} s, and they still came")
    how = "stopped" if slow.end is End.LEFT else f"was cut ({slow.end.value})"
    raise Broken(
        f"a reader at 64 KiB/s {how} after {size:,} octets and {last - slow.sent_at:.1f} s, before "
        "it had the whole log",
        Exhibit(slow, "read at 64 KiB/s"),
        count=count,
        what="readers without haste",
    )
