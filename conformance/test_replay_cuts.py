"""REPLAY: wherever the bytes break off, a correct client resumes to exactly the full log.

What a client has after n bytes is a matter of parsing alone, so every byte is tried on one recorded
stream, and only the resumes that these cuts call for are asked for. Real cuts at a sample of places
catch a target that behaves differently once a connection has been cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streamgauge.check import Run, check
from streamgauge.recording import Bundle, Recording
from streamgauge.results import Exhibit
from streamgauge.sse import Parser
from streamgauge.verdict import Broken, Found, Unable

from .assembling import assembled, cut_by_relay, parts
from .comparing import difference
from .finals import log_of
from .reading import Seen, has_gap, is_log, stream_log


@dataclass(frozen=True, slots=True)
class State:
    """What a correct client has when the connection breaks off after so many bytes."""

    offset: int
    shown: int
    """Events of the log that were dispatched."""
    cursor: str


@check("REPLAY-16", "cuts")
def test_a_cut_at_any_byte_is_survivable(run: Run) -> Found:
    """If a stream breaks off after any byte, then resuming gives exactly what was missing."""
    bundle = run.bundle("cuts")
    replay = run.need("cuts", "replay")
    log = log_of(run, "cuts", "replay")
    if has_gap(replay, run.profile):
        raise Unable("the target has pruned the history that this needs")
    resumes = _resumes(run, bundle, log)
    shown = stream_log(replay, run.profile)
    offsets, known = 0, set[tuple[int, str]]()
    for state in _states(run, replay):
        rest = resumes.get(state.cursor)
        if rest is None:
            continue
        offsets += 1
        if (state.shown, state.cursor) in known:
            continue
        known.add((state.shown, state.cursor))
        fault, _ = difference(log, (*shown[: state.shown], *rest))
        if fault:
            last = shown[state.shown - 1].id if state.shown else "none"
            raise Broken(
                f"cut after byte {state.offset} a correct client has shown the events up to {last} "
                f"and resumes after {state.cursor or 'nothing'}: {fault}",
                Exhibit(replay, "cut here", (max(0, state.offset - 1), state.offset + 1)),
                count=offsets,
                what="cuts judged",
            )
    real = _real_cuts(run, bundle, log, offsets)
    if offsets and not real:
        raise Unable(bundle.unable or "no stream could be cut in truth")
    return Found(offsets + real, "cuts judged", f"{real} of them made in truth", shown=replay)


def _resumes(run: Run, bundle: Bundle, log: tuple[Seen, ...]) -> dict[str, tuple[Seen, ...]]:
    """What the target sends after each cursor; without one it is the whole log."""
    found = {"": log}
    for recording in bundle.all("resume"):
        after = str(recording.info.get("after"))
        if recording.is_stream:
            found[after] = stream_log(recording, run.profile)
        elif recording.status == run.profile.declared.terminal_resume_status:
            found[after] = ()
    return found


def _states(run: Run, replay: Recording) -> Iterator[State]:
    """The client's state after every byte that is not padding, and after some that are."""
    parser, body = Parser(), replay.body
    fed = shown = 0
    for offset in _offsets(replay):
        for block in parser.feed(body[fed:offset], 0.0):
            shown += is_log(block, run.profile)
        fed = offset
        yield State(offset, shown, parser.last_event_id)


def _offsets(replay: Recording) -> Iterator[int]:
    """Every byte of fields and line ends; of each comment the first, the middle and the last."""
    reached = 0
    for block in replay.blocks:
        for line in block.lines:
            size = len(line.raw)
            if line.is_comment:
                places = sorted({line.offset, line.offset + size // 2, line.offset + size})
            else:
                places = list(range(line.offset, line.offset + size + 1))
            for place in places:
                if place > reached:
                    reached = place
                    yield place
        if block.complete:
            for place in range(reached + 1, block.end + 1):
                reached = place
                yield place
    yield len(replay.body)


def _real_cuts(run: Run, bundle: Bundle, log: tuple[Seen, ...], judged: int) -> int:
    """Cuts that were made on the way, each followed by the resume that a correct client makes."""
    made = 0
    for label in dict.fromkeys(r.label.rpartition("/")[0] for r in bundle.all("cut")):
        connections = parts(bundle, label)
        if not connections[0].is_stream or not cut_by_relay(connections[0]):
            continue
        place = label.removeprefix("cut ")
        assembled(run, connections, log, f"cut after byte {place}", judged + made)
        made += 1
    return made
