"""The benchmark's arithmetic: samples by round, ratios within a round, budgets, medians.

Pure, so that it can be tested without measuring anything. A ratio is always formed within its
round, because a round's two sides met the same neighbours on the machine; the median is taken over
rounds afterwards.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Key(NamedTuple):
    """One figure of one subject."""

    name: str
    subject: str
    unit: str


@dataclass(slots=True)
class Samples:
    """What was measured: one number per key and round."""

    values: dict[Key, dict[int, float]] = field(default_factory=dict)

    def add(self, turn: int, name: str, subject: str, unit: str, value: float) -> None:
        """Note a number of this round."""
        self.values.setdefault(Key(name, subject, unit), {})[turn] = value

    def ratios(self, name: str, subject: str, against: str) -> list[float]:
        """One number against another, in each round that has both; none against nothing."""
        upper, lower = self._of(name, subject), self._of(name, against)
        return [
            upper[turn] / lower[turn] for turn in sorted(upper.keys() & lower.keys()) if lower[turn]
        ]

    def rounds(self, name: str, subject: str) -> list[float]:
        """A figure's numbers in the order of rounds."""
        return [value for _, value in sorted(self._of(name, subject).items())]

    def names(self) -> list[str]:
        """The figures, in the order in which they were measured."""
        return list(dict.fromkeys(key.name for key in self.values))

    def figures(self) -> list[dict[str, object]]:
        """As `results.json` has them."""
        return [
            {**key._asdict(), **_spread(list(values.values()))}
            for key, values in self.values.items()
        ]

    def _of(self, name: str, subject: str) -> dict[int, float]:
        for key, values in self.values.items():
            if key.name == name and key.subject == subject:
                return values
        return {}


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on one subject's figure, or on its ratio to another one's."""

    figure: str
    subject: str
    at_most: float | None = None
    at_least: float | None = None
    against: str = ""
    """"" for the figure itself."""

    @property
    def name(self) -> str:
        what = f"{self.figure}: {self.subject}"
        against = f" against {self.against}" if self.against else ""
        return f"{what}{against}, at {'most' if self.at_least is None else 'least'}"

    def judged(self, samples: Samples) -> dict[str, object] | None:
        """As `results.json` has it; None where one of its sides was not measured."""
        if self.against:
            values = samples.ratios(self.figure, self.subject, self.against)
        else:
            values = samples.rounds(self.figure, self.subject)
        if not values:
            return None
        value = statistics.median(values)
        if self.at_least is not None:
            return _judged(self.name, value, self.at_least, value >= self.at_least)
        assert self.at_most is not None
        return _judged(self.name, value, self.at_most, value <= self.at_most)


def judged(budgets: Iterable[Budget], samples: Samples) -> list[dict[str, object]]:
    """All budgets whose sides were measured."""
    return [found for budget in budgets if (found := budget.judged(samples)) is not None]


def _judged(name: str, value: float, bound: float, met: bool) -> dict[str, object]:
    return {"name": name, "value": _rounded(value), "bound": bound, "met": met}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": _rounded(statistics.median(values)),
        "min": _rounded(min(values)),
        "max": _rounded(max(values)),
    }


def _rounded(value: float) -> float:
    """Four significant digits: more would pretend to know more."""
    return float(f"{value:.4g}")
