"""The default pipeline: a simulated résumé optimisation that looks like the real thing.

A demonstration needs a job that runs by itself, with every event type, in half a minute. It knows
how long the texts are and nothing else about them; what it "finds" is invented. The whole log is
a table, so event n is the same on every instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..events import COMPLETED, RUNNING, STARTED
from ..payloads import Emission, ending
from .base import Step

#: Waits between events in turn, seconds at time scale 1: uneven, as real work is; 0.6 on average.
WAITS_S: Final = (0.3, 0.6, 0.9, 0.4, 0.8, 0.5, 0.7)

#: Once in the run an agent "does not answer" for this long; readers then see an `error`.
STALL_S: Final = 1.8

_READER: Final = "resume_reader"
_ANALYST: Final = "job_analyst"
_WRITER: Final = "bullet_writer"


class ResumePipeline:
    """One simulated optimisation. `time_scale` multiplies every wait: 0.1 is ten times as fast."""

    def __init__(self, resume_words: int, job_words: int, time_scale: float) -> None:
        self._resume_words = resume_words
        self._job_words = job_words
        self._time_scale = time_scale

    def steps(self, head: int) -> Iterator[Step]:
        """One event a step, the last two in one."""
        log = self._log()
        for n, emission in enumerate(log, start=1):
            if n > head:
                yield Step(self._wait_s(n, emission), (emission,))
        if head <= len(log):
            yield Step(self._wait_s(len(log) + 1, log[-1]), ending(COMPLETED))

    def _wait_s(self, n: int, emission: Emission) -> float:
        if n == 1:
            return 0.0
        wait_s = STALL_S if emission.type == "error" else WAITS_S[n % len(WAITS_S)]
        return wait_s * self._time_scale

    def _log(self) -> list[Emission]:
        """Everything before the end."""
        return [
            Emission("job_status", {"status": STARTED}),
            *self._reading(),
            *self._matching(),
            *_rewriting(),
            *_reviewing(),
        ]

    def _reading(self) -> list[Emission]:
        words = self._resume_words
        return [
            _progress("read", 0, 6),
            _says(_READER, f"Reading the résumé: {words} words, sections first …"),
            Emission("job_status", {"status": RUNNING}),
            _metric("resume_words", words, "words"),
            _progress("read", 60, 2),
            _insight("structure", "low", "The sections stand in the usual order."),
            _validation("contact_section", "pending", "Looking for a way to reach the person."),
            _validation("contact_section", "passed", "There is one; it is not shown here."),
            _progress("read", 100, None),
        ]

    def _matching(self) -> list[Emission]:
        words = self._job_words
        source = f"a job advertisement of {words} words" if words else "typical advertisements"
        return [
            _progress("match", 10, 6),
            _says(_ANALYST, f"Comparing with {source}: skills, level, language …"),
            _metric("ats_score", 54, "points"),
            _insight("keywords", "high", "Three of the ten most wanted skills are not named."),
            _progress("match", 50, 3),
            Emission(
                "error",
                {
                    "code": "agent_timeout",
                    "message": "The analyst took too long to answer; asking again.",
                    "retryable": True,
                },
            ),
            _says(_ANALYST, "Second attempt: the match is complete → five suggestions."),
            _metric("keyword_coverage", 0.7, "ratio"),
            _progress("match", 100, None),
        ]


def _rewriting() -> list[Emission]:
    return [
        _progress("rewrite", 0, 7),
        _says(_WRITER, "Rewriting bullet points: a verb first, a result last."),
        _diff(
            "experience",
            "Responsible for reports",
            "Automated the monthly reports and cut their preparation from days to hours",
        ),
        _metric("ats_score", 66, "points"),
        _progress("rewrite", 40, 4),
        _diff(
            "experience",
            "Worked with other teams",
            "Led a project of four teams – from the first draft to the launch",
        ),
        _insight("tone", "medium", "Passive phrases became active ones; naïve claims are gone."),
        _metric("ats_score", 74, "points"),
        _progress("rewrite", 80, 2),
        _diff("skills", "Languages: some", "Languages: English (fluent), français (working)"),
        _progress("rewrite", 100, None),
    ]


def _reviewing() -> list[Emission]:
    return [
        _progress("review", 20, 4),
        _validation("length", "pending", "Counting pages."),
        _validation("length", "passed", "Fits on two pages."),
        _says(_READER, "Last look: spelling, dates, consistency – all good ✓"),
        _validation("facts_unchanged", "pending", "Comparing every fact with the original."),
        _metric("ats_score", 87, "points"),
        _validation("facts_unchanged", "passed", "Nothing was invented."),
        _insight("summary", "medium", "The strongest result now stands at the top."),
        _progress("review", 100, None),
    ]


def _progress(step: str, pct: int, eta_seconds: int | None) -> Emission:
    return Emission("step_progress", {"step": step, "pct": pct, "eta_seconds": eta_seconds})


def _says(agent: str, text: str) -> Emission:
    return Emission("agent_chunk", {"agent": agent, "text": text})


def _metric(name: str, value: float, unit: str) -> Emission:
    return Emission("metric_update", {"name": name, "value": value, "unit": unit})


def _insight(category: str, importance: str, message: str) -> Emission:
    data = {"category": category, "importance": importance, "message": message}
    return Emission("insight_emitted", data)


def _validation(rule: str, status: str, message: str) -> Emission:
    return Emission("validation_update", {"rule": rule, "status": status, "message": message})


def _diff(section: str, before: str, after: str) -> Emission:
    return Emission("diff_chunk", {"section": section, "before": before, "after": after})
