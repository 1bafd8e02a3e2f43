"""`python -m tests.mutants [NAME|SECTION ...]`: every broken server against the whole suite.

Outcomes are kept in `reports/mutants/`, so that a run that was interrupted goes on where it
stopped. Exit code 1: a mutant survives, is killed by an error only, turns an unlisted check red,
or a check has no mutant.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from . import matrix
from .catalog import mutants, subjects
from .model import Mutant, Subject, problems
from .runner import REPORTS, Outcome, kept, newest_source, run, stop_all


def main(arguments: list[str]) -> int:
    """Run what is asked for; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    options = _options(arguments)
    chosen = _chosen(options.names)
    if not chosen:
        sys.stderr.write(f"nothing is called {', '.join(options.names)}\n")
        return 2
    if options.list:
        for subject in chosen:
            print(f"{subject.name:32} {matrix.expectation(subject)}")
        return 0
    outcomes = _run_all(chosen, options.jobs, options.reports, fresh=options.fresh)
    everything = {
        each.name: known
        for each in subjects()
        if (known := outcomes.get(each.name) or kept(each, options.reports, 0.0))
    }
    matrix.write(options.reports, everything)
    if options.docs:
        matrix.write_docs(everything)
    lacking = matrix.without_mutant(mutants()) if not options.names else []
    bad = [name for name, outcome in outcomes.items() if outcome.problems]
    print(f"{len(outcomes)} runs, {len(bad)} not as they should be; {options.reports}/matrix.md")
    if lacking:
        print(f"checks without a mutant: {', '.join(lacking)}")
    return 1 if bad or lacking else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="names of mutants, sections, or kinds")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--fresh", action="store_true", help="run again what was run already")
    parser.add_argument("--docs", action="store_true", help="also write docs/mutants.md")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="where outcomes are kept")
    return parser.parse_args(arguments)


def _chosen(names: list[str]) -> list[Subject]:
    """By name, by section (`WIRE`), by check (`WIRE-03`) or by kind (`nulltarget`, `control`)."""

    def wanted(subject: Subject) -> bool:
        known = {subject.name, type(subject).__name__.lower()}
        if isinstance(subject, Mutant):
            known |= {subject.section.lower(), *(i.lower() for i in subject.breaks)}
        return any(name.lower() in known for name in names)

    return [each for each in subjects() if not names or wanted(each)]


def _run_all(chosen: list[Subject], jobs: int, folder: Path, *, fresh: bool) -> dict[str, Outcome]:
    since = newest_source()
    outcomes: dict[str, Outcome] = {}
    todo: list[Subject] = []
    for subject in chosen:
        known = None if fresh else kept(subject, folder, since)
        if known is None:
            todo.append(subject)
        else:
            outcomes[subject.name] = Outcome(
                known.name,
                problems(subject, known.verdicts),
                known.verdicts,
                known.messages,
                known.seconds,
            )
    began = time.monotonic()
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        running = {pool.submit(run, subject): subject for subject in todo}
        try:
            for number, done in enumerate(as_completed(running), 1):
                outcome = done.result()
                outcome.save(folder)
                outcomes[outcome.name] = outcome
                _tell(outcome, number, len(todo), time.monotonic() - began)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    return outcomes


def _tell(outcome: Outcome, number: int, total: int, passed_s: float) -> None:
    state = "ok " if not outcome.problems else "BAD"
    print(
        f"{passed_s:5.0f} s  {number:3}/{total} {state} {outcome.name} ({outcome.seconds:.0f} s): "
        f"red {', '.join(outcome.red) or 'nothing'}",
        flush=True,
    )
    for problem in outcome.problems:
        print(f"         {problem}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
