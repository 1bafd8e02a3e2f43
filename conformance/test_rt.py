"""RT: is an event readable when it was emitted, or some time later?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from statistics import median

from streamgauge.check import Run, check
from streamgauge.profile import Profile
from streamgauge.recording import Bundle, End, Recording
from streamgauge.results import Exhibit
from streamgauge.timing import Offset, bound_offset, lag, moment, percentile
from streamgauge.verdict import Broken, Found, Unable

from .reading import (
    Seen,
    as_json,
    control,
    exhibit,
    has_terminal,
    is_log,
    listed,
    stream_log,
    streams,
    suffix,
)

INSTRUMENT_LATE_S = 0.4
"""When the suite's own loop was this late (99th percentile), it cannot judge a second."""
SURE_SHARE = 0.05
GAP_MIN_S = 0.8
TREND_EVENTS_MIN = 40
CUT_IN_SILENCE_S = 2.0
"""A connection that ends sooner after an event was not cut for being idle."""
TREND_S = 0.5
LIVE = ("live", "gaps", "quiet")
CLOCKED = ("probe", *LIVE, "endings", "starts")
"""The scenarios whose exchanges bound the clock offset; hundreds more would add nothing."""


def _offset(run: Run) -> Offset:
    """The bounds that all causes and arrivals at hand set to the clock offset."""
    bundles = [run.evidence.bundles[n] for n in CLOCKED if n in run.evidence.bundles]
    zero = run.evidence.wall_at_zero
    caused = [pair for bundle in bundles for pair in _caused(bundle, run.profile)]
    arrived = [pair for bundle in bundles for pair in _arrived(bundle, run.profile)]
    return bound_offset(
        ((stamp, zero + at, what) for stamp, at, what in caused),
        ((stamp, zero + at, what) for stamp, at, what in arrived),
    )


Stamped = tuple[float, float, str]


@lru_cache(maxsize=64)
def _caused(bundle: Bundle, profile: Profile) -> tuple[Stamped, ...]:
    """Stamps that cannot be older than a request of ours, which was sent then."""
    found: list[Stamped] = []
    for recording in bundle.recordings:
        if not recording.is_stream:
            continue
        for stamp, _ in _openings(recording, profile):
            found.append((stamp, recording.sent_at, "a stream was asked for"))
        start = bundle.start_of(recording)
        first = next(iter(stream_log(recording, profile)), None)
        if start is None or first is None or recording.info.get("after"):
            continue
        began = moment(first.timestamp)
        if began is not None:
            found.append((began, start.sent_at, "a job was started"))
    return tuple(found)


@lru_cache(maxsize=64)
def _arrived(bundle: Bundle, profile: Profile) -> tuple[Stamped, ...]:
    """Stamps of what had arrived here, by whichever view was quickest."""
    found: list[Stamped] = []
    for recording in bundle.recordings:
        seen = stream_log(recording, profile) if recording.is_stream else listed(recording)
        for event in seen:
            stamp = moment(event.timestamp)
            if stamp is not None:
                found.append((stamp, event.at, "an event arrived"))
        for opened, at in _openings(recording, profile) if recording.is_stream else ():
            found.append((opened, at, "a stream opened"))
    return tuple(found)


def _openings(recording: Recording, profile: Profile) -> Iterator[tuple[float, float]]:
    """The stamp and the arrival of a stream's opening event, where it has one."""
    for block in control(recording, profile.events.opening)[:1]:
        body = as_json(block.event.data) if block.event is not None else None
        stamp = moment(str(body.get("timestamp", ""))) if isinstance(body, dict) else None
        if stamp is not None:
            yield stamp, block.at


def _live_events(run: Run, *labels: str) -> Iterator[tuple[Recording, Seen]]:
    """Events that were emitted while their stream was open, with their recordings."""
    for name in LIVE:
        bundle = run.evidence.bundles.get(name)
        if bundle is None:
            continue
        for recording in streams(bundle, *(labels or ("reader",))):
            for event in stream_log(recording, run.profile):
                yield recording, event


def _calm(run: Run) -> None:
    """Stop where the instrument itself was too late to judge."""
    if run.evidence.loop_lag_s > INSTRUMENT_LATE_S:
        raise Unable(
            f"this machine was too busy to measure: the suite itself was "
            f"{run.evidence.loop_lag_s * 1000:.0f} ms late"
        )


def _slack_s(run: Run) -> float:
    """By how much an observation may exceed its bound and still be this machine's doing."""
    return 5 * run.evidence.loop_lag_s + 2 * run.evidence.loop_lag_max_s


