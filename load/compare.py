"""Two runs side by side: what a change made better or worse.

    python -m load.compare before/run.json after/run.json

Prints a table in Markdown and writes a page with both runs' curves in the same charts. Exit code 0:
nothing got worse; 1: something did; 2: a file cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .charts import Line, chart, duration, number
from .page import comparison
from .run import write
from .settings import REPORTS
from .tally import CLEAN, PHASES

PAGE: Final = "compare.html"
NOISE: Final = 1.25
"""Percentiles of two runs of the same thing differ by up to so much."""
NOISE_S: Final = 0.005
"""And by so much, however small they are."""
MANY: Final = 1000
"""Of fewer values the last hundredth is chance."""
SHARES: Final = ("p50", "p95", "p99")
CURVES: Final = (
    ("live", "Open streams", "", False),
    ("events", "Events per second", "/s", False),
    ("age_p95", "Event age p95", "s", True),
    ("first_p95", "First event p95", "s", True),
)


class CompareError(Exception):
    """A file cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both runs, in words, and what became of it."""

    name: str
    before: str
    after: str
    change: str
    worse: bool = False
    better: bool = False


def load_run(path: Path) -> dict[str, Any]:
    """A run as `run.json` holds it. Raises CompareError."""
    path = path / "run.json" if path.is_dir() else path
    try:
        run = json.loads(path.read_text("utf-8"))
        if run["schema"] != 1:
            raise CompareError(f"{path}: expected schema 1, got {run['schema']!r}")
        for name in ("verdict", "curves", "host", "counts", "seconds"):
            run[name]
    except OSError as error:
        raise CompareError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CompareError(f"{path} is no run.json of a load test: {error}") from error
    found: dict[str, Any] = run
    return found


def rows(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Row]:
    """What is compared, the most important first."""
    found = [_word(before, after), _anomalies(before, after), _rate(before, after)]
    for phase in PHASES:
        for share in SHARES:
            old = before["verdict"]["percentiles"][phase][share]
            new = after["verdict"]["percentiles"][phase][share]
            if old is None and new is None:
                continue
            told = share != "p99" or min(_count(before, phase), _count(after, phase)) >= MANY
            known = old is not None and new is not None and told
            worse = known and new > old * NOISE + NOISE_S
            better = known and old > new * NOISE + NOISE_S
            name = f"{phase.replace('_', ' ')} {share}"
            change = f"x {new / old:.2f}" if old and new is not None else "–"
            found.append(Row(name, duration(old), duration(new), change, worse, better))
    return found


def _count(run: Mapping[str, Any], phase: str) -> int:
    return int(run["verdict"]["percentiles"][phase]["count"])


def _word(before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    order = ("pass", "inconclusive", "fail")
    old, new = before["verdict"]["verdict"], after["verdict"]["verdict"]
    rank = order.index(new) - order.index(old)
    return Row("verdict", old, new, "–", rank > 0, rank < 0)


def _anomalies(before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    def of(run: Mapping[str, Any]) -> int:
        return sum(n for word, n in run["verdict"]["ledger"].items() if word not in CLEAN)

    old, new = of(before), of(after)
    return Row("broken streams", number(old), number(new), f"{new - old:+d}", new > old, new < old)


def _rate(before: Mapping[str, Any], after: Mapping[str, Any]) -> Row:
    """No judgement: a closed crowd's rate follows from its users and the target's speed."""
    old, new = (run["counts"].get("events", 0) / max(run["seconds"], 1) for run in (before, after))
    change = f"x {new / old:.2f}" if old else "–"
    return Row("events per second", number(old), number(new), change)


def markdown(found: list[Row]) -> str:
    """The table, with what got worse in bold."""
    lines = ["| figure | before | after | change |", "|---|---:|---:|---:|"]
    for row in found:
        change = f"**{row.change} worse**" if row.worse else row.change
        change += " better" if row.better else ""
        lines.append(f"| {row.name} | {row.before} | {row.after} | {change} |")
    return "\n".join(lines) + "\n"


def page(before: Mapping[str, Any], after: Mapping[str, Any], found: list[Row]) -> str:
    """Both runs in the same charts, above the table."""
    figures = []
    for name, title, unit, logarithmic in CURVES:
        lines = [
            Line("before", "b", before["curves"]["at"], before["curves"][name]),
            Line("after", "a", after["curves"]["at"], after["curves"][name]),
        ]
        picture = chart(lines, title=title, unit=unit, logarithmic=logarithmic)
        figures.append({"title": title, "picture": picture})
    return comparison(before, after, found, figures)


def main() -> int:
    """Compare; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m load.compare", description=__doc__)
    parser.add_argument("before", type=Path, help="run.json, or the folder that holds it")
    parser.add_argument("after", type=Path)
    parser.add_argument("--report-dir", type=Path, default=REPORTS, metavar="DIR")
    options = parser.parse_args()
    try:
        before, after = load_run(options.before), load_run(options.after)
    except CompareError as error:
        sys.stderr.write(f"streamgauge: {error}\n")
        return 2
    found = rows(before, after)
    sys.stdout.write(markdown(found))
    options.report_dir.mkdir(parents=True, exist_ok=True)
    write(options.report_dir / PAGE, page(before, after, found))
    print(f"\npage: {options.report_dir / PAGE}")
    return 1 if any(row.worse for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
