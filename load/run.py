"""One run as the process that was started sees it: curves, marks, problems, and the verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .health import overload
from .settings import Settings
from .tally import PHASES, Whole, whole
from .verdict import Verdict, judge

RESULTS: Final = "results.json"


@dataclass(slots=True, eq=False)
class Run:
    """A run, from its start to its verdict."""

    settings: Settings
    host: str
    began: float = field(default_factory=time.time)
    problems: list[str] = field(default_factory=list)
    verdict: Verdict | None = None
    _tallies: dict[str, Mapping[str, Any]] = field(default_factory=dict)

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
        return True

    def sums(self) -> Whole:
        """All that was counted so far."""
        return whole(self._tallies)

    def tick(self, users: int) -> None:
        """A second has passed."""

    def finish(self) -> Verdict:
        """Give the verdict and write the reports."""
        sums = self.sums()
        settings = self.settings
        self.verdict = judge(
            sums, settings.thresholds, self.problems, overload(sums, settings.age_bound_s)
        )
        self._write(self.verdict)
        return self.verdict

    def _write(self, verdict: Verdict) -> None:
        write_results(self.settings.reports, verdict)

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
        lines += [f"report: {self.settings.reports / RESULTS}", ""]
        return "\n".join(lines)


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
