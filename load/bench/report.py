"""The benchmark's report: `results.json`, a table in Markdown with ratios, and a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from .figures import Samples
from .subjects import REFERENCE

_BAR_WIDTH: Final = 460
_LABEL_WIDTH: Final = 150
_ROW: Final = 18
_COLOURS: Final = {True: "#2563eb", False: "#9ca3af"}


def write(
    folder: Path,
    machine: Mapping[str, object],
    rounds: int,
    samples: Samples,
    budgets: Sequence[Mapping[str, Any]],
    remarks: Sequence[str],
) -> None:
    """Write all three into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "schema": 1,
        "machine": machine,
        "rounds": rounds,
        "figures": samples.figures(),
        "budgets": budgets,
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(machine, rounds, samples, budgets, remarks))
    (folder / "results.svg").write_text(plot(samples))


def markdown(
    machine: Mapping[str, object],
    rounds: int,
    samples: Samples,
    budgets: Sequence[Mapping[str, Any]],
    remarks: Sequence[str],
) -> str:
    """Figures by name, each subject's ratio to the reference server, and the budgets."""
    lines = [
        "# Benchmark",
        "",
        f"{machine['processor']}, {machine['processors']} processors, Python {machine['python']},"
        f" load {machine['load_average']} before, {machine['stolen_s']} s stolen by the hypervisor;"
        f" up to {rounds} rounds, medians (least to most). Ratios are formed within a round.",
    ]
    for name in samples.names():
        lines += ["", f"## {name}", "", "| subject | | least to most | against the reference |"]
        lines += ["|---|---:|---:|---:|"]
        for figure in samples.figures():
            if figure["name"] != name:
                continue
            ratios = samples.ratios(name, str(figure["subject"]), REFERENCE)
            ratio = f"{_median(ratios):.2f}" if ratios and figure["subject"] != REFERENCE else ""
            spread = f"{figure['min']:g} to {figure['max']:g}"
            value = f"{figure['median']:g} {figure['unit']}".strip()
            lines.append(f"| {figure['subject']} | {value} | {spread} | {ratio} |")
    lines += ["", "## Budgets", "", "| | value | bound | |", "|---|---:|---:|---|"]
    for budget in budgets:
        verdict = "met" if budget["met"] else "**not met**"
        lines.append(
            f"| {budget['name']} | {budget['value']:g} | {budget['bound']:g} | {verdict} |"
        )
    if remarks:
        lines += ["", "## Not measured", ""]
        lines += [f"- {remark}" for remark in remarks]
    return "\n".join(lines) + "\n"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def plot(samples: Samples) -> str:
    """Bars for every figure that has more than one subject."""
    parts: list[str] = []
    y = 0
    figures = samples.figures()
    for name in samples.names():
        rows = [figure for figure in figures if figure["name"] == name]
        if len(rows) < 2:
            continue
        y += 2 * _ROW
        parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(name)}</text>')
        most = max(float(str(row["max"])) for row in rows) or 1.0
        for row in sorted(rows, key=lambda row: float(str(row["median"]))):
            y += _ROW
            subject, value = str(row["subject"]), float(str(row["median"]))
            scale = _BAR_WIDTH / most
            colour = _COLOURS[subject.startswith(REFERENCE)]
            low, high = float(str(row["min"])) * scale, float(str(row["max"])) * scale
            parts += [
                f'<text x="{_LABEL_WIDTH - 6}" y="{y}" text-anchor="end">{escape(subject)}</text>',
                f'<rect x="{_LABEL_WIDTH}" y="{y - 11}" width="{max(value * scale, 1):.1f}"'
                f' height="13" fill="{colour}"/>',
                f'<path d="M{_LABEL_WIDTH + low:.1f} {y - 4}H{_LABEL_WIDTH + high:.1f}"'
                ' stroke="#111827"/>',
                f'<text x="{_LABEL_WIDTH + _BAR_WIDTH + 8}" y="{y}">{value:g}'
                f" {escape(str(row['unit']))}</text>",
            ]
    width, height = _LABEL_WIDTH + _BAR_WIDTH + 140, y + _ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        ' font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )
