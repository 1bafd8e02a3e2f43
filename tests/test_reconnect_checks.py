"""What the cut and reconnect checks make of streams that are written down here by hand."""

from __future__ import annotations

import pytest

from conformance.assembling import assembled
from conformance.reading import stream_log
from conformance.test_replay_cuts import _offsets, _states
from streamgauge.check import Run
from streamgauge.collect import Evidence
from streamgauge.profile_file import load_profile
from streamgauge.recording import End, Read, Recording, Request
from streamgauge.verdict import Broken, Unable

RUN = Run("http://x", load_profile("resume-optimizer"), Evidence())
PADDING = b":" + b" " * 100 + b"\n"


def frame(number: int) -> bytes:
    kind = "done" if number == 3 else "step_progress"
    return b'id: %d\nevent: %s\ndata: {"n":%d}\n\n' % (number, kind.encode(), number) + PADDING


def stream(*parts: bytes, after: str | None = None, end: End = End.COMPLETE) -> Recording:
    return Recording(
        f"client/{after}",
        Request("GET", "http://x/stream"),
        0.0,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        reads=(Read(0.1, b"".join(parts)),),
        end=end,
        ended_at=0.2,
        info={"after": after},
    )


WHOLE = stream(b"event: connection\ndata: {}\n\n", frame(1), frame(2), frame(3))
LOG = stream_log(WHOLE, RUN.profile)


def test_every_byte_outside_padding_is_tried_and_some_within() -> None:
    """If a byte belongs to a field or a line end, then a cut behind it is tried."""
    offsets = list(_offsets(WHOLE))
    assert offsets == sorted(set(offsets))
    tried = set(offsets)
    for block in WHOLE.blocks:
        for line in block.fields:
            assert {line.offset + n for n in range(1, len(line.raw) + 1)} <= tried
        assert not block.complete or block.end in tried
    in_padding = [o for o in offsets if WHOLE.body[o - 1 : o] == b" " and WHOLE.body[o] == 32]
    assert 3 <= len(in_padding) <= 20


def test_the_state_changes_with_the_byte_that_dispatches() -> None:
    """If the empty line is not there yet, then the event counts as unseen and its id as unknown."""
    states = {state.offset: (state.shown, state.cursor) for state in _states(RUN, WHOLE)}
    dispatched = WHOLE.body.index(b'{"n":2}\n\n') + len(b'{"n":2}\n\n')
    assert states[dispatched - 1] == (1, "1")
    assert states[dispatched] == (2, "2")


@pytest.mark.parametrize("bare_cr", [False, True])
def test_an_id_in_a_block_of_its_own_moves_the_cursor(bare_cr: bool) -> None:
    """If an id is dispatched without its event, then the cursor has moved and nothing was shown."""
    body = b"id: 1\n\nid: 1\nevent: step_progress\ndata: {}\n\n"
    recording = stream(body.replace(b"\n", b"\r") if bare_cr else body)
    assert (0, "1") in {(state.shown, state.cursor) for state in _states(RUN, recording)}


def test_a_client_that_has_the_log_once_is_right() -> None:
    """If the connections of a client add up to the log, then its events are counted."""
    first = stream(frame(1), frame(2)[:9], end=End.CUT)
    rest = stream(frame(2), frame(3), after="1")
    assert assembled(RUN, [first, rest], LOG, "cut", 0) == 3


@pytest.mark.parametrize(
    "rest",
    [(frame(3),), (frame(1), frame(2), frame(3)), (frame(3), frame(2)), (frame(2),)],
    ids=["gap", "duplicate", "reorder", "unfinished"],
)
def test_a_client_that_has_another_log_is_wrong(rest: tuple[bytes, ...]) -> None:
    """If an event is missing, doubled or out of order after a resume, then that is a fault."""
    first = stream(frame(1), end=End.CUT)
    with pytest.raises(Broken, match="resumed after 1"):
        assembled(RUN, [first, stream(*rest, after="1")], LOG, "cut", 0)


def test_a_resume_that_is_refused_is_wrong() -> None:
    """If a resume gets an answer that ends an EventSource for good, then the client has lost."""
    first = stream(frame(1), end=End.CUT)
    refused = Recording(
        "client/1", Request("GET", "http://x"), 0.3, status=409, info={"after": "1"}
    )
    with pytest.raises(Broken, match="409"):
        assembled(RUN, [first, refused], LOG, "cut", 0)


def test_the_relays_own_trouble_is_never_the_targets() -> None:
    """If the relay failed or could not connect, then nothing is held against the target."""
    broken = stream(frame(1))
    broken.info["relay"] = {"fault": "ValueError: x"}  # type: ignore[index]
    with pytest.raises(RuntimeError, match="the relay failed"):
        assembled(RUN, [broken], LOG, "cut", 0)
    away = stream(frame(1))
    away.info["relay"] = {"target": "no connection to the target: refused"}  # type: ignore[index]
    with pytest.raises(Unable, match="could not reach"):
        assembled(RUN, [away], LOG, "cut", 0)
