"""`python -m tests.harmless [WAY ...]`: how often the suite blames a server that keeps every rule.

The reference server with its default settings is judged behind each way that breaks nothing, as
often as asked for. Every run's verdicts are kept in `reports/harmless/`. Exit code 1 where anything
failed or warned, or where more than 2 % of the verdicts are "could not test".
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tests.suite_process import ROOT, SuiteProcess

from .ways import ALONE, WAYS

REPORTS = ROOT / "reports" / "harmless"
DOCS = ROOT / "docs" / "false-positives.md"
UNTESTED_MAX = 0.02
RED = ("fail", "warn", "error")


def main(arguments: list[str]) -> int:
    """Run what is asked for; returns the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = _options(arguments)
    REPORTS.mkdir(parents=True, exist_ok=True)
    ways = options.ways or list(WAYS)
    _run_all([way for way in ways if way not in ALONE], options.runs, options.jobs)
    _run_all([way for way in ways if way in ALONE], options.runs, 1)
    outcomes = list(_outcomes())
    if options.docs:
        DOCS.write_text("\n".join(_page(outcomes)) + "\n", "utf-8")
    verdicts = sum((Counter(each["verdicts"].values()) for each in outcomes), Counter[str]())
    red = sum(verdicts[name] for name in RED)
    untested = verdicts["could_not_test"] / max(1, verdicts.total())
    print(f"{len(outcomes)} runs on record: {red} red, {untested:.2%} could not be tested")
    return 1 if red or untested > UNTESTED_MAX else 0


def _run_all(ways: list[str], runs: int, jobs: int) -> None:
    tasks = [(way, number) for number in range(runs) for way in ways]
    with ThreadPoolExecutor(jobs) as pool:
        started = {pool.submit(_run, way, number): (way, number) for way, number in tasks}
        try:
            for done in as_completed(started):
                print(*started[done], _said(done.result()), flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.harmless", description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--runs", type=int, default=10, help="of each way (default: 10)")
    parser.add_argument("--jobs", type=int, default=2, help="at the same time (default: 2)")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    if unknown := set(options.ways) - set(WAYS):
        parser.error(f"no way is called {', '.join(unknown)}; there are {', '.join(WAYS)}")
    return options


def _run(way: str, number: int) -> dict[str, Any]:
    """One whole run of the suite; its outcome, also on disk."""
    with tempfile.TemporaryDirectory(prefix=f"harmless-{way}-") as name:
        folder = Path(name)
        with WAYS[way](folder) as place:
            suite = SuiteProcess(place.url, folder / "report", env=place.env)
            ended = suite.finish()
        checks = ended.results["checks"]
    outcome = {
        "way": way,
        "number": number,
        "commit": _commit(),
        "seconds": round(ended.seconds, 1),
        "verdicts": {row["id"]: row["verdict"] for row in checks},
        "messages": {
            row["id"]: row["message"]
            for row in checks
            if row["verdict"] in (*RED, "could_not_test")
        },
    }
    text = json.dumps(outcome, indent=1, ensure_ascii=False) + "\n"
    (REPORTS / f"{way}-{number}.json").write_text(text, "utf-8")
    return outcome


def _said(outcome: dict[str, Any]) -> str:
    counted = Counter(outcome["verdicts"].values())
    said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counted.most_common())
    red = "".join(f"\n  {i}: {text[:400]}" for i, text in outcome["messages"].items())
    return f"{outcome['seconds']:.0f} s: {said}{red}"


def _outcomes() -> Iterator[dict[str, Any]]:
    for path in sorted(REPORTS.glob("*.json")):
        yield json.loads(path.read_text("utf-8"))


def _page(outcomes: list[dict[str, Any]]) -> Iterator[str]:
    yield "# False positives, measured"
    yield ""
    yield "Written by `python -m tests.harmless --docs`; do not edit."
    yield ""
    yield (
        "The reference server keeps every rule. Here the whole suite judges it, both with default "
        "settings, over ways that break nothing; whatever turns red is the suite's own fault. Both "
        "cores of the machine were busy all the time: with a second run, or with processes that "
        "never rest."
    )
    yield ""
    yield "| way | runs | verdicts | red | could not test | seconds |"
    yield "|---|---|---|---|---|---|"
    for way, path in WAYS.items():
        mine = [each for each in outcomes if each["way"] == way]
        if mine:
            yield _row(f"{way}: {' '.join((path.__doc__ or '').split())}", mine)
    yield _row("all", outcomes)
    red = Counter(
        f"{i} ({verdict})"
        for each in outcomes
        for i, verdict in each["verdicts"].items()
        if verdict in RED
    )
    untested = Counter(
        i
        for each in outcomes
        for i, verdict in each["verdicts"].items()
        if verdict == "could_not_test"
    )
    yield ""
    yield f"Red: {_listed(red)}. Could not be tested: {_listed(untested)}."


def _row(name: str, outcomes: list[dict[str, Any]]) -> str:
    verdicts = sum((Counter(each["verdicts"].values()) for each in outcomes), Counter[str]())
    judged = verdicts.total() - verdicts["not_run"] - verdicts["not_applicable"]
    untested = verdicts["could_not_test"]
    seconds = [each["seconds"] for each in outcomes]
    return (
        f"| {name} | {len(outcomes)} | {judged:,} | {sum(verdicts[v] for v in RED)} "
        f"| {untested} ({untested / max(1, judged):.2%}) "
        f"| {min(seconds):.0f} to {max(seconds):.0f} |"
    )


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count} times" for name, count in counted.most_common()) or "nothing"


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
