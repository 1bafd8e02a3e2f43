"""PROXY: events stay live behind proxies that buffer, hold back, compress, or are real ones.

Lag is measured against a reader of the same job that has no proxy in between, on the same clock: so
nothing depends on the target's clock, and a busy machine slows both alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from streamgauge.check import Run, check
from streamgauge.recording import End, Recording, outcome
from streamgauge.relay.real import INSTALL, KINDS
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Found, Unable

from .assembling import note
from .clocks import require_calm, slack_s
from .coding import DECODABLE, coding_of, decoded
from .comparing import difference
from .finals import log_of
from .reading import has_gap, recycled, stream_log
from .test_hdr_streams import PROXY_SERVERS

APART_S = 0.3
"""Only events with so much time before the next one can show that they were held back."""
LATE_MIN = 2
"""A machine that was busy for a moment delays one event; what holds back delays more."""
HEAD_S = 1.5
"""A head that takes longer was held back; the reader was there all the same."""
NEXT_S = 0.25
"""When the next event is here directly for so long, the one before must be through the proxy."""


@dataclass(frozen=True, slots=True)
class Live:
    """An event that the direct reader saw live, and when it saw the next one."""

    id: str
    at: float
    next_at: float


@check("PROXY-01", "proxied")
def test_a_willing_proxy_does_not_delay(run: Run) -> Found:
    """If a proxy honours X-Accel-Buffering, then events come through it as they are emitted."""
    recording = _through(run, "willing")
    direct = run.need("proxied", "direct")
    if direct.header("x-accel-buffering") is None and _behind_a_proxy(direct):
        raise Unable(
            "there is a proxy in between that may have consumed X-Accel-Buffering: ask the origin "
            "itself"
        )
    count, worst = _in_time(run, recording, _arrivals(run, recording))
    return Found(count, "live events", f"at most {worst * 1000:.0f} ms later than without")


@check("PROXY-02", "proxied")
def test_a_4_kib_buffer_holds_back_one_event_at_most(run: Run) -> Found:
    """If a proxy holds back until it has 4 KiB, then a reader is at most one event behind."""
    recording = _through(run, "holding")
    arrivals = _arrivals(run, recording)
    spare_s = NEXT_S + slack_s(run)
    behind = [
        event
        for event in _live(run, recording)
        if arrivals.get(event.id, recording.ended_at) > event.next_at + spare_s
    ]
    count = len(_live(run, recording))
    if len(behind) >= LATE_MIN:
        event = behind[0]
        late_s = arrivals.get(event.id, recording.ended_at) - event.next_at
        raise Broken(
            f"{len(behind)} of {count} events were still held back when the next one had been "
            f"emitted, event {event.id} for {late_s:.1f} s more: frames of less than 4 KiB wait in "
            "the buffer",
            Exhibit(recording, f"event {event.id} came with a later one"),
            count=count - 1,
            what="live events",
        )
    return Found(count, "live events")


@check("PROXY-03", "proxied")
def test_real_proxies_are_passed(run: Run) -> Found:
    """If a stock nginx, HAProxy or Caddy stands in between, then the log is exact and live."""
    bundle = run.bundle("proxied")
    installed = bundle.facts.get("real") or []
    trouble = bundle.facts.get("trouble") or {}
    if not installed and not trouble and bundle.unable:
        raise Unable(bundle.unable)
    if not installed:
        why = "; ".join(trouble.values()) or f"no real proxy is installed: {INSTALL}"
        raise Unable(why)
    log = log_of(run, "proxied", "final replay")
    told, compared = [], 0
    for name in installed:
        recording = run.need("proxied", f"real {name}")
        note(recording)
        seen = stream_log(recording, run.profile) if recording.is_stream else ()
        if has_gap(recording, run.profile):
            continue
        due = log[: len(seen)] if recycled(recording, run.profile) else log
        fault, _ = difference(due, seen)
        if fault:
            raise Broken(
                f"behind {name}: {outcome(recording)}, {fault}",
                recording,
                count=compared,
                what="events compared",
            )
        _, worst = _in_time(run, recording, {e.id: e.at for e in seen}, f"behind {name}: ")
        told.append(f"{name} {worst * 1000:.0f} ms")
        compared += len(seen)
    missing = [kind.name for kind in KINDS if kind.name not in installed]
    rest = f"; not tried: {', '.join(missing)} ({INSTALL})" if missing else ""
    return Found(compared, "events compared", f"largest lag {', '.join(told)}{rest}")


@check("PROXY-04", "proxied")
def test_a_compressing_proxy_does_not_hold_events(run: Run) -> Found:
    """If a proxy compresses, then it leaves the stream alone, or each event comes at once."""
    recording = _through(run, "compressing")
    coding = coding_of(recording)
    if coding == "identity":
        count, _ = _in_time(run, recording, _arrivals(run, recording))
        return Found(count, "live events", "left alone")
    if coding not in DECODABLE:
        raise Unable(f"the stream is coded as {coding}, which the suite cannot decode")
    why = f"compressed on the way, since Cache-Control is {recording.header('cache-control')!r}: "
    count, _ = _in_time(run, recording, dict(decoded(recording, coding)), why)
    return Found(count, "live events", f"coded as {coding}")


def _through(run: Run, name: str) -> Recording:
    require_calm(run)
    recording = run.need("proxied", f"through {name}")
    if note(recording).get("target") and not recording.is_stream:
        raise Broken(f"behind a proxy: {note(recording)['target']}", recording)
    if not recording.is_stream:
        told = f"{outcome(recording)} and {recording.media_type or 'no type'}"
        raise Broken(f"behind a proxy the stream answers {told}", recording)
    return recording


def _arrivals(run: Run, recording: Recording) -> dict[str, float]:
    """When each event was readable behind the proxy."""
    return {event.id: event.at for event in stream_log(recording, run.profile)}


def _live(run: Run, recording: Recording) -> list[Live]:
    """Events that the direct reader saw live and apart, while the proxied stream was open.

    Raises:
        Unable: there are none.
    """
    direct = run.need("proxied", "direct")
    seen = stream_log(direct, run.profile) if direct.is_stream else ()
    # A proxy that holds back the head, too, must not make its reader's lateness go unseen.
    head_s = (recording.head_at or recording.ended_at) - recording.sent_at
    opened = recording.sent_at + (head_s if head_s < HEAD_S else APART_S)
    until = recording.ended_at if recording.end in (End.LEFT, End.TIMEOUT) else float("inf")
    found = [
        Live(event.id, event.at, following.at)
        for event, following in pairwise(seen)
        if following.at - event.at >= APART_S and opened < event.at and following.at < until
    ]
    if len(found) < LATE_MIN:
        raise Unable(
            run.bundle("proxied").unable
            or "without a proxy, too, no events with time between them were seen live"
        )
    return found


def _in_time(
    run: Run, recording: Recording, arrivals: dict[str, float], why: str = ""
) -> tuple[int, float]:
    """How many live events were compared, and by how much the latest was late.

    Raises:
        Broken: they come later than declared.
    """
    require_calm(run)
    bound_s = run.profile.declared.lag_p95_s + slack_s(run)
    live = _live(run, recording)
    late = [(arrivals.get(event.id, recording.ended_at) - event.at, event) for event in live]
    held = [(by, event) for by, event in late if by > bound_s]
    if len(held) >= LATE_MIN:
        by, event = max(held, key=lambda each: each[0])
        raise Broken(
            f"{why}{len(held)} of {len(live)} events came more than {bound_s:.1f} s later than "
            f"without a proxy, event {event.id} by {by:.1f} s",
            Exhibit(recording, "held back on the way"),
            count=len(live) - 1,
            what="live events",
        )
    return len(live), max(0.0, *(by for by, _ in late))


def _behind_a_proxy(recording: Recording) -> bool:
    server = recording.header("server") or ""
    return bool(recording.header("via") or PROXY_SERVERS.search(server))
