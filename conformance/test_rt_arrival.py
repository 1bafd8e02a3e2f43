"""RT: head, first byte and each event are here when they were sent, not with the next one.

A stream that is buffered anywhere on its way still delivers everything, only late. That is what
users see as a page that stands still and then jumps.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording
from streamgauge.results import Exhibit
from streamgauge.timing import Offset, lag, moment, percentile
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .clocks import LIVE, clock_offset, require_calm, slack_s
from .comparing import suffix
from .reading import Seen, exhibit, has_terminal, stream_log, streams

SURE_SHARE = 0.05
GAP_MIN_S = 0.8
BURST_EVENTS = 8
BURST_AFTER_S = 3.0
BURST_WITHIN_S = 0.2


@check("RT-01", "gaps", "quiet", "live")
def test_head_and_first_byte_come_at_once(run: Run) -> Found:
    """If a job has nothing to say, then a stream's head and first byte come all the same."""
    if not run.profile.events.opening and run.profile.capabilities.shape is False:
        # A job that may have nothing to say, and no opening that it would say: nothing is due.
        raise Inapplicable(run.profile.says("events.opening"))
    require_calm(run)
    within = run.profile.declared.first_byte_s
    waits: list[float] = []
    late = 0.0
    whole = [("live", "reader 0")] if run.profile.api.start_streams else []
    for name, label in (("gaps", "reader"), ("quiet", "tail"), ("live", "tail"), *whole):
        bundle = run.evidence.bundles.get(name)
        for recording in bundle.all(label) if bundle else ():
            first = recording.reads[0].at if recording.reads else None
            if recording.status not in (None, 200):
                continue
            if first is None and recording.end in (End.LEFT, End.REFUSED):
                continue
            waited = (first if first is not None else recording.ended_at) - recording.sent_at
            if within < waited <= within + slack_s(run):
                late = max(late, waited)
            elif waited > within:
                head = recording.head_at
                told = f"head after {head - recording.sent_at:.1f} s, " if head else "no head, "
                raise Broken(
                    f"{told}first byte after {waited:.1f} s on a stream with nothing to send yet; "
                    f"declared is {within:g} s",
                    Exhibit(recording),
                    count=len(waits),
                    what="openings timed",
                )
            waits.append(waited)
    if late:
        raise Unable(
            f"a first byte came {late:.1f} s after it was asked for, and this machine was too busy "
            "to tell why"
        )
    unbegun = bool(run.evidence.bundles.get("gaps") and run.bundle("gaps").facts.get("head_start"))
    note = "" if unbegun else "; on jobs that had emitted before: none could be had that had not"
    slowest = max(waits, default=0.0)
    return Found(len(waits), "openings timed", f"slowest {slowest * 1000:.0f} ms{note}")


@check("RT-02", *LIVE, "endings", "starts")
def test_events_arrive_within_the_declared_lag(run: Run) -> Found:
    """If an event is emitted, then it is here within the declared time (95th percentile)."""
    require_calm(run)
    bound = run.profile.declared.lag_p95_s
    offset = clock_offset(run)
    zero = run.evidence.wall_at_zero
    lags = []
    worst: tuple[float, Recording, Seen] | None = None
    for recording, event, stamp in _live_events(run, offset):
        late = lag(stamp, zero + event.at, offset)
        lags.append(late)
        if worst is None or late.least > worst[0]:
            worst = late.least, recording, event
    if not lags and (burst := _one_burst(run)):
        raise burst
    if not lags or worst is None:
        raise Unable("no timestamped event arrived on a stream that was open when it was emitted")
    if offset.contradictory:
        raise Unable(
            "the timestamps contradict causality: they are no moments of emission, or the clocks "
            f"ran apart (by {-offset.width_s:.2f} s)"
        )
    least = percentile((each.least for each in lags), 0.95)
    most = percentile((each.most for each in lags), 0.95)
    told = f"p95 lag between {max(0.0, least) * 1000:.0f} and {most * 1000:.0f} ms"
    if bound <= least < bound + slack_s(run):
        raise Unable(f"{told}: this machine was too busy to tell whose delay that is")
    if least >= bound:
        raise Broken(
            f"{told}: declared is {bound:g} s (worst: {worst[2].type} {worst[2].id} at least "
            f"{worst[0]:.2f} s)",
            exhibit(worst[1], worst[2], "the latest event"),
            count=len(lags),
            what="events timed",
        )
    if most >= bound:
        raise Unable(
            f"{told}: the clock offset is only known within {offset.width_s:.2f} s "
            f"(bounded by: {offset.high_from})"
        )
    return Found(len(lags), "events timed", told, shown=worst[1])