@check("RT-01", "gaps", "quiet", "live")
def test_head_and_first_byte_come_at_once(run: Run) -> Found:
    """If a job has nothing to say, then a stream's head and first byte come all the same."""
    _calm(run)
    within = run.profile.declared.first_byte_s
    waits: list[float] = []
    for name, label in (("gaps", "reader"), ("quiet", "tail"), ("live", "tail")):
        bundle = run.evidence.bundles.get(name)
        for recording in bundle.all(label) if bundle else ():
            first = recording.reads[0].at if recording.reads else None
            if recording.status not in (None, 200):
                continue
            if first is None and recording.end in (End.LEFT, End.REFUSED):
                continue
            waited = (first if first is not None else recording.ended_at) - recording.sent_at
            if within < waited <= within + _slack_s(run):
                late = f"{waited:.1f} s after it was asked for"
                raise Unable(f"a first byte came {late}, and this machine was too busy to tell why")
            if waited > within:
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
    unbegun = bool(run.evidence.bundles.get("gaps") and run.bundle("gaps").facts.get("head_start"))
    note = "" if unbegun else "; on jobs that had emitted before: none could be had that had not"
    slowest = max(waits, default=0.0)
    return Found(len(waits), "openings timed", f"slowest {slowest * 1000:.0f} ms{note}")


@check("RT-02", *LIVE, "endings", "starts")
def test_events_arrive_within_the_declared_lag(run: Run) -> Found:
    """If an event is emitted, then it is here within the declared time (95th percentile)."""
    _calm(run)
    bound = run.profile.declared.lag_p95_s
    offset = _offset(run)
    zero = run.evidence.wall_at_zero
    lags = []
    worst: tuple[float, Recording, Seen] | None = None
    for recording, event in _live_events(run):
        stamp = moment(event.timestamp)
        if stamp is None:
            continue
        late = lag(stamp, zero + event.at, offset)
        lags.append(late)
        if worst is None or late.least > worst[0]:
            worst = late.least, recording, event
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


@check("RT-03", "opening", "waiting")
def test_an_event_right_after_the_opening_is_delivered(run: Run) -> Found:
    """If an event is emitted the instant after a stream has opened, then that stream shows it."""
    judged = 0
    for name, prefix in (("opening", "late"), ("waiting", "opened")):
        bundle = run.evidence.bundles.get(name)
        for recording in bundle.all(prefix) if bundle else ():
            if not recording.is_stream:
                continue
            seen = stream_log(recording, run.profile)
            replay = bundle.get(recording.label.replace(prefix, "replay", 1)) if bundle else None
            log = stream_log(replay, run.profile) if replay is not None else ()
            if not log or not has_terminal(log, run.profile):
                continue
            due = suffix(log, str(recording.info.get("after"))) or log
            if due and (not seen or seen[0].id != due[0].id):
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
    _calm(run)
    offset, zero = _offset(run), run.evidence.wall_at_zero
    judged = 0
    for recording in _gap_readers(run):
        late: list[tuple[Seen, float]] = []
        apart = 0
        for event, following in pairwise(stream_log(recording, run.profile)):
            this, then = moment(event.timestamp), moment(following.timestamp)
            if this is None or then is None or then - this < GAP_MIN_S:
                continue
            apart += 1
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
        judged += apart
    if not judged:
        raise Unable("no two events with a gap of a second between them were seen live")
    return Found(judged, "events a second apart")


def _gap_readers(run: Run) -> list[Recording]:
    gaps, live = run.evidence.bundles.get("gaps"), run.evidence.bundles.get("live")
    found = streams(gaps, "reader") if gaps else []
    if not run.shaped:
        found += streams(live, "reader") if live else []
    return found


@check("RT-05", "quiet", "gaps", "live")
def test_the_last_event_before_a_pause_is_not_held(run: Run) -> Found:
    """If a job pauses, then the event before the pause has arrived before the pause is over."""
    offset, zero = _offset(run), run.evidence.wall_at_zero
    bound = run.profile.declared.lag_p95_s + _slack_s(run)
    judged = 0
    for recording in _pausing_readers(run):
        seen = stream_log(recording, run.profile)
        for event, following in pairwise(seen):
            this, then = moment(event.timestamp), moment(following.timestamp)
            if this is None or then is None or then - this < 2 * bound:
                continue
            late = lag(this, zero + event.at, offset)
            if late.least >= bound and not offset.contradictory:
                raise Broken(
                    f"{event.type} {event.id}, the last before a pause of {then - this:.0f} s, "
                    f"arrived {late.least:.1f} s late: it waited for something to push it out",
                    exhibit(recording, event, "held back over the pause"),
                    count=judged,
                    what="pauses",
                )
            judged += 1
    if not judged:
        raise Unable(_why_no_pause(run))
    return Found(judged, "pauses")


