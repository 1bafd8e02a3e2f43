"""What a correct client has put together over several connections, held against the log.

The relay's own note on each connection is looked at first: its mistakes are the suite's, and what
it did is told in the message, so that nobody takes a cut that was made on purpose for the fault.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamgauge.check import Run
from streamgauge.recording import Bundle, End, Recording, outcome
from streamgauge.results import Exhibit
from streamgauge.verdict import Broken, Unable

from .clocks import require_calm
from .comparing import difference, suffix
from .reading import Seen, exhibit, has_gap, has_terminal, stream_log
from .scenarios.reconnecting import CONNECTIONS_MAX

ANSWER_S = 5.0
"""Who is asked later than this before the client's time is up owes no answer."""
STILL_COMING_S = 5.0
SURVIVED = frozenset({204, 429, 503, 301, 302, 303, 307, 308})
"""Answers on the way that leave a client its cursor."""


def note(recording: Recording) -> dict[str, str]:
    """What the relay says about an exchange, {} where it did not go through it.

    Raises:
        Unable: the relay could not reach the target.
        RuntimeError: the relay itself failed.
    """
    said = recording.info.get("relay")
    if not isinstance(said, dict):
        return {}
    if said.get("fault"):
        raise RuntimeError(f"the relay failed: {said['fault']}")
    if str(said.get("target", "")).startswith("no connection"):
        raise Unable(f"the suite's proxy could not reach the target: {said['target']}")
    return said


def cut_by_relay(recording: Recording) -> bool:
    """Whether the relay ended this connection."""
    return str(note(recording).get("did", "")).startswith(("cut", "reset"))


def parts(bundle: Bundle, label: str) -> list[Recording]:
    """The connections of one client, in order.

    Raises:
        Unable: there are none.
    """
    found = [r for r in bundle.recordings if r.label.rpartition("/")[0] == label]
    if not found:
        raise Unable(bundle.unable or f"no connection of {label!r} was made")
    return found


def assembled(
    run: Run, connections: Sequence[Recording], log: Sequence[Seen], what: str, count: int
) -> int:
    """Hold what a client got over its connections against the log; returns its events.

    Args:
        run: for the profile.
        connections: the client's connections, in order.
        log: the reference log.
        what: what happened to this client, in words.
        count: how many such clients were judged before.

    Raises:
        Broken: the client has something else than the log.
    """
    seen: list[tuple[Seen, Recording]] = []
    for recording in connections:
        said = note(recording)
        if recording.is_stream and has_gap(recording, run.profile):
            raise Unable("the target has pruned the history that this needs")
        if recording.is_stream:
            seen += [(event, recording) for event in stream_log(recording, run.profile)]
        elif recording.status not in SURVIVED and not (said.get("did") or _ours(recording)):
            raise Broken(
                f"{what}: {_resumed(recording)}: {outcome(recording)}",
                recording,
                count=count,
                what="clients",
            )
    events = [event for event, _ in seen]
    fault, place = difference(log, events)
    if not fault:
        return len(events)
    last = connections[-1]
    if len(connections) >= CONNECTIONS_MAX and not difference(log[: len(events)], events)[0]:
        raise Unable(f"{what}: {CONNECTIONS_MAX} connections did not show the whole log")
    if len(events) < len(log) and not has_terminal(events, run.profile) and _ours(last):
        require_calm(run)  # a suite that is late reads too little before its own time is up
        if events and last.ended_at - events[-1].at < STILL_COMING_S:
            raise Unable(f"{what}: the client's time was up while events still came")
        fault = f"{fault}: after {last.ended_at - connections[0].sent_at:.0f} s it had not come"
    where = next((r for event, r in seen if event is place), last)
    before = connections[max(0, connections.index(where) - 1)]
    done = note(before).get("did", "")
    told = f"{what}: {f'{done}, then ' if done else ''}{_resumed(where)}: {fault}"
    shown = exhibit(where, place, "where the two logs part") if place else Exhibit(where)
    raise Broken(told, shown, before if before is not where else None, count=count, what="clients")


def resumed_rightly(run: Run, bundle: Bundle, log: Sequence[Seen], label: str) -> str:
    """What is wrong with a resume that had no proxy in between, "" where nothing is.

    Where a target cannot resume at all, nothing is told by resumes through a proxy.
    """
    recording = bundle.get(label)
    after = recording.info.get("after") or recording.info.get("query") if recording else None
    if recording is None or not after:
        return "no resume was made without a proxy"
    rest = suffix(log, str(after))
    seen = stream_log(recording, run.profile) if recording.is_stream else ()
    fault, _ = difference(rest or (), seen)
    return f"without a proxy, too, {_resumed(recording)}: {fault}" if fault else ""


def _resumed(recording: Recording) -> str:
    after = recording.info.get("after")
    how = "by the query" if recording.info.get("query") else "by Last-Event-ID"
    return f"resumed after {after} {how}" if after else "asked for without a cursor"


def _ours(recording: Recording) -> bool:
    """Whether it was the suite that stopped waiting, for an answer perhaps too soon."""
    early = recording.answered or recording.ended_at - recording.sent_at < ANSWER_S
    return recording.end in (End.LEFT, End.TIMEOUT) and early
