"""Servers that show what was told to them in confidence."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .model import Mutant, put


def _redacting(change: Callable[[str], str]) -> None:
    from reference_server import redaction

    put(redaction, "redact", change)


def _emails_only() -> None:
    from reference_server import redaction

    _redacting(redaction._without_emails)


def _phones_only() -> None:
    from reference_server import redaction

    _redacting(redaction._without_phones)


def _simple_patterns() -> None:
    """What one writes at first: no plus in an address, no dots in a number."""
    email = re.compile(r"\b[a-z0-9._-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.IGNORECASE)
    phone = re.compile(r"\+?\(?\d[\d ()/-]{6,}\d")
    _redacting(lambda text: phone.sub("[phone]", email.sub("[email]", text)))


def _plus_only() -> None:
    """Only the international form counts as a number."""
    from reference_server import redaction

    phone = re.compile(r"\+\d(?:[ .\-/()]{0,3}\d){6,14}")
    emails = redaction._without_emails
    _redacting(lambda text: phone.sub("[phone]", emails(text)))


def _stored_raw() -> None:
    """Streams and pages are redacted on the way out, snapshots were forgotten."""
    from reference_server import payloads
    from reference_server.api import jobs
    from reference_server.frames import FrameEncoder
    from reference_server.redaction import redact

    put(payloads, "redact", lambda text: text)
    script = __import__("reference_server.pipelines.script", fromlist=["Script"])
    if hasattr(script, "redact"):
        put(script, "redact", lambda text: text)
    event = FrameEncoder.event

    def clean(it: Any) -> Any:
        data = json.loads(it.data)
        if it.type != "agent_chunk" or redact(data["text"]) == data["text"]:
            return it
        from reference_server.events import to_json

        return dataclasses.replace(it, data=to_json({**data, "text": redact(data["text"])}))

    put(FrameEncoder, "event", lambda self, it: event(self, clean(it)))
    within = jobs._within
    put(jobs, "_within", lambda events, size: within([clean(each) for each in events], size))


def _echoing(change: Callable[[str, dict[str, Any], str, int], dict[str, Any]]) -> None:
    """Let events be made of the request: `change(type, data, resume text, place)`."""
    from reference_server.payloads import Emission
    from reference_server.pipelines import registry

    parameters, steps = registry.Pipelines.parameters, registry.Pipelines.steps

    def stored(self: registry.Pipelines, request: Any) -> str:
        told = json.loads(parameters(self, request))
        return json.dumps({**told, "said": request.resume_text})

    def echoed(self: registry.Pipelines, text: str, head: int) -> Iterator[Any]:
        said = json.loads(text).get("said", "")
        place = head
        for step in steps(self, text, head):
            emissions = []
            for each in step.emissions:
                place += 1
                emissions.append(
                    Emission(each.type, change(each.type, dict(each.data), said, place))
                )
            yield dataclasses.replace(step, emissions=tuple(emissions))

    registry.Pipelines.parameters = stored  # type: ignore[method-assign]
    registry.Pipelines.steps = echoed  # type: ignore[method-assign]


def _in_diffs(kind: str, data: dict[str, Any], said: str, _place: int) -> dict[str, Any]:
    return {**data, "before": said[:60]} if kind == "diff_chunk" else data


def _in_errors(kind: str, data: dict[str, Any], said: str, _place: int) -> dict[str, Any]:
    return {**data, "message": f"could not parse {said[:80]!r}"} if kind == "error" else data


def _in_pieces(kind: str, data: dict[str, Any], said: str, place: int) -> dict[str, Any]:
    """Events 5 and 11 of a script are insights."""
    start = 0 if place < 11 else 16
    return {**data, "message": said[start : start + 16]} if kind == "insight_emitted" else data


MUTANTS: list[Mutant] = [
    Mutant(
        name="priv-raw-text",
        breaks=("PRIV-01",),
        patch=partial(_redacting, lambda text: text),
        about="Agent text is stored and sent as it is.",
    ),
    Mutant(
        name="priv-emails-only",
        breaks=("PRIV-01",),
        patch=_emails_only,
        about="E-mail addresses are redacted, phone numbers are not.",
    ),
    Mutant(
        name="priv-phones-only",
        breaks=("PRIV-01",),
        patch=_phones_only,
        about="Phone numbers are redacted, e-mail addresses are not.",
    ),
    Mutant(
        name="priv-simple-patterns",
        breaks=("PRIV-01",),
        patch=_simple_patterns,
        about="The patterns know neither a plus in an address nor dots in a number.",
    ),
    Mutant(
        name="priv-international-only",
        breaks=("PRIV-01",),
        patch=_plus_only,
        about="Only phone numbers with a plus are redacted.",
    ),
    Mutant(
        name="priv-raw-snapshots",
        breaks=("PRIV-01",),
        follows=("REPLAY-12", "SNAP-03", "SNAP-05", "POLL-02"),
        patch=_stored_raw,
        about="Streams and pages are redacted when they are sent, snapshots are not.",
    ),
    Mutant(
        name="priv-echo-in-diffs",
        breaks=("PRIV-02",),
        follows=("PRIV-01",),
        patch=partial(_echoing, _in_diffs),
        about="Diffs quote the resume.",
    ),
    Mutant(
        name="priv-echo-in-errors",
        breaks=("PRIV-02",),
        follows=("PRIV-01", "LIFE-04"),
        patch=partial(_echoing, _in_errors),
        about="Errors quote the resume.",
    ),
    Mutant(
        name="priv-echo-in-pieces",
        breaks=("PRIV-02",),
        follows=("PRIV-01",),
        patch=partial(_echoing, _in_pieces),
        about="Insights quote the resume, a few characters in each.",
    ),
]
