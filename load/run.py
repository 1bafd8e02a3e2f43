"""One run as the process that was started sees it: curves, marks, problems, and the verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from .curves import Curves
from .health import BUSY_PERCENT, overload
from .histogram import Histogram
from .markdown import markdown
from .page import report
from .settings import Settings
from .shapes import between
from .tally import PHASES, Whole, whole
from .verdict import Verdict, judge

RESULTS: Final = "results.json"
RUN: Final = "run.json"
PAGE: Final = "index.html"
SUMMARY: Final = "summary.md"
MARKS_MAX: Final = 500


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
    on_restart: Callable[[], None] = lambda: None
    """Restarts the target; called by a shape."""
    verdict: Verdict | None = None
    _best: dict[str, Histogram] | None = None
    """What was timed in the greatest step of a sweep that stayed within the bounds."""
    _tallies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _anomalies: int = 0

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
        self.curves.add(time.time() - self.began, sums, users)
        if sums.anomalies > self._anomalies:
            more = sums.anomalies - self._anomalies
            self._anomalies = sums.anomalies
            self.mark(f"{more} more broken stream{'s' if more > 1 else ''}", "anomaly")
        return sums

    def judged(self, sums: Whole) -> Verdict:
        """The verdict on what was counted so far.

        A sweep ends by breaking a bound, so what is held against them is its best step.
        """
        if self._best is not None:
            sums = replace(sums, phases=self._best)
        return judge(sums, self.settings.thresholds, self.problems, self.overloaded(sums))

    def overloaded(self, sums: Whole) -> list[str]:
        """Why the generator may have set the pace. A sweep is told at each step."""
        if self.steps:
            return list(self.steps[-1]["overloaded"])
        return overload(sums, self.settings.age_bound_s)

    def restart(self) -> None:
        """Restart the target now."""
        self.on_restart()

    def step(self, users: int, seconds: float, live: float, before: Whole, after: Whole) -> bool:
        """Judge a step of a sweep between two moments; tells whether it kept the bounds."""
        phases = between(before, after)
        lag = after.lag.since(before.lag)
        sums = replace(
            after,
            phases=phases,
            ledger=after.ledger - before.ledger,
            lag=lag if lag.counts else after.lag,
            health={
                name: {**health, "busy_share": float(health.get("cpu_now", 0) >= BUSY_PERCENT)}
                for name, health in after.health.items()
            },
        )
        overloaded = overload(sums, self.settings.age_bound_s)
        verdict = judge(sums, self.settings.thresholds, (), overloaded)
        age = phases["event_age"]
        met = verdict.word == "pass"
        if met:
            self._best = phases
        self.steps.append(
            {
                "users": users,
                "live": live,
                "events": (after.counts["events"] - before.counts["events"]) / seconds,
                "age_p50": age.percentile(0.5),
                "age_p95": age.percentile(0.95),
                "age_p99": age.percentile(0.99),
                "anomalies": sums.anomalies,
                "met": met,
                "why": "" if met else verdict.reasons[0],
                "overloaded": overloaded,
            }
        )
        return met

    def finish(self) -> Verdict:
        """Give the verdict and write the reports."""
        self.ended = time.time()
        # The last moments, in which all streams are cut, say nothing about the target.
        sums = self.sums() if self.curves.at else self.tick(0)
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
            "overloaded": self.overloaded(sums),
            "counts": dict(sums.counts),
            "kinds": dict(sums.kinds),
            "faults": sums.faults,
            "age": sums.phases["event_age"].counts,
            "lag_p95_s": sums.lag.percentile(0.95),
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
