"""What a real browser saw of a stream, held against the log that it should have assembled."""

from __future__ import annotations

from typing import Any

from streamgauge.check import Run
from streamgauge.verdict import Broken, Found, Unable

from .reading import stream_log


def judge_browser(run: Run, judged: int, said: list[str]) -> Found:
    """The browser's half of CORS-05, where a browser was asked for.

    Args:
        run: what was recorded.
        judged: how many answers the other half looked at.
        said: what could not be judged there.
    """
    bundle = run.evidence.bundles.get("browser")
    if bundle is None or not bundle.facts.get("asked"):
        said = [*said, "that a real browser resumes was not looked at: that takes --browser"]
        return Found(judged, "answers", "; ".join(said))
    if bundle.broken:
        raise RuntimeError(bundle.broken)
    facts: dict[str, Any] = dict(bundle.facts.get("seen") or {})
    replay = bundle.get("replay")
    if bundle.unable or not facts or replay is None:
        raise Unable(f"the headers are right, but no browser tried: {bundle.unable}")
    asked = [r for r in bundle.facts.get("requests", ()) if r["method"] == "GET"]
    name = bundle.facts.get("browser", "the browser")
    log = [(e.type, e.text, e.id) for e in stream_log(replay, run.profile)]
    seen = [tuple(e) for e in facts["seen"] if e[0] not in run.profile.control_events]
    if not asked:
        raise Unable(f"{name} never asked for the stream ({facts['why']})")
    if not seen and facts["why"] == "closed":
        raise Broken(
            f"the EventSource of {name}, on a page of {run.profile.api.origin}, gave up: it was "
            f"not allowed to read the answer ({asked[-1]['status']})",
            replay,
            count=judged,
            what="answers",
        )
    if len(log) < 3 or not seen:
        raise Unable(
            f"{name} saw {len(seen)} of {len(log)} events before its connection was cut: too few "
            "to resume from"
        )
    if len(asked) < 2:
        raise Unable(f"{name} did not come back in time after it was cut off ({facts['why']})")
    if seen != log:
        pairs = enumerate(zip(seen, log, strict=False))
        at = next((n for n, (a, b) in pairs if a != b), min(len(seen), len(log)))
        got = f"id {seen[at][2]!r} ({seen[at][0]})" if at < len(seen) else "nothing"
        due = f"id {log[at][2]!r} ({log[at][0]})" if at < len(log) else "nothing"
        raise Broken(
            f"{name} was cut off and came back with Last-Event-ID {asked[1]['cursor']!r} (answered "
            f"{asked[1]['status']}), but its log is not the log: as event {at + 1} it has {got}, "
            f"due is {due}",
            replay,
            count=judged,
            what="answers",
        )
    if not asked[0]["cut"] or not asked[1]["cursor"]:
        raise Unable(f"{name} was not cut off in mid-stream: it had no id to come back with")
    said = [
        *said,
        f"{name} was cut off, came back with Last-Event-ID {asked[1]['cursor']} and has all "
        f"{len(log)} events",
    ]
    return Found(judged + len(log), "answers and events", "; ".join(said))
