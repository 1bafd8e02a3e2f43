"""Plays a script (protocol §10), so that a test can shape a job: how many, how fast, how it ends.

Event n is computed from the script and n alone, one at a time: nothing is kept between events, so
the job goes on after any stored event, and a log of 512 MiB never stands in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from ..events import FAILED, RUNNING, STARTED
from ..payloads import Emission, ending
from .base import Step
from .script import ROTATION, Script

#: Steps in the order in which they are worked on. A short script has fewer.
STEP_NAMES: Final = ("parse", "analyse", "match", "rewrite", "review")

#: Filler without digits and "@", so that redaction leaves it alone; "é", "→" and "🙂" take two,
#: three and four octets.
_FILLER: Final = (
    "the résumé reads well → keep the verbs, trim the rest; naïve façade, größer, 日本語, 🙂 · "
).encode()

_IMPORTANCE: Final = ("low", "medium", "high")
_VALIDATION: Final = ("pending", "passed", "failed")


class ScriptedCrash(Exception):
    """What `crash_at` asks for: the pipeline breaks here."""


class ScriptedPipeline:
    """One script's log."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._pauses_ms: defaultdict[int, float] = defaultdict(float)
        for n, ms in script.pauses:
            self._pauses_ms[n] += ms
        middle = script.events - 1 - script.tail
        self._progress_total = -(-max(0, middle - 2) // len(ROTATION))

    def steps(self, head: int) -> Iterator[Step]:
        """One event a step; the final status and `done` belong together and are one step."""
        script = self._script
        for n in range(head + 1, script.events):
            if script.crash_at is not None and n > script.crash_at:
                raise ScriptedCrash("the script asks for it")
            if n == script.events - 1:
                between_ms = self._pauses_ms.get(n, 0.0)  # has to be waited for before both
                yield Step(self._delay_s(n) + between_ms / 1000, ending(script.outcome))
            else:
                yield Step(self._delay_s(n), (self._event(n),))

    def _delay_s(self, n: int) -> float:
        interval_ms = self._script.interval_ms if n > 1 else 0
        return (interval_ms + self._pauses_ms.get(n - 1, 0.0)) / 1000

    def _event(self, n: int) -> Emission:
        """Event n, anywhere before the final status."""
        script = self._script
        if n == 1:
            return Emission("job_status", {"status": STARTED})
        if script.outcome == FAILED and n == script.events - 2:
            return Emission(
                "error",
                {"code": "scripted", "message": "The script ends as failed.", "retryable": False},
            )
        if n == 2:
            return self._agent_chunk(n)
        if n == 3:
            return Emission("job_status", {"status": RUNNING})
        turn, kind = divmod(n - 4, len(ROTATION))
        return self._rotating(ROTATION[kind], turn, n)

    def _rotating(self, event_type: str, turn: int, n: int) -> Emission:
        data: dict[str, object]
        if event_type == "agent_chunk":
            return self._agent_chunk(n)
        if event_type == "step_progress":
            data = self._progress(turn)
        elif event_type == "insight_emitted":
            data = {
                "category": ("keywords", "structure", "tone")[turn % 3],
                "importance": _IMPORTANCE[turn % 3],
                "message": f"Insight {turn + 1}: naïve wording → precise wording",
            }
        elif event_type == "metric_update":
            data = {"name": "ats_score", "value": 40 + turn % 60 + 0.5, "unit": "points"}
        elif event_type == "validation_update":
            data = {
                "rule": f"rule_{turn % 7}",
                "status": _VALIDATION[turn % 3],
                "message": "Prüfung der Länge",
            }
        else:
            data = {
                "section": ("summary", "experience", "skills")[turn % 3],
                "before": f"Did task {turn}",
                "after": f"Led task {turn} “from start to finish”",
            }
        return Emission(event_type, data)

    def _progress(self, turn: int) -> dict[str, object]:
        """Progress event number `turn`: the steps share all of them evenly, each ends at 100."""
        total = self._progress_total
        count = min(len(STEP_NAMES), total)
        step = turn * count // total
        first = -(-step * total // count)
        size = -(-(step + 1) * total // count) - first
        done = turn - first + 1
        remaining_ms = (size - done) * len(ROTATION) * self._script.interval_ms
        return {
            "step": STEP_NAMES[step],
            "pct": 100 * done // size,
            "eta_seconds": remaining_ms / 1000 if done < size else None,
        }

    def _agent_chunk(self, n: int) -> Emission:
        script = self._script
        text = filler(n, script.payload_bytes) if script.payload is None else script.payload
        return Emission("agent_chunk", {"agent": ("reader", "writer")[n % 2], "text": text})


def filler(n: int, size: int) -> str:
    """Text of exactly `size` UTF-8 octets, another one for each n of a short cycle."""
    start = n * 7 % len(_FILLER)
    cycle = _FILLER[start:] + _FILLER[:start]
    octets = (cycle * (size // len(cycle) + 1))[:size]
    text = octets.decode(errors="ignore")
    return text + "." * (size - len(text.encode()))
