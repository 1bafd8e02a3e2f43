"""Each anomaly is found, named as it is defined, and not found where it is not.

`ten` is a finished job of ten events; views of it are written as sequences of their numbers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from streamgauge.history import Anomaly, Entry, Gap, Rules, View, canonical, check
from streamgauge.history.model import IDS_MAX, Kind, Order

LAST = 10


def entry(number: int, at: float | None = None, **changes: Any) -> Entry:
    """Event `number` of the job: emitted at that second, arriving a hundredth later."""
    terminal = number == LAST
    kind = "done" if terminal else "step_progress"
    key = (kind, f"2026-01-31T12:00:{number:02}Z", canonical({"n": number}))
    arrival = number + 0.01 if at is None else at
    return replace(Entry(str(number), key, arrival, number * 4096, terminal), **changes)


def view(name: str, kind: Kind, numbers: Iterable[int | Entry], **more: Any) -> View:
    entries = tuple(n if isinstance(n, Entry) else entry(n) for n in numbers)
    return View(name, kind, entries, **more)


def ten(numbers: Iterable[int | Entry] = range(1, LAST + 1), **more: Any) -> View:
    """The final log, read when all was over."""
    return view("log", "poll", numbers, **{"opened_at": 20.0, "ended": True, **more})


def live(*numbers: int | Entry, **more: Any) -> View:
    return view("live", "live", numbers, **more)


def snapshot(*numbers: int | Entry, **more: Any) -> View:
    return view("snapshot", "snapshot", numbers, **more)


def named(anomalies: Sequence[Anomaly]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(anomaly.kind.value, anomaly.view, anomaly.ids) for anomaly in anomalies]


ALL = tuple(range(1, LAST + 1))
OTHER = ("step_progress", "2026-01-31T12:00:05Z", canonical({"n": "other"}))
REMADE = ("step_progress", "2026-02-01T00:00:00Z", canonical({"n": 5}))

#: name: (views, log, rules, what is found: kind, view, ids)
FAULTS: dict[str, tuple[list[View], View | None, Rules, tuple[str, str, tuple[str, ...]]]] = {
    "gap-after-cursor": (
        [view("resume", "replay", [6, 7, 8, 9, 10], after="3", ended=True)],
        ten(),
        Rules(),
        ("gap", "resume", ("4", "5")),
    ),
    "gap-at-the-start": ([live(3, 4, 5)], ten(), Rules(), ("gap", "live", ("1", "2"))),
    "gap-without-log": ([live(3, 4, 5)], None, Rules(), ("gap", "live", ("1", "2"))),
    "gap-excused-too-far": (
        [view("resume", "replay", [8, 9, 10], after="2", gaps=(Gap(0, "5"),))],
        ten(range(5, 11), gaps=(Gap(0, "5"),)),
        Rules(),
        ("gap", "resume", ("5", "6", "7")),
    ),
    "gap-announced-though-nothing-was-pruned": (
        [view("resume", "replay", [8, 9, 10], after="5", gaps=(Gap(0, "8"),))],
        ten(),
        Rules(),
        ("gap", "resume", ("6", "7")),
    ),
    "gap-inside": (
        [live(1, 2, 5, 6)],
        ten(),
        Rules(),
        ("gap-inside", "live", ("3", "4")),
    ),
    "gap-inside-increasing-without-log": (
        [live(2, 6, 8), view("poll", "poll", [entry(4), entry(6, 6.5)], after="2")],
        None,
        Rules("increasing"),
        ("gap-inside", "live", ("4",)),
    ),
    "gap-inside-the-log": (
        [],
        ten([1, 2, 3, 5, 6, 7, 8, 9, 10]),
        Rules(),
        ("gap-inside", "log", ("4",)),
    ),
    "gap-inside-in-opaque-order": (
        [live(entry(1, id="a"), entry(3, id="b"))],
        ten([entry(1, id="a"), entry(2, id="x"), entry(3, id="b"), entry(10, id="z")]),
        Rules("opaque"),
        ("gap-inside", "live", ("x",)),
    ),
    "duplicate": ([live(1, 2, 3, 3, 4)], ten(), Rules(), ("duplicate", "live", ("3",))),
    "duplicate-later": ([live(1, 2, 3, 4, 2, 5)], ten(), Rules(), ("duplicate", "live", ("2",))),
    "duplicate-in-the-log": (
        [live(*ALL)],
        ten([1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10]),
        Rules(),
        ("duplicate", "log", ("3",)),
    ),
    "duplicate-content": (
        [live(*range(1, 9), entry(8, id="9"))],
        ten([*range(1, 9), entry(8, id="9"), 10]),
        Rules(unique_content=True),
        ("duplicate", "log", ("8", "9")),
    ),
    "reorder": ([live(1, 2, 4, 3, 5)], ten(), Rules(), ("reorder", "live", ("4", "3"))),
    "reorder-of-the-terminal": (
        [live(1, 2, 3, 4, 5, 6, 7, 8, 10, 9, ended=True)],
        ten(),
        Rules(),
        ("reorder", "live", ("10", "9")),
    ),
    "reorder-in-the-log": (
        [live(*ALL)],
        ten([1, 3, 2, 4, 5, 6, 7, 8, 9, 10]),
        Rules(),
        ("reorder", "log", ("3", "2")),
    ),
    "cursor-regression-repeats-the-cursor": (
        [view("resume", "replay", [3, 4, 5], after="3")],
        ten(),
        Rules(),
        ("cursor-regression", "resume", ("3", "3")),
    ),
    "cursor-regression-ignores-the-cursor": (
        [view("resume", "replay", ALL, after="7", ended=True)],
        ten(),
        Rules(),
        ("cursor-regression", "resume", ("7", "1")),
    ),
    "cursor-regression-ahead-without-a-word": (
        [view("resume", "replay", ALL, after="99", ended=True)],
        ten(),
        Rules(),
        ("cursor-regression", "resume", ("99", "1")),
    ),
    "cursor-regression-begins-again": (
        [live(1, 2, 3, 1, 2, 3, 4)],
        ten(),
        Rules(),
        ("cursor-regression", "live", ("3", "1")),
    ),
    "cursor-regression-stale-snapshot": (
        [live(1, 2, 3, 4), snapshot(1, 2, 3, opened_at=5.0, current=True)],
        ten(),
        Rules(),
        ("cursor-regression", "snapshot", ("3", "4")),
    ),
    "cursor-regression-stale-empty-poll": (
        [live(1, 2, 3, 4), view("poll", "poll", [], after="2", opened_at=5.0, current=True)],
        ten(),
        Rules(),
        ("cursor-regression", "poll", ("2", "4")),
    ),
    "payload-divergence": (
        [live(*ALL), view("again", "replay", [entry(4), entry(5, key=REMADE)], after="3")],
        ten(),
        Rules(),
        ("payload-divergence", "again", ("5",)),
    ),
    "payload-divergence-without-log": (
        [live(4, 5, after="3"), view("2", "live", [entry(5, 6.0, key=OTHER)], after="4")],
        None,
        Rules(),
        ("payload-divergence", "2", ("5",)),
    ),
    "payload-divergence-within-the-log": (
        [],
        ten([1, 2, 3, 4, 5, entry(5, 6.0, key=OTHER), 6, 7, 8, 9, 10]),
        Rules(),
        ("payload-divergence", "log", ("5",)),
    ),
    "view-divergence": (
        [live(*ALL), snapshot(1, 2, 3, 4, entry(5, key=OTHER))],
        ten(),
        Rules(),
        ("view-divergence", "snapshot", ("5",)),
    ),
    "view-divergence-of-opaque-views": (
        [
            live(*(entry(n, id=i) for n, i in enumerate("abcd"))),
            view("2", "live", [entry("abcd".index(i), at=4.0, id=i) for i in "acbd"]),
        ],
        None,
        Rules("opaque"),
        ("view-divergence", "2", ("c", "b")),
    ),
    "phantom": (
        [live(1, 2, 3, 4, 5, entry(11, 5.5))],
        ten(ALL[:5], ended=False),
        Rules(finished=False),
        ("phantom", "live", ("11",)),
    ),
    "phantom-in-the-middle": (
        [live(1, 2, 3, 4, 5), view("2", "live", [1, 2, 3, 4])],
        ten([1, 2, 3, 5, 6, 7, 8, 9, 10]),
        Rules("increasing"),
        ("phantom", "live", ("4",)),
    ),
    "phantom-of-a-contiguous-log": (
        [live(1, 2, 3, 4, 5)],
        ten([1, 2, 3, 5, 6, 7, 8, 9, 10]),
        Rules(),
        ("phantom", "live", ("4",)),
    ),
    "phantom-opaque": (
        [live(entry(1, id="a"), entry(2, id="x"), entry(3, id="b"))],
        ten([entry(1, id="a"), entry(3, id="b"), entry(10, id="z")]),
        Rules("opaque"),
        ("phantom", "live", ("x",)),
    ),
    "phantom-without-a-place": (
        [live(1, 2, entry(3, id="x"))],
        ten(),
        Rules(),
        ("phantom", "live", ("x",)),
    ),
    "lost-acknowledged": (
        [live(1, 2, 3, 4), snapshot(entry(1, 4.5), entry(2, 4.5), entry(3, 4.5), entry(4, 4.5))],
        ten([1, 2, 3, 5, 6, 7, 8, 9, 10]),
        Rules(),
        ("lost-acknowledged", "snapshot", ("4",)),
    ),
    "lost-acknowledged-terminal": (
        [view("poll", "poll", [9, 10], after="8", ended=True)],
        ten(range(1, 10)),
        Rules(),
        ("lost-acknowledged", "poll", ("10",)),
    ),
    "lost-acknowledged-first": (
        [snapshot(1, 2)],
        ten(range(2, 11)),
        Rules(),
        ("lost-acknowledged", "snapshot", ("1",)),
    ),
    "after-terminal": (
        [live(*ALL, entry(11)), view("2", "live", [*ALL, entry(11)])],
        ten([*ALL, entry(11)]),
        Rules(),
        ("after-terminal", "log", ("10", "11")),
    ),
    "after-terminal-in-one-view": (
        [live(*ALL, entry(11))],
        ten(),
        Rules(),
        ("after-terminal", "live", ("10", "11")),
    ),
    "after-terminal-without-log": (
        [live(*ALL), view("2", "live", [*ALL, entry(11)])],
        None,
        Rules(),
        ("after-terminal", "2", ("10", "11")),
    ),
    "after-terminal-opaque": (
        [live(entry(1, id="a"), entry(10, id="z"), entry(11, id="y"))],
        ten([entry(1, id="a"), entry(10, id="z")]),
        Rules("opaque"),
        ("after-terminal", "live", ("z", "y")),
    ),
    "two-terminals": (
        [live(*ALL, entry(11, terminal=True))],
        ten([*ALL, entry(11, terminal=True)]),
        Rules(),
        ("two-terminals", "log", ("10", "11")),
    ),
    "two-terminals-in-one-view": (
        [live(*ALL, entry(11, terminal=True))],
        ten(),
        Rules(),
        ("two-terminals", "live", ("10", "11")),
    ),
    "never-terminated": (
        [live(*range(1, 10), ended=True)],
        ten(range(1, 10)),
        Rules(),
        ("never-terminated", "log", ("9",)),
    ),
    "never-terminated-view": (
        [live(1, 2, 3, ended=True)],
        ten(),
        Rules(),
        ("never-terminated", "live", ("3",)),
    ),
    "never-terminated-without-log": (
        [live(1, 2, 3, ended=True)],
        None,
        Rules(),
        ("never-terminated", "live", ("3",)),
    ),
    "never-terminated-empty-log": ([], ten([]), Rules(), ("never-terminated", "log", ())),
    "cross-job": (
        [live(1, 2, entry(2, 2.5, id="7", job="theirs"), 3)],
        ten(),
        Rules(job="ours"),
        ("cross-job", "live", ("7",)),
    ),
    "unsignalled-gap": (
        [view("resume", "replay", [5, 6], after="2")],
        ten(range(5, 11), gaps=(Gap(0, "5"),)),
        Rules(),
        ("unsignalled-gap", "resume", ("3", "4")),
    ),
    "unsignalled-gap-in-mid-stream": (
        [live(1, 2, 6, 7)],
        ten(range(6, 11), gaps=(Gap(0, "6"),)),
        Rules(),
        ("unsignalled-gap", "live", ("3", "4", "5")),
    ),
    "unsignalled-gap-without-log": (
        [
            view("resume", "replay", [5, 6], after="2"),
            view("honest", "replay", [5, 6], after="2", gaps=(Gap(0, "5"),)),
        ],
        None,
        Rules(),
        ("unsignalled-gap", "resume", ("3", "4")),
    ),
    "unsignalled-gap-of-the-log": (
        [view("resume", "replay", [5, 6], after="2", gaps=(Gap(0, "5"),))],
        ten(range(5, 11)),
        Rules(),
        ("unsignalled-gap", "log", ("1", "2", "3", "4")),
    ),
    "unsignalled-gap-increasing": (
        [live(1, 2), view("resume", "replay", [5, 6], after="1")],
        ten(range(5, 11), gaps=(Gap(0, "5"),)),
        Rules("increasing"),
        ("unsignalled-gap", "resume", ("2",)),
    ),
    "lag-after-emission": (
        [live(1, 2, entry(3, 4.5, emitted_at=3.0), entry(4, 4.9))],
        ten(),
        Rules(lag_limit_s=1.0),
        ("lag", "live", ("3",)),
    ),
    "lag-behind-another-reader": (
        [live(1, 2, 3), view("slow", "live", [1, 2, entry(3, 4.5)])],
        ten(),
        Rules(lag_limit_s=1.0),
        ("lag", "slow", ("3",)),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_anomaly_with_its_ids(name: str) -> None:
    """A history with one fault yields that anomaly alone, in that view, with the ids to look at."""
    views, log, rules, expected = FAULTS[name]
    found = check(views, log, rules)
    assert named(found) == [expected]
    assert name.startswith(found[0].kind.value)


#: name: (views, log, rules)
CLEAN: dict[str, tuple[list[View], View | None, Rules]] = {
    "nothing-at-all": ([], None, Rules()),
    "log-alone": ([], ten(), Rules()),
    "live-cut-short": ([live(1, 2, 3)], ten(), Rules()),
    "empty-views": ([live(), view("tail", "poll", [], after="10", ended=True)], ten(), Rules()),
    "cursor-zero": ([view("replay", "replay", ALL, after="0", ended=True)], ten(), Rules()),
    "first-is-zero": (
        [live(entry(0), 1, 2)],
        ten([entry(0), *ALL]),
        Rules(first=0),
    ),
    "window-that-claims-nothing": ([snapshot(4, 6, complete=False)], ten(), Rules()),
    "pruned-and-announced": (
        [view("resume", "replay", [5, 6], after="2", gaps=(Gap(0, "5"),))],
        ten(range(5, 11), gaps=(Gap(0, "5"),)),
        Rules(),
    ),
    "pruned-and-announced-without-log": (
        [view("resume", "replay", [5, 6], after="2", gaps=(Gap(0, "5"),))],
        None,
        Rules(),
    ),
    "overtaken-by-pruning-and-told": (
        [live(1, 2, 6, 7, gaps=(Gap(2, "6"),))],
        ten(range(6, 11), gaps=(Gap(0, "6"),)),
        Rules(),
    ),
    "read-before-it-was-pruned": (
        [live(*ALL), snapshot(1, 2, 3)],
        ten(range(6, 11), gaps=(Gap(0, "6"),)),
        Rules(),
    ),
    "opaque-read-before-it-was-pruned": (
        [live(entry(1, id="a"), entry(2, id="b"))],
        ten([entry(2, id="b"), entry(10, id="z")], gaps=(Gap(0, "b"),)),
        Rules("opaque"),
    ),
    "cursor-ahead-and-told": (
        [view("resume", "replay", ALL, after="99", ended=True, gaps=(Gap(0, "1"),))],
        ten(),
        Rules(),
    ),
    "log-of-a-running-job": (
        [live(1, 2, 3, entry(4, 21.0))],
        ten([1, 2, 3], ended=False),
        Rules(finished=False),
    ),
    "late-because-it-joined-late": (
        [view("late", "live", [entry(n, 9.0) for n in range(1, 9)], opened_at=8.99)],
        ten(),
        Rules(lag_limit_s=1.0),
    ),
    "equal-content-that-may-be": ([], ten([*range(1, 9), entry(8, id="9"), 10]), Rules()),
    "opaque-cursors-chain-views-without-log": (
        [
            live(*(entry(n, id=i) for n, i in enumerate("abc"))),
            view("2", "live", [entry(n, id=i) for n, i in enumerate("cde", 2)], after="b"),
            view("unplaced", "replay", [entry(9, id="y")], after="x"),
        ],
        None,
        Rules("opaque"),
    ),
    "log-given-as-a-view-too": ([ten()], None, Rules()),
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_history_has_no_anomaly(name: str) -> None:
    """What the target may do is not blamed."""
    views, log, rules = CLEAN[name]
    assert check(views, log, rules) == ()


def test_the_log_among_the_views_is_judged_once() -> None:
    """The same object as view and as log is one observation."""
    log = ten([1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert named(check([log], log)) == [("duplicate", "log", ("2",))]


def test_an_anomaly_tells_how_often_and_where_it_first_is() -> None:
    """Many faults of a kind in a view are one anomaly: the first, with their number."""
    (anomaly,) = check([live(1, 3, 5, 7, 9)], ten())
    assert (anomaly.kind, anomaly.ids, anomaly.count) == ("gap-inside", ("2",), 4)
    assert (anomaly.at, anomaly.offset) == (entry(3).at, entry(3).offset)


def test_two_faults_are_two_anomalies() -> None:
    """One kind of fault does not hide another, nor one view another."""
    views = [live(1, 2, 2, 4), view("2", "live", [1, entry(2, key=OTHER), 3])]
    kinds = {(anomaly.kind, anomaly.view) for anomaly in check(views, ten())}
    assert kinds == {("duplicate", "live"), ("gap-inside", "live"), ("payload-divergence", "2")}


@pytest.mark.parametrize("order", ["contiguous", "increasing"])
def test_absurd_ids_cost_neither_time_nor_memory(order: Order) -> None:
    """An id far beyond all others, or no number at all, is one anomaly and not a billion."""
    rules = Rules(order)
    started = time.perf_counter()
    for odd in (str(10**18), "9" * 5000, "-5", "01", "٣", ""):
        found = check([live(1, 2, entry(3, id=odd), entry(4, id=odd + "0"))], None, rules)
        assert all(len(anomaly.ids) <= IDS_MAX for anomaly in found)
    assert time.perf_counter() - started < 1.0


def test_canonical_data_is_equal_where_json_is() -> None:
    """The order of members and the spelling of characters are no content; types of values are."""
    assert canonical({"a": 1, "b": "é"}) == canonical({"b": "\u00e9", "a": 1})
    assert len({canonical(value) for value in (1, 1.0, True, "1", None)}) == 5


def test_many_readers_of_a_long_log_are_judged_in_seconds() -> None:
    """A hundred thousand entries are an ordinary history."""
    log = ten([*(entry(n, terminal=False) for n in range(1, 1000)), entry(1000, terminal=True)])
    views = [replace(log, name=f"{n}", kind="live") for n in range(100)]
    started = time.perf_counter()
    assert check(views, log) == ()
    assert time.perf_counter() - started < 5.0


# --- properties -----------------------------------------------------------------------------------

ids_of = {
    "contiguous": str,
    "increasing": lambda number: str(number * 7 - 3),
    "opaque": lambda number: f"e-{(number * 7919) % 1009}",
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[View], View | None, Rules]:
    """Any set of correct views of one finished job."""
    order: Order = draw(st.sampled_from(["contiguous", "increasing", "opaque"]))
    length = draw(st.integers(2, 12))

    def event(number: int, at: float) -> Entry:
        return entry(number, at, id=ids_of[order](number), terminal=number == length)

    def emitted_by(at: float) -> int:
        return min(length, max(0, int(at)))

    views: list[View] = []
    for count in range(draw(st.integers(0, 5))):
        after = draw(st.integers(0, length))
        opened = draw(st.floats(0, length + 3, allow_nan=False))
        cursor = ids_of[order](after) if after else draw(st.sampled_from([None, ""]))
        kind: Kind = draw(st.sampled_from(["live", "replay", "snapshot", "poll"]))
        more: dict[str, Any] = {"opened_at": opened}
        if kind in ("live", "replay"):
            upto = draw(st.integers(after, length))
            more |= {"after": cursor, "ended": upto == length}
        elif kind == "snapshot":
            after, upto = 0, emitted_by(opened)
            more |= {"current": True, "ended": upto == length}
        else:
            newest = max(after, emitted_by(opened))
            upto = min(newest, after + draw(st.integers(1, 5)))
            more |= {"after": cursor, "current": upto == newest, "ended": upto == length}
        entries = (event(n, max(n, opened) + 0.01) for n in range(after + 1, upto + 1))
        views.append(view(f"{kind}-{count}", kind, entries, **more))
    with_log = order == "opaque" or draw(st.booleans())
    log = ten(event(n, 30.0) for n in range(1, length + 1)) if with_log else None
    return views, log, Rules(order, lag_limit_s=1.0)


@settings(max_examples=300, deadline=None)
@given(histories())
def test_correct_views_have_no_anomaly(history: tuple[list[View], View | None, Rules]) -> None:
    """Prefixes, suffixes from any cursor, pages and concurrent readers agree with each other."""
    assert check(*history) == ()


def _at_one_entry(data: st.DataObject, views: list[View], least: int = 1) -> tuple[int, int]:
    """Which view and which entry of it is to be spoilt."""
    fit = [at for at, one in enumerate(views) if len(one.entries) >= least]
    assume(fit)
    at = data.draw(st.sampled_from(fit))
    return at, data.draw(st.integers(0, len(views[at].entries) - least))


def _spoilt(views: list[View], at: int, entries: Sequence[Entry]) -> list[View]:
    return [*views[:at], replace(views[at], entries=tuple(entries)), *views[at + 1 :]]


spoil = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


@spoil
@given(histories(), st.data())
def test_a_dropped_entry_is_a_gap(
    history: tuple[list[View], View | None, Rules], data: st.DataObject
) -> None:
    """A left-out entry is a gap; the last one only where the view says that the job is over."""
    views, log, rules = history
    assume(log is not None)
    at, index = _at_one_entry(data, views)
    entries = views[at].entries
    is_last = index == len(entries) - 1
    assume(not is_last or views[at].ended)
    found = check(_spoilt(views, at, [*entries[:index], *entries[index + 1 :]]), log, rules)
    kind = "never-terminated" if is_last else "gap-inside" if index else "gap"
    assert [(one.kind, one.view) for one in found] == [(kind, views[at].name)]
    if not is_last:
        assert found[0].ids == (entries[index].id,)


@spoil
@given(histories(), st.data())
def test_a_repeated_entry_is_a_duplicate(
    history: tuple[list[View], View | None, Rules], data: st.DataObject
) -> None:
    """An entry that one view shows again, at once or later, is a duplicate and nothing else."""
    views, log, rules = history
    at, index = _at_one_entry(data, views)
    entries = list(views[at].entries)
    place = data.draw(st.integers(index + 1, len(entries)))
    again = replace(entries[index], at=entries[place - 1].at)
    found = check(_spoilt(views, at, [*entries[:place], again, *entries[place:]]), log, rules)
    assert named(found) == [("duplicate", views[at].name, (again.id,))]


@spoil
@given(histories(), st.data())
def test_swapped_neighbours_are_a_reorder(
    history: tuple[list[View], View | None, Rules], data: st.DataObject
) -> None:
    """Two entries in the wrong order are a reorder, also with the terminal event among them."""
    views, log, rules = history
    at, index = _at_one_entry(data, views, least=2)
    entries = list(views[at].entries)
    one, two = entries[index : index + 2]
    entries[index : index + 2] = [two, replace(one, at=two.at)]
    found = check(_spoilt(views, at, entries), log, replace(rules, lag_limit_s=None))
    assert named(found) == [("reorder", views[at].name, (two.id, one.id))]


@spoil
@given(histories(), st.data(), st.sampled_from([0, 1, 2]))
def test_an_altered_entry_is_a_divergence(
    history: tuple[list[View], View | None, Rules], data: st.DataObject, part: int
) -> None:
    """An entry with another type, timestamp or data than in the log diverges, in its own view."""
    views, log, rules = history
    assume(log is not None)
    at, index = _at_one_entry(data, views)
    entries = list(views[at].entries)
    key = list(entries[index].key)
    key[part] += "'"
    entries[index] = replace(entries[index], key=(key[0], key[1], key[2]))
    found = check(_spoilt(views, at, entries), log, rules)
    assert [(one.view, one.ids) for one in found] == [(views[at].name, (entries[index].id,))]
    assert found[0].kind in ("payload-divergence", "view-divergence")
    assert ("type", "timestamp", "data")[part] in found[0].message


@spoil
@given(histories(), st.data())
def test_an_invented_entry_is_never_overlooked(
    history: tuple[list[View], View | None, Rules], data: st.DataObject
) -> None:
    """An entry whose id the log does not have is a phantom, lost, or behind the terminal."""
    views, log, rules = history
    assume(log is not None)
    at, index = _at_one_entry(data, views)
    entries = list(views[at].entries)
    entries.insert(index, replace(entries[index], id="7777"))
    found = check(_spoilt(views, at, entries), log, rules)
    assert [(one.view, one.ids[-1]) for one in found] == [(views[at].name, "7777")]
    kinds = ("phantom", "lost-acknowledged", "after-terminal", "two-terminals")
    assert found[0].kind in kinds
