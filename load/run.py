"""One run as the process that was started sees it: curves, marks, problems, and the verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .curves import Curves
from .health import overload
from .markdown import markdown
from .page import report
from .settings import Settings
from .tally import PHASES, Whole, whole
from .verdict import Verdict, judge

RESULTS: Final = "results.json"
RUN: Final = "run.json"
PAGE: Final = "index.html"
SUMMARY: Final = "summary.md"
MARKS_MAX: Final = 500
LAST_S: Final = 0.7


@dataclass(slots=True, eq=False)
class Run:
    """A run, from its start to its verdict."""

    settings: Settings
    host: str
    began: float = field(default_factory=time.time)
    ended: float = 0.0
    problems: list[str] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    """What happened when: {"at", "label", "kind"}, in seconds since the beginning."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """What a sweep measured at each of its steps."""
    curves: Curves = field(default_factory=Curves)
    verdict: Verdict | None = None
    _tallies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _anomalies: int = 0
    _users: int = 0

    @property
    def finished(self) -> bool:
        return self.verdict is not None

    @property
    def processes(self) -> frozenset[str]:
        """Those that have sent something."""
        return frozenset(self._tallies)

    def take(self, name: str, tally: Mapping[str, Any]) -> None:
        """The newest counts of a process."""
        self._tallies[name] = tally

    def problem(self, said: str) -> bool:
        """Note what kept this from being a run; tells whether it is news."""
        if said in self.problems:
            return False
        self.problems.append(said)
        self.mark(said, "fault")
        return True

    def mark(self, label: str, kind: str = "event") -> None:
        """Something happened now, to be seen in the charts."""
        if len(self.marks) < MARKS_MAX:
            at = round(time.time() - self.began, 2)
            self.marks.append({"at": at, "label": label, "kind": kind})

    def sums(self) -> Whole:
        """All that was counted so far."""
        return whole(self._tallies)

    def tick(self, users: int) -> Whole:
        """A second has passed: draw the curves on."""
        sums = self.sums()
        self._users = users
        self.curves.add(time.time() - self.began, sums, users)
        if sums.anomalies > self._anomalies:
            more = sums.anomalies - self._anomalies
            self._anomalies = sums.anomalies
            self.mark(f"{more} more broken stream{'s' if more > 1 else ''}", "anomaly")
        return sums

    def judged(self, sums: Whole) -> Verdict:
        """The verdict on what was counted so far."""
        bound_s = self.settings.age_bound_s
        return judge(sums, self.settings.thresholds, self.problems, overload(sums, bound_s))

    def finish(self) -> Verdict:
        """Give the verdict and write the reports."""
        self.ended = time.time()
        last = self.curves.at[-1] if self.curves.at else 0.0
        # A point needs a stretch of time: rates over a few milliseconds mean nothing.
        sums = self.tick(self._users) if self.ended - self.began - last > LAST_S else self.sums()
        self.verdict = self.judged(sums)
        reports = self.settings.reports
        write_results(reports, self.verdict)
        told = self.as_json()
        write(reports / RUN, json.dumps(told, separators=(",", ":")) + "\n")
        write(reports / SUMMARY, markdown(told))
        write(reports / PAGE, report(told))
        return self.verdict

    def as_json(self) -> dict[str, Any]:
        """Everything that a page about this run shows."""
        sums = self.sums()
        verdict = self.verdict or self.judged(sums)
        bound_s = self.settings.age_bound_s
        return {
            "schema": 1,
            "state": "finished" if self.finished else "running",
            "host": self.host,
            "profile": self.settings.profile.name,
            "load": self.settings.load,
            "began": self.began,
            "seconds": (self.ended or time.time()) - self.began,
            "age_bound_s": bound_s,
            "verdict": verdict.as_json(),
            "problems": self.problems,
            "overloaded": overload(sums, bound_s),
            "counts": dict(sums.counts),
            "kinds": dict(sums.kinds),
            "faults": sums.faults,
            "age": sums.phases["event_age"].counts,
            "lag_p99_s": sums.lag.percentile(0.99),
            "health": sums.health,
            "marks": self.marks,
            "steps": self.steps,
            "capacity": capacity(self.steps),
            "curves": self.curves.as_json(),
        }

    def spoken(self) -> str:
        """The verdict for a terminal."""
        verdict = self.verdict
        assert verdict is not None
        sums = verdict.sums
        ledger = ", ".join(f"{word}: {count}" for word, count in sums.ledger.items() if count)
        lines = [
            "",
            f"{verdict.word.upper()}: {sums.judged} streams judged, {sums.counts['events']} events",
            *(f"  {reason}" for reason in verdict.reasons),
            f"  ledger: {ledger or 'empty'}",
        ]
        for phase in PHASES:
            found = sums.phases[phase].summary()
            if found["count"]:
                lines.append(
                    f"  {phase:12} p50 {_ms(found['p50'])}  p95 {_ms(found['p95'])}  "
                    f"p99 {_ms(found['p99'])}  max {_ms(found['max'])}  ({found['count']})"
                )
        if said := capacity(self.steps):
            lines.append(f"  {said}")
        lines += [f"report: {self.settings.reports / PAGE}", ""]
        return "\n".join(lines)


def capacity(steps: list[dict[str, Any]]) -> str:
    """What a sweep came to, in a sentence; "" where there was none."""
    if not steps:
        return ""
    met = [step for step in steps if step["met"]]
    missed = next((step for step in steps if not step["met"]), None)
    if not met:
        return f"Not even {steps[0]['users']} users stayed within the bounds: {steps[0]['why']}."
    best = max(met, key=lambda step: step["users"])
    held = (
        f"{best['users']} users held within the bounds: {best['live']:.0f} open streams, "
        f"{best['events']:.0f} events/s"
    )
    if missed is None:
        return f"At least {held}; the sweep ended before the knee."
    return f"Capacity: {held}. The knee is at {missed['users']} users: {missed['why']}."


def refused(reports: Path, reason: str) -> Verdict:
    """The verdict on a run that cannot begin, written."""
    verdict = judge(whole({}), (), [reason])
    write_results(reports, verdict)
    return verdict


def write_results(reports: Path, verdict: Verdict) -> None:
    """Write `results.json`."""
    reports.mkdir(parents=True, exist_ok=True)
    write(reports / RESULTS, json.dumps(verdict.as_json(), indent=2) + "\n")


def write(path: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    part.replace(path)


def _ms(seconds: float | int | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.4g} ms"
