"""A run in Markdown, for a CI job's summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .charts import duration, number


def markdown(run: Mapping[str, Any]) -> str:
    """The summary of a run, `run` as `run.json` holds it."""
    verdict = run["verdict"]
    lines = [
        f"# Load test: {verdict['verdict']}",
        "",
        *(f"- {_one_line(reason)}" for reason in verdict["reasons"]),
        "",
        f"Target `{run['host']}`, profile {run['profile']}, {run['load']}, "
        f"{duration(round(run['seconds']))}, {verdict['streams']} streams, "
        f"{number(run['counts'].get('events', 0))} events.",
        *(["", run["capacity"]] if run["capacity"] else []),
        "",
        "| ledger | streams |",
        "|---|---:|",
        *(f"| {word.replace('_', ' ')} | {count} |" for word, count in verdict["ledger"].items()),
        "",
        "| phase | count | p50 | p95 | p99 | max |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for phase, found in verdict["percentiles"].items():
        shares = " | ".join(duration(found[share]) for share in ("p50", "p95", "p99", "max"))
        lines.append(f"| {phase.replace('_', ' ')} | {found['count']} | {shares} |")
    lines += ["", "| threshold | value | bound | met |", "|---|---:|---:|---|"]
    for row in verdict["thresholds"]:
        value, bound = row["value"], row["bound"]
        if row["name"] != "anomalies":
            value, bound = duration(value), duration(bound)
        lines.append(f"| {row['name']} | {value} | {bound} | {'yes' if row['met'] else '**no**'} |")
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    """A text of the target's, so that it cannot become markup."""
    flat = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in flat)
