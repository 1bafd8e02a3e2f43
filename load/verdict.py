"""What a run comes to: thresholds, one verdict, its reasons, and the exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from .histogram import SHARES
from .tally import PHASES, WORDS, Whole

SCHEMA: Final = 1
EXAMPLES_MAX: Final = 3
EXIT: Final = {"pass": 0, "fail": 1, "error": 2, "inconclusive": 3}
_THRESHOLD: Final = re.compile(
    r"\s*(?P<phase>[a-z_]+)\.(?P<share>p[\d.]+|max)\s*<\s*(?P<bound>\d+(\.\d+)?)\s*(s)?\s*"
)


class ThresholdError(ValueError):
    """A threshold cannot be understood; the message says what one looks like."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound on a percentile of a phase, in seconds. The value has to stay below it."""

    phase: str
    share: str
    bound: float

    @property
    def name(self) -> str:
        return f"{self.phase}.{self.share}"

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """Read "event_age.p95<1". Raises ThresholdError."""
        found = _THRESHOLD.fullmatch(text)
        shares = (*SHARES, "max")
        if not found or found["phase"] not in PHASES or found["share"] not in shares:
            raise ThresholdError(
                f'expected PHASE.PERCENTILE<SECONDS such as "event_age.p95<1" with a phase of '
                f"{', '.join(PHASES)} and one of {', '.join(shares)}, got {text!r}"
            )
        return cls(found["phase"], found["share"], float(found["bound"]))


@dataclass(frozen=True, slots=True)
class Judged:
    """A threshold and what was measured."""

    name: str
    value: float | int | None
    bound: float | int
    met: bool

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "bound": self.bound, "met": self.met}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a run."""

    word: str
    """pass, fail or inconclusive."""
    exit_code: int
    reasons: tuple[str, ...]
    thresholds: tuple[Judged, ...]
    sums: Whole = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """`results.json`, complete."""
        return {
            "schema": SCHEMA,
            "verdict": self.word,
            "reasons": list(self.reasons),
            "streams": self.sums.streams,
            "thresholds": [judged.as_json() for judged in self.thresholds],
            "ledger": {word: self.sums.ledger[word] for word in WORDS},
            "percentiles": {phase: self.sums.phases[phase].summary() for phase in PHASES},
        }


def judge(
    sums: Whole,
    thresholds: Sequence[Threshold],
    problems: Sequence[str] = (),
    overloaded: Sequence[str] = (),
) -> Verdict:
    """Weigh what was counted.

    Args:
        sums: of all processes.
        thresholds: beside the one that always holds, no anomaly.
        problems: what kept the run from being one: nobody there, a worker that died.
        overloaded: why the generator may have set the pace.
    """
    judged = [Judged("anomalies", sums.anomalies, 0, sums.anomalies == 0)]
    for threshold in thresholds:
        value = sums.phases[threshold.phase].summary()[threshold.share]
        met = value is not None and value < threshold.bound
        judged.append(Judged(threshold.name, value, threshold.bound, met))
    missed = [each for each in judged if not each.met and each.value is not None]
    unknown = [each for each in judged if each.value is None]
    reasons = [_said(each) for each in missed]
    if sums.anomalies:
        # One example of each kind says more than three of one.
        examples = {(each["word"], each["message"]): each for each in reversed(sums.faults)}
        reasons += [
            f"{each['word']}: {each['message']} (job {each['job']})"
            for each in list(reversed(examples.values()))[:EXAMPLES_MAX]
        ]
    reasons += problems
    if not sums.judged:
        stopped = sums.ledger["stopped"]
        reasons.append(f"no stream was judged to its end ({stopped} were stopped by the run's)")
    elif unknown:
        reasons += [f"{each.name}: nothing was measured" for each in unknown]
    if sums.anomalies:
        word, code = "fail", EXIT["fail"]
    elif problems:
        word, code = "inconclusive", EXIT["error"]
    elif not sums.judged:
        word, code = "inconclusive", EXIT["inconclusive"]
    elif missed:
        word, code = "fail", EXIT["fail"]
    elif unknown or overloaded:
        word, code = "inconclusive", EXIT["inconclusive"]
    else:
        word, code = "pass", EXIT["pass"]
    reasons += [f"the generator was overloaded: {said}" for said in overloaded]
    if word == "pass":
        reasons.append(f"{sums.judged} streams were judged, none with an anomaly")
    return Verdict(word, code, tuple(reasons), tuple(judged), sums)


def _said(judged: Judged) -> str:
    if judged.name == "anomalies":
        return f"{judged.value} streams have an anomaly"
    return f"{judged.name} is {judged.value} s, not below {judged.bound:g} s"
