"""The schema of each event type's data (protocol §2), as the suite understands it.

Written here once more, apart from any server: a shared table would share its mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Rule = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _percent(value: Any) -> bool:
    return _number(value) and 0 <= value <= 100


def _one_of(*choices: str) -> Rule:
    return lambda value: value in choices


def _or_null(rule: Rule) -> Rule:
    return lambda value: value is None or rule(value)


STATUSES: Final = ("started", "running", "completed", "failed", "canceled")

SCHEMAS: Final[dict[str, dict[str, tuple[Rule, str]]]] = {
    "job_status": {"status": (_one_of(*STATUSES), f"one of {', '.join(STATUSES)}")},
    "step_progress": {
        "step": (_text, "a string"),
        "pct": (_percent, "a number from 0 to 100"),
        "eta_seconds": (_or_null(_number), "a number or null"),
    },
    "insight_emitted": {
        "category": (_text, "a string"),
        "importance": (_one_of("low", "medium", "high"), "low, medium or high"),
        "message": (_text, "a string"),
    },
    "metric_update": {
        "name": (_text, "a string"),
        "value": (_number, "a number"),
        "unit": (_or_null(_text), "a string"),
    },
    "validation_update": {
        "rule": (_text, "a string"),
        "status": (_one_of("pending", "passed", "failed"), "pending, passed or failed"),
        "message": (_or_null(_text), "a string"),
    },
    "diff_chunk": {
        "section": (_text, "a string"),
        "before": (_or_null(_text), "a string"),
        "after": (_or_null(_text), "a string"),
    },
    "agent_chunk": {"agent": (_text, "a string"), "text": (_text, "a string")},
    "error": {
        "code": (_text, "a string"),
        "message": (_text, "a string"),
        "retryable": (lambda value: isinstance(value, bool), "true or false"),
    },
    "done": {
        "status": (
            _one_of("completed", "failed", "canceled"),
            "one of completed, failed, canceled",
        )
    },
}


def schema_fault(kind: str, data: Any) -> str:
    """What is wrong with an event's data, "" where nothing is or the type is not known here."""
    schema = SCHEMAS.get(kind)
    if schema is None:
        return ""
    if not isinstance(data, dict):
        return f"`data` is {type(data).__name__}, not an object"
    for member, (rule, expected) in schema.items():
        if member not in data:
            return f"`data` has no member {member!r}"
        if not rule(data[member]):
            return f"`data.{member}` is {data[member]!r}, not {expected}"
    return ""