def _pausing_readers(run: Run) -> list[Recording]:
    """Readers that were open when their job paused; a joiner's replay shows no pause live."""
    bundle = run.evidence.bundles.get("quiet" if run.shaped else "live")
    return streams(bundle, "reader") if bundle is not None else []


def _why_no_pause(run: Run) -> str:
    quiet = run.evidence.bundles.get("quiet")
    reason = quiet.unable if quiet is not None else ""
    return reason if run.shaped and reason else "no pause was seen on a live stream"


@check("RT-06", "quiet", "live")
def test_a_quiet_stream_lives_on(run: Run) -> Found:
    """If a job is quiet for longer than the heartbeat interval, then its streams stay open."""
    lived, longest = 0, 0.0
    beat_s = run.profile.declared.heartbeat_s
    for recording in _pausing_readers(run) + (
        streams(run.bundle("quiet"), "tail") if run.shaped else []
    ):
        *silences, last = _silences(run, recording)
        if has_terminal(stream_log(recording, run.profile), run.profile):
            longest = max(longest, *silences)
            lived += max(silences) >= beat_s
            continue
        if recording.end in (End.LEFT, End.TIMEOUT) or _recycled(run, recording):
            continue
        if last < CUT_IN_SILENCE_S:
            continue
        raise Broken(
            f"a stream was cut after {last:.1f} s without an event ({recording.end.value})",
            Exhibit(recording, "cut in the silence"),
            count=lived,
            what="quiet streams",
        )
    if not lived:
        raise Unable(_why_no_pause(run))
    part = "" if run.long else "; beyond 60, 75 and 120 s only with --long"
    return Found(lived, "quiet streams", f"quiet for {longest:.0f} s{part}")


def _silences(run: Run, recording: Recording) -> list[float]:
    """The times between events of the log; the last is that before the end of the connection."""
    times = [event.at for event in stream_log(recording, run.profile)]
    marks = [recording.sent_at, recording.head_at or recording.sent_at, *times, recording.ended_at]
    return [after - before for before, after in pairwise(marks)]


def _recycled(run: Run, recording: Recording) -> bool:
    mark = run.profile.events.recycle.encode()
    return bool(mark) and any(
        line.raw.lstrip(b": ").startswith(mark) for b in recording.blocks for line in b.comments
    )


@check("RT-07", "live")
def test_lag_does_not_grow(run: Run) -> Found:
    """If a stream stays open, then its events do not arrive later and later."""
    _calm(run)
    judged = 0
    for recording in streams(run.bundle("live"), "reader"):
        late = [
            event.at - stamp
            for event in stream_log(recording, run.profile)
            if (stamp := moment(event.timestamp)) is not None
        ]
        if len(late) < TREND_EVENTS_MIN:
            continue
        quarter = len(late) // 4
        growth = median(late[-quarter:]) - median(late[:quarter])
        if growth > TREND_S and _steady(late):
            raise Broken(
                f"events of {recording.label!r} arrived {growth:.2f} s later at the end than at "
                "the beginning",
                Exhibit(recording),
                count=judged,
                what="events compared",
            )
        judged += len(late)
    worst = _skew(run)
    if worst > run.profile.declared.skew_s:
        raise Broken(
            f"the same event reached two readers {worst:.2f} s apart; declared is "
            f"{run.profile.declared.skew_s:g} s",
            count=judged,
            what="events compared",
        )
    if not judged:
        raise Unable(f"no stream showed {TREND_EVENTS_MIN} events live")
    part = "" if run.long else "; over five minutes only with --long"
    return Found(judged, "events compared", f"largest skew {worst * 1000:.0f} ms{part}")


def _steady(late: list[float]) -> bool:
    """Growth, not one burst at the end: events that all arrive together get *less* late."""
    middle = len(late) // 2
    return median(late[middle:]) > median(late[:middle])


def _skew(run: Run) -> float:
    """The largest distance between two readers' arrivals of one event (95th percentile)."""
    arrivals: dict[str, list[float]] = {}
    for recording in streams(run.bundle("live"), "reader"):
        if not any(is_log(b, run.profile) for b in recording.blocks):
            continue
        for event in stream_log(recording, run.profile):
            arrivals.setdefault(event.id, []).append(event.at - 0.0)
    opened = max((r.sent_at for r in streams(run.bundle("live"), "reader")), default=0.0)
    skews = [
        max(times) - min(times)
        for times in arrivals.values()
        if len(times) > 1 and min(times) > opened + 1.0
    ]
    return percentile(skews, 0.95)
