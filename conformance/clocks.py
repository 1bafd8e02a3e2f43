"""The target's clock against ours, and whether this machine was calm enough to judge by it.

Lag is measured between two clocks. All that causality tells of their offset is gathered here, so
that no check blames the target for a clock, or for a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from streamgauge.check import Run
from streamgauge.profile import Profile
from streamgauge.recording import Bundle, Recording
from streamgauge.timing import Offset, bound_offset, moment
from streamgauge.verdict import Unable

from .reading import as_json, control, events_of, stream_log

INSTRUMENT_LATE_S = 0.4
"""When the suite's own loop was this late (99th percentile), it cannot judge a second."""
STARVED_MAX = 0.85
"""Beside one busy process on each core the suite waits for about half of its time."""
LIVE = ("live", "gaps", "quiet")
CLOCKED = ("probe", *LIVE, "endings", "starts", "stalled")
"""The scenarios whose exchanges bound the clock offset; hundreds more would add nothing."""
Stamped = tuple[float, float, str]


def clock_offset(run: Run) -> Offset:
    """The bounds that all causes and arrivals at hand set to the clock offset."""
    bundles = [run.evidence.bundles[n] for n in CLOCKED if n in run.evidence.bundles]
    zero = run.evidence.wall_at_zero
    caused = [pair for bundle in bundles for pair in _caused(bundle, run.profile)]
    arrived = [pair for bundle in bundles for pair in _arrived(bundle, run.profile)]
    return bound_offset(
        ((stamp, zero + at, what) for stamp, at, what in caused),
        ((stamp, zero + at, what) for stamp, at, what in arrived),
    )


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
        seen = events_of(recording, profile)
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


def require_calm(run: Run) -> None:
    """Stop where the instrument itself was too late to judge, or got hardly any time to run."""
    if run.evidence.starved > STARVED_MAX:
        raise Unable(
            f"this machine was too busy to measure: for {run.evidence.starved:.0%} of its time the "
            "suite itself waited for a core"
        )
    if run.evidence.loop_lag_s > INSTRUMENT_LATE_S:
        raise Unable(
            f"this machine was too busy to measure: the suite itself was "
            f"{run.evidence.loop_lag_s * 1000:.0f} ms late"
        )


def slack_s(run: Run) -> float:
    """By how much an observation may exceed its bound and still be this machine's doing."""
    return 5 * run.evidence.loop_lag_s + 2 * run.evidence.loop_lag_max_s
