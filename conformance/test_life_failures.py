"""LIFE: a job that fails says why, in a code for programs and without its own insides.

Only the error event tells the reader's page what to say, and what it shows of the program that
failed (a traceback, a path) helps nobody but an attacker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from streamgauge.check import Run, check
from streamgauge.recording import Recording
from streamgauge.verdict import Broken, Found, Inapplicable, Unable

from .reading import Seen, exhibit
from .states import final_status
from .stories import all_stories, fullest_view, how_long, terminal_places, whole_logs

CODE = re.compile(r"\S{1,100}")
INTERNALS = (
    (re.compile(r"Traceback \(most recent|File \"[^\"]+\", line \d+"), "a Python traceback"),
    (re.compile(r"(?m)^\s*at [\w.$<>/]+ ?\(?.*:\d+\)?|goroutine \d+ \["), "a stack trace"),
    (
        re.compile(r"\b[\w.]*\w\.py\b|[/\\][\w.-]+\.(?:js|ts|go|rs|java|rb|php|cs)\b"),
        "a source file",
    ),
    (
        re.compile(r"(?<![\w/.])/(?:home|usr|var|opt|app|srv|etc|root|tmp|work|src|Users)/\S+"),
        "a file path",
    ),
    (re.compile(r"\b[A-Za-z]:\\\w"), "a file path"),
    (
        re.compile(
            r"\b[A-Z]\w+(?:Error|Exception)\b|\b(?:[A-Z][a-z0-9]+)+(?:Crash|Failure|Timeout|Exit)\b"
            r"|\b[A-Z]\w+\([\'\"]|\bobject at 0x[0-9a-f]+"
        ),
        "an exception's name",
    ),
)


@check("LIFE-04", "endings")
def test_a_failing_job_says_why_and_ends(run: Run) -> Found:
    """If a job fails, then an error event with a code and without internals precedes its end."""
    if "error" not in run.profile.events.names:
        raise Inapplicable(f"the profile {run.profile.name!r} names no error events")
    if not run.shaped:
        return _natural_failures(run)
    bundle = run.bundle("endings")
    judged, missing = 0, []
    for name, asked in (("failed", None), ("crashed", 30)):
        best = fullest_view(run, bundle, name)
        if best is None:
            missing.append(f"the {name} job was not seen")
            continue
        recording, log = best
        status = final_status(log, run.profile)
        if status == "completed" and (asked is None or len(log) >= asked):
            missing.append(f"the job that was asked to be {name} completed")
            continue
        _require_said(run, recording, log, name)
        judged += 1
    if not judged:
        raise Unable(bundle.unable or "; ".join(missing))
    return Found(judged, "failed jobs", "; ".join(missing))


def _require_said(run: Run, recording: Recording, log: Sequence[Seen], name: str) -> None:
    what = {"count": 1, "what": "failed jobs"}
    ends = terminal_places(log, run.profile)
    errors = [n for n, event in enumerate(log) if event.type == "error"]
    if not ends:
        said = "an error event but no end" if errors else "neither an error event nor an end"
        raise Broken(
            f"the {name} job has {said}: {recording.label} shows {len(log)} events within "
            f"{how_long(recording)} and no terminal event",
            exhibit(recording, log[-1], "the last event"),
            **what,  # type: ignore[arg-type]
        )
    if not errors or errors[0] > ends[0]:
        raise Broken(
            f"the {name} job ended as {final_status(log, run.profile)!r} without an error event "
            "before its end",
            exhibit(recording, log[ends[0]], "the end"),
            **what,  # type: ignore[arg-type]
        )
    for event in (log[n] for n in errors):
        data = event.data if isinstance(event.data, dict) else {}
        code = data.get("code")
        if not isinstance(code, str) or not CODE.fullmatch(code):
            fault = f"has no machine-readable code: {code!r}"
        elif leak := _leak(data):
            fault = f"shows {leak[0]}: {leak[1]!r}"
        else:
            continue
        raise Broken(
            f"the error event {event.id!r} of the {name} job {fault}",
            exhibit(recording, event, "the error event"),
            **what,  # type: ignore[arg-type]
        )


def _leak(data: dict[str, Any]) -> tuple[str, str] | None:
    """What of a program's inside an error's texts show; its code is a name and may be any."""
    for member, value in data.items():
        if member == "code" or not isinstance(value, str):
            continue
        for pattern, name in INTERNALS:
            if hit := pattern.search(value):
                return name, hit[0][:80]
    return None


def _natural_failures(run: Run) -> Found:
    judged = 0
    for story in all_stories(run):
        for recording, log in whole_logs(run, story)[:1]:
            if final_status(log, run.profile) == "failed":
                _require_said(run, recording, log, "target's own")
                judged += 1
    if not judged:
        raise Unable("none of the target's own jobs failed, and jobs cannot be made to fail")
    return Found(judged, "failed jobs")
