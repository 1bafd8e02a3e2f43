"""Payload rules: each type's members, redaction on the way, and errors that tell no content."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from reference_server.payloads import SCHEMAS, Emission, PayloadError, ending, seal

STAMP = "2026-01-31T12:00:00.123456Z"

GOOD: Mapping[str, Mapping[str, object]] = {
    "job_status": {"status": "started"},
    "step_progress": {"step": "read", "pct": 0, "eta_seconds": None},
    "insight_emitted": {"category": "tone", "importance": "low", "message": ""},
    "metric_update": {"name": "score", "value": 1.5, "unit": ""},
    "validation_update": {"rule": "length", "status": "pending", "message": "é"},
    "diff_chunk": {"section": "skills", "before": "", "after": "x"},
    "agent_chunk": {"agent": "writer", "text": "🙂"},
    "error": {"code": "x", "message": "y", "retryable": True},
    "done": {"status": "completed"},
}


@pytest.mark.parametrize("event_type", SCHEMAS)
def test_each_type_accepts_its_payload(event_type: str) -> None:
    """A payload as the protocol describes it is sealed verbatim."""
    draft = seal(Emission(event_type, GOOD[event_type]), STAMP)
    assert (draft.type, draft.timestamp) == (event_type, STAMP)
    assert json.loads(draft.data) == GOOD[event_type]


@pytest.mark.parametrize("event_type", SCHEMAS)
def test_each_type_refuses_missing_and_unknown_members(event_type: str) -> None:
    """Exactly the type's members: none less, none more."""
    good = dict(GOOD[event_type])
    with pytest.raises(PayloadError):
        seal(Emission(event_type, {**good, "extra": 1}), STAMP)
    good.popitem()
    with pytest.raises(PayloadError):
        seal(Emission(event_type, good), STAMP)


@pytest.mark.parametrize(
    ("event_type", "member", "value"),
    [
        ("job_status", "status", "queued"),
        ("done", "status", "running"),
        ("step_progress", "pct", 101),
        ("step_progress", "pct", -1),
        ("step_progress", "pct", True),
        ("step_progress", "pct", float("nan")),
        ("step_progress", "eta_seconds", -1),
        ("step_progress", "step", ""),
        ("insight_emitted", "importance", "huge"),
        ("metric_update", "value", float("inf")),
        ("metric_update", "value", "1"),
        ("metric_update", "value", False),
        ("validation_update", "status", "ok"),
        ("error", "retryable", 1),
        ("agent_chunk", "text", None),
        ("agent_chunk", "text", "secret \ud800"),
    ],
)
def test_wrong_values_are_refused_without_being_repeated(
    event_type: str, member: str, value: object
) -> None:
    """The error names type and member, never what was in it."""
    with pytest.raises(PayloadError) as caught:
        seal(Emission(event_type, {**GOOD[event_type], member: value}), STAMP)
    assert event_type in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_type_is_refused() -> None:
    """Only the protocol's event types get into a log."""
    with pytest.raises(PayloadError):
        seal(Emission("heartbeat", {}), STAMP)


def test_agent_text_is_redacted_before_it_is_stored() -> None:
    """Personal data of agent chunks never reaches a draft."""
    draft = seal(Emission("agent_chunk", {"agent": "a", "text": "a@example.org, 555-1234567"}), "t")
    assert json.loads(draft.data)["text"] == "[email], [phone]"


def test_a_payload_is_one_line_of_json() -> None:
    """No raw newline can forge a line of a frame."""
    draft = seal(Emission("agent_chunk", {"agent": "a", "text": "x\n\ndata: y\r\u2028"}), STAMP)
    assert not {"\n", "\r"} & set(draft.data)


def test_an_oversized_payload_is_refused() -> None:
    """The bound is on the JSON text in octets."""
    with pytest.raises(PayloadError, match="at most"):
        seal(Emission("agent_chunk", {"agent": "a", "text": "é" * (2 * 1024 * 1024)}), STAMP)


def test_an_ending_has_the_error_first_and_done_last() -> None:
    """A failure is error, status, done; everything else status, done."""
    types = [emission.type for emission in ending("failed", error=("code", "text"))]
    assert types == ["error", "job_status", "done"]
    assert [emission.type for emission in ending("completed")] == ["job_status", "done"]
