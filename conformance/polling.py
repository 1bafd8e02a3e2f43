"""The pages that the run fetched by polling, and why one that was due did not come.

All checks of POLL look at the same pages and have to tell a refusal from a network that failed.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamgauge.check import Run
from streamgauge.recording import Recording

from .finals import unanswered


def pages(run: Run, *scenarios: str) -> Iterator[Recording]:
    """All whole pages that were fetched by polling, oddly asked ones left out."""
    for name in scenarios:
        for recording in run.bundle(name).recordings if name in run.evidence.bundles else ():
            body = recording.json
            polled = isinstance(body, dict) and "has_more" in body
            if recording.status == 200 and polled and not recording.label.startswith("malformed"):
                yield recording


def refusal(recording: Recording) -> str:
    """Why a well-formed poll brought no page, "" where it did or nobody can be blamed."""
    if not recording.answered:
        return unanswered(recording)
    if recording.status != 200:
        return f"status {recording.status} instead of 200"
    if not isinstance(recording.json, dict) or not isinstance(recording.json.get("events"), list):
        return "the body has no list of events"
    return ""
