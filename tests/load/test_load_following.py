"""The judge that runs per event: it takes what is exact, and nothing else gets past it."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.following import Follower, Truth, log_view
from load.grammar import Grammar
from streamgauge.history import Rules, check
from streamgauge.profile_file import load_profile
from streamgauge.sse import parse

GRAMMAR = Grammar(load_profile("resume-optimizer"))
STAMP = "2026-01-31T12:00:00.123456Z"


def frame(number: int, kind: str = "step_progress", text: str = "x", pad: int = 40) -> bytes:
    body = {"id": number, "type": kind, "timestamp": STAMP, "data": {"text": text}}
    lines = f"id: {number}\nevent: {kind}\ndata: {json.dumps(body)}\n\n"
    return lines.encode() + b":" + b" " * pad + b"\n"


def log(size: int) -> list[bytes]:
    return [*(frame(n, text=f"event {n} é") for n in range(1, size)), frame(size, "done")]


OPENING = b'retry: 2000\nevent: connection\ndata: {"type":"connection","data":{}}\n\n:  \n'


def read(truth: Truth, frames: list[bytes], cuts: tuple[int, ...] = ()) -> Follower:
    """A whole stream through a follower, cut into reads at these places."""
    follower = Follower(truth, GRAMMAR)
    follower.opened(1.0)
    body = OPENING + b"".join(frames)
    points = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for a, b in itertools.pairwise(points):
        follower.feed(body[a:b], 2.0)
    follower.closed(3.0, ended=True)
    return follower


def kinds(follower: Follower) -> set[str]:
    return {str(anomaly.kind) for anomaly in follower.anomalies("reader", None)}


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_an_exact_stream_is_clean_however_it_is_cut(cuts: list[int]) -> None:
    truth = Truth()
    for _ in range(2):
        follower = read(truth, log(6), tuple(cuts))
        assert (follower.events, follower.over, follower.suspicion) == (6, True, "")
        assert not kinds(follower)
    assert [known.id for known in truth.events] == list("123456")


@pytest.mark.parametrize("known_before", [True, False], ids=["known", "new"])
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda frames: [*frames[:2], *frames[3:]], "gap-inside"),
        (lambda frames: frames[1:], "gap"),
        (lambda frames: [*frames[:3], frames[2], *frames[3:]], "duplicate"),
        (lambda frames: [frames[0], frames[2], frames[1], *frames[3:]], "reorder"),
        (lambda frames: frames[:-1], "never-terminated"),
        (lambda frames: [*frames, frame(7)], "after-terminal"),
        (lambda frames: [*frames, frame(7, "done")], "two-terminals"),
        (lambda frames: [*frames[:2], *frames], "cursor-regression"),
    ],
)
def test_each_fault_is_named(change, kind: str, known_before: bool) -> None:
    truth = Truth()
    if known_before:
        read(truth, log(6))
    assert kind in kinds(read(truth, change(log(6))))


def test_another_payload_is_a_divergence_whoever_is_right() -> None:
    truth = Truth()
    read(truth, log(6))
    changed = log(6)
    changed[3] = frame(4, text="something else")
    assert kinds(read(truth, changed)) == {"payload-divergence"}


def test_the_same_content_in_other_bytes_is_the_same_event() -> None:
    truth = Truth()
    read(truth, log(3))
    again = [part.replace(b'", "', b'",  "').replace(b"data: ", b"data:") for part in log(3)]
    assert not kinds(read(truth, again))


def test_an_event_that_contradicts_itself_is_a_flaw() -> None:
    follower = read(Truth(), [frame(1).replace(b'"id": 1', b'"id": 2'), frame(2, "done")])
    assert follower.flaws == ["event '1' says in its JSON that its id is 2"]


def test_a_resumed_stream_goes_on_where_it_was() -> None:
    truth, frames = Truth(), log(6)
    read(truth, frames)
    follower = Follower(truth, GRAMMAR)
    follower.opened(1.0)
    follower.feed(OPENING + b"".join(frames[:3]) + frames[3][:20], 2.0)
    follower.closed(2.0, ended=False)
    assert follower.cursor == "3"
    follower.opened(2.5)
    follower.feed(OPENING + b"".join(frames[3:]), 3.0)
    follower.closed(3.0, ended=True)
    assert not kinds(follower)
    assert [shown.after for shown in follower.shown] == ["", "3"]


def test_a_resume_that_repeats_an_event_is_caught() -> None:
    truth, frames = Truth(), log(6)
    follower = Follower(truth, GRAMMAR)
    follower.opened(1.0)
    follower.feed(b"".join(frames[:3]), 2.0)
    follower.closed(2.0, ended=False)
    follower.opened(2.5)
    follower.feed(b"".join(frames[2:]), 3.0)
    follower.closed(3.0, ended=True)
    assert kinds(follower) & {"duplicate", "cursor-regression"}


def test_pruned_history_that_is_announced_is_no_anomaly() -> None:
    truth, frames = Truth(), log(6)
    read(truth, frames)
    gap = b'event: replay_gap\ndata: {"data":{"requested":0,"earliest":4,"latest":6}}\n\n'
    follower = read(truth, [gap, *frames[3:]])
    pages = [
        {
            "gap": {"requested": 0, "earliest": 4, "latest": 6},
            "events": [
                {
                    "id": n, "type": "done" if n == 6 else "step_progress", "timestamp": STAMP,
                    "data": {"text": f"event {n} é" if n < 6 else "x"},
                }
                for n in (4, 5, 6)
            ],
        }
    ]  # fmt: skip
    assert not follower.anomalies("late", log_view(pages, GRAMMAR, 9.0))


STRANGE = [
    b"\xef\xbb\xbf" + b"".join(log(4)),
    b"".join(log(4)).replace(b"\n", b"\r\n"),
    b"".join(log(4)).replace(
        b"event: step_progress\n", b": note\nevent: step_progress\nretry: 5\n"
    ),
    b"".join(log(4)).replace(b"data: {", b"data: {\ndata: "),
]


@pytest.mark.parametrize("body", STRANGE, ids=["bom", "crlf", "fields", "lines"])
@given(cut=st.integers(0, 2000))
def test_what_the_fast_path_does_not_know_goes_to_the_standards_parser(
    body: bytes, cut: int
) -> None:
    """The same events as the parser of the suite sees, whatever the bytes look like."""
    follower = Follower(Truth(), GRAMMAR)
    follower.opened(1.0)
    follower.feed(body[:cut], 2.0)
    follower.feed(body[cut:], 2.0)
    expected = [block.event for block in parse(body) if block.event is not None]
    assert [known.id for known in follower.truth.events] == [e.last_event_id for e in expected]
    assert [known.type for known in follower.truth.events] == [e.type for e in expected]
    assert not follower.flaws


@given(st.lists(st.integers(1, 5), max_size=8), st.booleans())
def test_what_is_taken_as_exact_has_no_anomaly(order: list[int], known_before: bool) -> None:
    """The fast judge is never kinder than the history checker that sees all."""
    frames, truth = log(5), Truth()
    if known_before:
        read(truth, frames)
    follower = read(truth, [frames[n - 1] for n in order])
    views = [shown.view("reader", truth) for shown in follower.shown]
    entries = tuple(GRAMMAR.known(b"", str(n), *_said(frames[n - 1])).entry(2.0) for n in order)
    whole = [type(view)(view.name, "live", entries, ended=True) for view in views]
    rules = Rules(order="contiguous", first=1, finished=True)
    others = [truth.view()] if known_before else []
    if not follower.anomalies("reader", None):
        assert not [a for a in check([*whole, *others], None, rules) if a.view == "reader"]


def _said(raw: bytes) -> tuple[str, str]:
    event = next(block.event for block in parse(raw) if block.event is not None)
    return event.type, event.data
