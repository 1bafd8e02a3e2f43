"""Findings in words: what happens, how that was measured, and what to do about it.

One place for all of them, so that the terminal, the page and the files say the same thing.
"""

from __future__ import annotations

from .buffering import Buffering, Kind
from .cuts import Cuts
from .model import Explanation, Family, PlatformHint, Sureness
from .resume import Resumes, Way

_SURE_STREAMS = 2
_SURE_RELEASES = 6

_HEADERS_CURE = (
    "Let the server say `X-Accel-Buffering: no` and `Cache-Control: no-cache, no-transform`, and "
    "turn response buffering and compression off for `text/event-stream` on every proxy, load "
    "balancer and middleware on the way"
)

_WAYS: dict[Way, tuple[str, str]] = {
    Way.IGNORED: (
        "a client that comes back gets the whole log again: its cursor is ignored",
        "Read `Last-Event-ID` (and the query cursor) where the stream opens, and begin behind it. "
        "Where the application does so, look whether a proxy strips the header.",
    ),
    Way.HEADER_LOST: (
        "the `Last-Event-ID` header has no effect, while the cursor in the query has",
        "Let every proxy and gateway pass `Last-Event-ID` on, and read it in the application.",
    ),
    Way.LIVE_ONLY: (
        "a client that comes back sees only what is new: what it missed is never shown",
        "Keep each job's events in a log, and begin a stream behind its cursor in that log before "
        "going over to live events.",
    ),
    Way.REPEATS_ONE: (
        "a resumed stream repeats the event that the client already has: one off",
        "The cursor is the last event that the client has: begin with the one after it "
        "(`id > cursor`, not `>=`).",
    ),
    Way.SKIPS_ONE: (
        "a resumed stream skips the first event that the client lacks: one off",
        "Begin with the event directly after the cursor; do not count it twice, and do not "
        "subscribe one event late.",
    ),
    Way.UNKNOWN_JOB: (
        "a client that comes back is told that its job does not exist: whoever answers does not "
        "know it",
        "Keep jobs and their events in a store that all instances share and that outlives a "
        "restart, or lead a client back to the instance that runs its job.",
    ),
    Way.SILENT: (
        "a resumed stream stays open and shows nothing, although there is something to show",
        "Read the events after the cursor from the store when a stream opens, and only then wait "
        "for new ones.",
    ),
}


def of_buffering(found: Buffering, platforms: tuple[PlatformHint, ...]) -> Explanation:
    events = f"{found.held:,} event{_s(found.held)} on {found.streams} stream{_s(found.streams)}"
    held = f"{events} {'was' if found.held == 1 else 'were'} held, for up to {found.worst_s:.1f} s"
    what, how, cure = _buffer_words(found)
    enough = found.releases >= _SURE_RELEASES and found.kind is not Kind.UNKNOWN
    until_end = found.kind is Kind.UNTIL_END and found.streams >= _SURE_STREAMS
    return Explanation(
        family=Family.BUFFERING,
        kind=found.kind.value,
        what=what,
        measured=f"{held}; {how}",
        advice=cure,
        sureness=Sureness.SURE if enough or until_end else Sureness.LIKELY,
        observations=found.releases or found.held,
        bytes_low=found.low,
        bytes_high=found.high,
        seconds=found.seconds,
        platforms=platforms,
    )


def _buffer_words(found: Buffering) -> tuple[str, str, str]:
    """What happens, how that shows, what to do."""
    number = f"{found.releases:,} release{_s(found.releases)}"
    if found.kind is Kind.UNTIL_END:
        least = f" (or until it has more than {found.low:,} bytes)" if found.low else ""
        return (
            "events are held back until the stream ends",
            f"nothing came before the end of any of these streams{least}",
            f"{_HEADERS_CURE}.",
        )
    if found.kind is Kind.HOLDS_BYTES:
        assert found.high is not None
        return (
            f"events are held back until about {_size(found.low or 0, found.high)} have come "
            "together",
            f"a size above {found.low:,} and up to {found.high:,} bytes explains {number}",
            f"{_HEADERS_CURE}. Where that is out of your hands, pad every frame, heartbeats too, "
            f"to {found.high:,} bytes.",
        )
    if found.kind is Kind.FULL_BLOCKS:
        return (
            f"only full blocks of about {_size((found.high or 1) - 1, found.high or 1)} are passed "
            "on, and the rest waits",
            f"whole multiples of {found.high:,} bytes explain {number}",
            f"{_HEADERS_CURE}. Where that is out of your hands, fill every frame up to a multiple "
            f"of {found.high:,} bytes, with the padding behind the event.",
        )
    if found.kind is Kind.ONE_BEHIND:
        return (
            "each event is held back until the next one is written",
            f"in {number}, an event came at the moment at which the one after it was sent",
            "Flush after every event: write each frame in one piece, and look for a layer that "
            f"keeps the last piece. {_HEADERS_CURE}.",
        )
    if found.kind is Kind.TIMER:
        assert found.seconds is not None
        return (
            f"events are collected and passed on every {found.seconds:g} s",
            f"a timer explains {number}, and no size does",
            "Wake readers when an event is stored instead of looking for news at intervals, and "
            "set the flush interval of every proxy on the way to 0 (flush at once).",
        )
    open_ = f": {found.why_open} would explain them alike" if found.why_open else ""
    return (
        "events are collected on the way and come out together",
        f"by which rule is not certain from {number}{open_}",
        f"{_HEADERS_CURE}.",
    )


def of_cuts(found: Cuts, platforms: tuple[PlatformHint, ...]) -> Explanation:
    seconds = f"{found.seconds:g} s"
    number = f"{found.cuts} stream{_s(found.cuts)}"
    clean = " They end as if they were complete." if found.clean else ""
    if found.family is Family.IDLE_CUT:
        half = max(1, int(found.seconds / 2))
        what = f"the connection is cut after {seconds} of silence"
        measured = f"{number} ended after {seconds} without a byte; {found.refuted}.{clean}"
        advice = (
            f"Send heartbeats at least every {half} s (padded, where anything on the way buffers), "
            "or raise the read or idle timeout of whatever stands before the server."
        )
    else:
        what = f"the connection is cut {seconds} after it was opened, whatever flows"
        measured = f"{number} ended at the age of {seconds}; {found.refuted}.{clean}"
        before = found.seconds * 0.9
        advice = (
            f"No heartbeat helps. Raise the limit; where you cannot, let the server recycle its "
            f"streams before (after {before:.0f} s: the recycle mark, a clean end) and rely on "
            "resuming."
        )
    return Explanation(
        family=found.family,
        kind=found.family.value,
        what=what,
        measured=measured.rstrip("."),
        advice=advice,
        sureness=found.sureness,
        observations=found.cuts,
        seconds=found.seconds,
        platforms=platforms,
    )


def of_resumes(found: Resumes) -> Explanation:
    what, advice = _WAYS[found.way]
    return Explanation(
        family=Family.RESUME_BROKEN,
        kind=found.way.value,
        what=what,
        measured=f"{found.wrong} of {found.made} resumed streams went wrong in this way",
        advice=advice,
        sureness=found.sureness,
        observations=found.wrong,
    )


def _size(low: int, high: int) -> str:
    """A size that lies between two bounds, by its round name where there is one between them."""
    for power in range(9, 24):
        if low < 2**power <= high * 1.03:
            return f"{2**power // 1024} KiB" if power >= 10 else f"{2**power} bytes"
    return f"{high:,} bytes"


def _s(number: int) -> str:
    return "" if number == 1 else "s"