def _live_events(run: Run, offset: Offset) -> Iterator[tuple[Recording, Seen, float]]:
    """Events that were emitted while their stream was open, with recording and timestamp."""
    zero = run.evidence.wall_at_zero
    for name in LIVE:
        bundle = run.evidence.bundles.get(name)
        for recording in streams(bundle, "reader") if bundle is not None else ():
            for event in stream_log(recording, run.profile):
                stamp = moment(event.timestamp)
                # What was emitted before the stream was asked for is replay, however quick.
                if stamp is not None and stamp - offset.low >= zero + recording.sent_at:
                    yield recording, event, stamp


def _one_burst(run: Run) -> Broken | None:
    """Without timestamps one thing still shows: a whole job that comes at once, at its end."""
    bundle = run.evidence.bundles.get("live")
    for recording in streams(bundle, "reader 0") if bundle else ():
        events = stream_log(recording, run.profile)
        if len(events) < BURST_EVENTS or any(moment(e.timestamp) is not None for e in events):
            continue
        waited = events[0].at - recording.sent_at
        took = events[-1].at - events[0].at
        whole = has_terminal(events, run.profile) or recording.ended_cleanly
        if whole and waited > BURST_AFTER_S and took < BURST_WITHIN_S and not slack_s(run) > 1.0:
            return Broken(
                f"all {len(events)} events of the job came within {took * 1000:.0f} ms, "
                f"{waited:.1f} s after its stream was opened: they were held back until its end",
                exhibit(recording, events[0], "the first of them"),
                what="jobs looked at",
            )
    return None


@check("RT-03", "opening", "waiting")
def test_an_event_right_after_the_opening_is_delivered(run: Run) -> Found:
    """If an event is emitted the instant after a stream has opened, then that stream shows it."""
    judged = 0
    for name, prefix in (("opening", "late"), ("waiting", "opened")):
        bundle = run.evidence.bundles.get(name)
        for recording in bundle.all(prefix) if bundle else ():
            if not recording.is_stream or not recording.reads:
                continue  # a stream that never opened is judged by RT-01
            seen = stream_log(recording, run.profile)
            replay = bundle.get(recording.label.replace(prefix, "replay", 1)) if bundle else None
            log = stream_log(replay, run.profile) if replay is not None else ()
            if not log or not has_terminal(log, run.profile):
                continue
            due = suffix(log, str(recording.info.get("after"))) or log
            # Where a resumed stream begins is judged by REPLAY-06; here the event has to be on it.
            if due and due[0].id not in [event.id for event in seen]:
                got = f"it begins with {seen[0].id}" if seen else "it shows no event at all"
                raise Broken(
                    f"{due[0].type} {due[0].id} was emitted right after the stream had opened, and "
                    f"{got}",
                    exhibit(recording, seen[0] if seen else None),
                    count=judged,
                    what="openings with an event right behind",
                )
            judged += bool(due)
    if not judged and not run.shaped:
        raise Unable("the target's own job cannot be made to emit right after an opening")
    return Found(judged, "openings with an event right behind")


@check("RT-04", "gaps", "live", "starts")
def test_each_event_is_readable_before_the_next(run: Run) -> Found:
    """If events are a second apart, then each has arrived before the next is emitted."""
    require_calm(run)
    offset, zero = clock_offset(run), run.evidence.wall_at_zero
    judged = undecided = 0
    for recording in _gap_readers(run):
        late: list[tuple[Seen, float]] = []
        apart = certain = 0
        for event, following in pairwise(stream_log(recording, run.profile)):
            this, then = moment(event.timestamp), moment(following.timestamp)
            if this is None or then is None or then - this < GAP_MIN_S:
                continue
            if this - offset.low < zero + recording.sent_at:
                continue  # emitted before the stream was asked for: replay
            apart += 1
            # With clocks unknown to a second, being late shows, and being in time does not.
            certain += offset.width_s < then - this
            least = lag(this, zero + event.at, offset).least
            if not offset.contradictory and least >= then - this - SURE_SHARE:
                late.append((event, least))
        # A machine that was busy for a moment delays one event; a buffer delays them all.
        if len(late) >= 2 and 2 * len(late) > apart:
            event, least = late[0]
            raise Broken(
                f"{len(late)} of {apart} events arrived only when the next had been emitted, "
                f"{event.type} {event.id} at least {least:.2f} s late: one is always held back",
                exhibit(recording, event, "came only with the next event"),
                count=judged,
                what="events a second apart",
            )
        judged, undecided = judged + certain, undecided + apart - certain
    if undecided and not judged:
        raise Unable(
            "nothing was late, but the target's clock is not known to a second: nothing was "
            "started or opened that would bound it"
        )
    if not judged:
        raise Unable("no two events with a gap of a second between them were seen live")
    return Found(judged, "events a second apart")


def _gap_readers(run: Run) -> list[Recording]:
    gaps, live = run.evidence.bundles.get("gaps"), run.evidence.bundles.get("live")
    found = streams(gaps, "reader") if gaps else []
    if not run.shaped:
        found += streams(live, "reader") if live else []
    return found
