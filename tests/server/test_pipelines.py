"""Pipelines: logs that are pure functions of parameters and position, and scripts' bounds."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.payloads import SCHEMAS, Emission, seal
from reference_server.pipelines import FieldErrors, Pipelines
from reference_server.pipelines.scripted import ScriptedCrash
from reference_server.redaction import redact

STAMP = "2026-01-31T12:00:00.123456Z"


@dataclass(frozen=True)
class Start:
    resume_text: str = "ten words of a résumé"
    job_text: str | None = None
    pipeline: object = None


def parameters(**script: object) -> str:
    return Pipelines().parameters(Start(pipeline=script))


def log(stored: str, head: int = 0) -> list[Emission]:
    steps = Pipelines().steps(stored, head)
    return [emission for step in steps for emission in step.emissions]


def waits(stored: str, head: int = 0) -> list[float]:
    return [step.delay_s for step in Pipelines().steps(stored, head)]


SCRIPTS = st.fixed_dictionaries(
    {"events": st.integers(4, 90), "outcome": st.sampled_from(["completed", "failed"])},
    optional={
        "interval_ms": st.integers(0, 100),
        "payload_bytes": st.integers(0, 400),
        "pauses": st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50)).map(list), max_size=3),
    },
)


@given(SCRIPTS)
@settings(max_examples=60)
def test_a_scripted_log_has_the_length_and_the_frame_of_a_job(script: dict[str, object]) -> None:
    """`events` counts all; started comes first, status and done last, every payload is valid."""
    events = log(parameters(**script))
    assert len(events) == script["events"]
    assert events[0] == Emission("job_status", {"status": "started"})
    assert [event.type for event in events[-2:]] == ["job_status", "done"]
    assert {event.data["status"] for event in events[-2:]} == {script["outcome"]}
    assert (events[-3].type == "error") == (script["outcome"] == "failed")
    for event in events:
        seal(event, STAMP)


@given(SCRIPTS, st.data())
@settings(max_examples=60)
def test_a_scripted_log_goes_on_after_any_event(
    script: dict[str, object], data: st.DataObject
) -> None:
    """What comes after head n is the tail of the whole log: same script, same events."""
    stored = parameters(**script)
    whole = log(stored)
    head = data.draw(st.integers(0, len(whole) - 2))
    assert log(stored, head) == whole[head:]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_even_the_shortest_completed_script_has_an_agent_chunk(outcome: str) -> None:
    """Event 2 is an agent chunk where there is room, event 3 says running."""
    types = [event.type for event in log(parameters(events=6, outcome=outcome))]
    assert types[1] == "agent_chunk"
    assert types[2] == "job_status"
    assert [event.type for event in log(parameters(events=4))][1] == "agent_chunk"


def test_all_types_take_their_turn() -> None:
    """A script of moderate length shows every event type."""
    assert {event.type for event in log(parameters(outcome="failed"))} == set(SCHEMAS)


@pytest.mark.parametrize("count", [5, 7, 13, 20, 100, 1000])
def test_scripted_progress_never_falls_and_reaches_100(count: int) -> None:
    """Every step of a completed job ends at 100 and never goes back."""
    _check_progress(log(parameters(events=count)))


def _check_progress(events: list[Emission]) -> None:
    progress = [event.data for event in events if event.type == "step_progress"]
    steps = itertools.groupby(progress, key=lambda data: data["step"])
    for _, group in steps:
        percents = [float(str(data["pct"])) for data in group]
        assert percents == sorted(percents)
        assert percents[-1] == 100
    names = [name for name, _ in itertools.groupby(progress, key=lambda data: data["step"])]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 200, 4097, 1024 * 1024])
def test_payload_bytes_are_exact(size: int) -> None:
    """The text has exactly so many UTF-8 octets, and redaction finds nothing in it."""
    texts = [
        str(event.data["text"])
        for event in log(parameters(events=23, payload_bytes=size))
        if event.type == "agent_chunk"
    ]
    assert len(texts) == 4
    for text in texts:
        assert len(text.encode()) == size
        assert redact(text) == text
    if size >= 200:
        assert not all(text.isascii() for text in texts)


def test_a_given_payload_is_every_chunks_text_and_is_stored_redacted() -> None:
    """`payload` replaces the filler; what is stored of it holds no personal data."""
    stored = parameters(payload="mail a@example.org\nid: 7")
    texts = {str(e.data["text"]) for e in log(stored) if e.type == "agent_chunk"}
    assert texts == {"mail [email]\nid: 7"}
    assert "example" not in stored
    assert log(parameters(payload=""))[1].data["text"] == ""


def test_intervals_and_pauses_stand_between_events() -> None:
    """Nothing is waited for before event 1 but a pause 0; pauses add up, after their event."""
    stored = parameters(events=6, interval_ms=100, pauses=[[0, 500], [2, 1000], [2, 1], [5, 250]])
    assert waits(stored) == pytest.approx([0.5, 0.1, 1.101, 0.1, 0.35])
    assert waits(stored, 3) == pytest.approx([0.1, 0.35])


def test_crash_at_breaks_after_its_event() -> None:
    """Events up to n are given out, then the pipeline raises; also when it is resumed there."""
    stored = parameters(crash_at=7)
    steps = Pipelines().steps(stored, 0)
    given_out = [next(steps) for _ in range(7)]
    assert len(given_out) == 7
    with pytest.raises(ScriptedCrash):
        next(steps)
    with pytest.raises(ScriptedCrash):
        next(Pipelines().steps(stored, 7))


@pytest.mark.parametrize(
    ("script", "pointer"),
    [
        ([], "/pipeline"),
        ("x", "/pipeline"),
        ({"event": 5}, "/pipeline/event"),
        ({"a/b~": 5}, "/pipeline/a~1b~0"),
        ({"events": 3}, "/pipeline/events"),
        ({"events": 100_001}, "/pipeline/events"),
        ({"events": True}, "/pipeline/events"),
        ({"events": 20.0}, "/pipeline/events"),
        ({"events": None}, "/pipeline/events"),
        ({"interval_ms": -1}, "/pipeline/interval_ms"),
        ({"interval_ms": float("nan")}, "/pipeline/interval_ms"),
        ({"interval_ms": False}, "/pipeline/interval_ms"),
        ({"interval_ms": 10**400}, "/pipeline/interval_ms"),
        ({"events": 100, "interval_ms": 40_000}, "/pipeline/interval_ms"),
        ({"payload_bytes": 1024 * 1024 + 1}, "/pipeline/payload_bytes"),
        ({"payload_bytes": "1"}, "/pipeline/payload_bytes"),
        ({"events": 100_000, "payload_bytes": 40_000}, "/pipeline/payload_bytes"),
        ({"outcome": "canceled"}, "/pipeline/outcome"),
        ({"outcome": None}, "/pipeline/outcome"),
        ({"payload": 5}, "/pipeline/payload"),
        ({"payload": "\ud800"}, "/pipeline/payload"),
        ({"payload": "é" * (256 * 1024 + 1)}, "/pipeline/payload"),
        ({"events": 10_000, "payload": "x" * 512 * 1024}, "/pipeline/payload"),
        ({"pauses": {}}, "/pipeline/pauses"),
        ({"pauses": [[1]]}, "/pipeline/pauses/0"),
        ({"pauses": [[1, 5], [21, 5]]}, "/pipeline/pauses/1/0"),
        ({"pauses": [[-1, 5]]}, "/pipeline/pauses/0/0"),
        ({"pauses": [[1, True]]}, "/pipeline/pauses/0/1"),
        ({"pauses": [[1, 3_600_000]]}, "/pipeline/pauses"),
        ({"crash_at": 0}, "/pipeline/crash_at"),
        ({"crash_at": 19}, "/pipeline/crash_at"),
        ({"crash_at": True}, "/pipeline/crash_at"),
    ],
)
def test_every_bound_gives_a_field_error(script: object, pointer: str) -> None:
    """A script outside the protocol's bounds is refused with a pointer to the member."""
    with pytest.raises(FieldErrors) as caught:
        Pipelines().validate_script(script)
    assert pointer in [where for where, _ in caught.value.errors]


def test_all_faults_are_reported_at_once() -> None:
    """Somebody who made two mistakes learns of both."""
    with pytest.raises(FieldErrors) as caught:
        Pipelines().validate_script({"events": 1, "outcome": 1, "x": 1})
    assert len(caught.value.errors) == 3


def test_the_bounds_themselves_are_allowed() -> None:
    """Each greatest value passes."""
    for script in (
        {},
        {"events": 4},
        {"events": 100_000, "interval_ms": 36},
        {"payload_bytes": 1024 * 1024},
        {"payload": "x" * 512 * 1024, "crash_at": None},
        {"pauses": [[0, 1], [20, 0.5]], "crash_at": 18},
    ):
        Pipelines().validate_script(script)


def test_the_default_pipeline_is_a_believable_job() -> None:
    """About 40 events of all types, 20 to 30 s, never silent for more than 2 s, steps complete."""
    stored = Pipelines().parameters(Start())
    events = log(stored)
    assert 35 <= len(events) <= 45
    assert {event.type for event in events} == set(SCHEMAS)
    assert 20 <= sum(waits(stored)) <= 30
    assert max(waits(stored)) <= 2
    assert waits(stored)[0] == 0
    _check_progress(events)
    errors = [event for event in events if event.type == "error"]
    assert [error.data["retryable"] for error in errors] == [True]
    assert len({e.data["agent"] for e in events if e.type == "agent_chunk"}) == 3
    scores = [
        float(str(e.data["value"]))
        for e in events
        if e.type == "metric_update" and e.data["name"] == "ats_score"
    ]
    assert scores == sorted(scores)
    for event in events:
        seal(event, STAMP)


def test_the_default_pipeline_goes_on_after_any_event() -> None:
    """It too is a pure function of parameters and position."""
    stored = Pipelines().parameters(Start(job_text="a job"))
    whole = log(stored)
    for head in range(len(whole) - 1):
        assert log(stored, head) == whole[head:]
    assert log(stored, len(whole)) == []


def test_parameters_hold_facts_and_never_the_text() -> None:
    """The résumé does not get into the store."""
    stored = Pipelines().parameters(Start(resume_text="Jane Doe, Springfield", job_text="secret"))
    assert json.loads(stored) == {"kind": "resume", "resume_words": 3, "job_words": 1}


def test_the_time_scale_multiplies_the_default_pipelines_waits() -> None:
    """0.1 is ten times as fast."""
    stored = Pipelines().parameters(Start())
    fast = sum(step.delay_s for step in Pipelines(time_scale=0.1).steps(stored, 0))
    assert fast == pytest.approx(sum(waits(stored)) / 10)


def test_parameters_of_an_unknown_kind_are_an_error() -> None:
    """A job that another version started is not silently run as something else."""
    with pytest.raises(ValueError, match="known kind"):
        Pipelines().steps('{"kind":"later"}', 0)
