"""What one delivered event costs the reference server's processor: `python -m load.bench.fanout`.

A server that streams does one thing very often: it hands a stored event to one more reader. This
script measures that alone. Connecting, ending a stream and waiting lie outside the measured
window, and the same number of bytes goes through a bare socket loop in the same round, because a
figure in microseconds says little about a machine that nobody else has. It judges nothing: budgets
are somebody else's business, and so is how long an event takes to arrive.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import signal
import statistics
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from .readers import BenchError, Readers
from .subjects import RAW, ROOT, Plan, RawSubject, Subject, serving

STORES: Final = ("memory", "sqlite")
MODES: Final = ("one at a time", "burst")
#: Events that are due one at a time may travel together so rarely that no figure shows it.
JOINED_MAX: Final = 0.02
ATTEMPTS: Final = 3

Key = tuple[str, int, str]
"""Mode, readers, subject."""
Samples = dict[Key, float]
"""Microseconds of processor time per delivered event."""


class NotReadyError(Exception):
    """The machine was too busy for this pace; more patience may help."""


def cpu_ns(pid: int) -> int:
    """Processor time of all threads that the process has."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that ends between the two
            total += int((task / "schedstat").read_text().split()[0])
    return total


def measure(subject: Subject, plan: Plan) -> float:
    """Processor time per delivered event in microseconds. Raises BenchError."""
    for attempt in range(ATTEMPTS):
        try:
            return _measure(subject, replace(plan, patience=2**attempt))
        except NotReadyError as error:
            print(f"  {subject.name}, {plan.readers} readers once more: {error}", flush=True)
    raise BenchError(f"{subject.name}: {plan.readers} readers were too many for this machine")


def _measure(subject: Subject, plan: Plan) -> float:
    with subject.offer(plan) as offer, Readers(offer) as readers:
        readers.connect(plan.readers)
        if not readers.stand_at(0):
            raise NotReadyError("the first event came while readers connected")
        readers.until_all_have(1)
        if not readers.stand_at(1):
            raise NotReadyError("the second event came before all had the first")
        before_ns = cpu_ns(offer.pid)
        readers.until_all_have(1 + plan.events)
        used_ns, joined = cpu_ns(offer.pid) - before_ns, readers.joined
        readers.until_all_have(plan.events_total)
        readers.settle(0.05)
        if plan.pace_ms and subject.name != RAW and joined > JOINED_MAX * plan.deliveries:
            raise NotReadyError("events were joined")
        if not readers.stand_at(plan.events_total):
            raise BenchError(f"{subject.name}: a reader got more than {plan.events_total} events")
    return used_ns / plan.deliveries / 1000


def plan_for(mode: str, readers: int, quick: bool) -> Plan:
    """About a second of events; the pace leaves 100 microseconds for each delivery."""
    if mode == MODES[0]:
        interval_ms = max(50.0, 0.1 * readers)
        return Plan(readers, round((500 if quick else 1000) / interval_ms) or 1, interval_ms)
    deliveries = 20_000 if quick else 50_000
    return Plan(readers, min(max(deliveries // readers, 20), 2000), 0)


def run_round(options: argparse.Namespace, number: int, cpus: tuple[int, int] | None) -> Samples:
    """Every subject once in every shape; their order turns with the round."""
    samples: Samples = {}
    with contextlib.ExitStack() as stack:
        subjects: list[Subject] = [RawSubject(cpus and cpus[0])]
        for store in STORES:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanout-")))
            subjects.append(stack.enter_context(serving(store, folder, cpus)))
        turn = number % len(subjects)
        for readers in options.readers:
            for mode in MODES:
                plan = plan_for(mode, readers, options.quick)
                for subject in subjects[turn:] + subjects[:turn]:
                    samples[mode, readers, subject.name] = measure(subject, plan)
    return samples


def figures_of(rounds: list[Samples]) -> list[dict[str, object]]:
    """Medians over the rounds; a ratio is taken within its round before."""
    figures: list[dict[str, object]] = []
    for mode, readers, subject in rounds[0]:
        key, raw = (mode, readers, subject), (mode, readers, RAW)
        shape = f"{mode}, {readers} readers"
        costs = [samples[key] for samples in rounds]
        figures.append(_figure(f"CPU per delivered event, {shape}", subject, "us", costs))
        if subject != RAW:
            ratios = [samples[key] / samples[raw] for samples in rounds]
            figures.append(_figure(f"CPU against {RAW}, {shape}", subject, "ratio", ratios))
    return figures


def _figure(name: str, subject: str, unit: str, values: list[float]) -> dict[str, object]:
    median, low, high = statistics.median(values), min(values), max(values)
    numbers = {"median": round(median, 3), "min": round(low, 3), "max": round(high, 3)}
    return {"name": name, "subject": subject, "unit": unit, **numbers}


def print_table(rounds: list[Samples]) -> None:
    """Microseconds per delivered event: median, extremes, and the ratio to the raw limit."""
    print("\nserver CPU per delivered event, microseconds: median (min-max), ratio to raw sockets")
    print(
        f"{'events':<14}{'readers':>8}  {'subject':<12}{'median':>8}  {'min-max':<16}{'ratio':>6}"
    )
    for mode, readers, subject in sorted(rounds[0], key=lambda key: (key[0] == "burst", key[1:])):
        costs = [samples[mode, readers, subject] for samples in rounds]
        ratio = statistics.median(
            samples[mode, readers, subject] / samples[mode, readers, RAW] for samples in rounds
        )
        extremes = f"{min(costs):.2f}-{max(costs):.2f}"
        median = statistics.median(costs)
        print(f"{mode:<14}{readers:>8}  {subject:<12}{median:>8.2f}  {extremes:<16}{ratio:>6.1f}")


def machine(cpus: tuple[int, int] | None) -> dict[str, object]:
    """What a reader of the figures has to know about where they come from."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    versions: dict[str, str] = {}
    for package in ("quart", "hypercorn", "uvloop", "aiosqlite"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "processor": model[0] if model else platform.machine(),
        "processors": os.cpu_count(),
        "pinned": None if cpus is None else {"server": cpus[0], "client": cpus[1]},
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m load.bench.fanout", description=__doc__)
    parser.add_argument("--readers", type=_count, nargs="+", metavar="N", help="50 200 1000")
    parser.add_argument("--rounds", type=_count, help="3; with --quick 1")
    parser.add_argument("--quick", action="store_true", help="a look, not a figure: 200 readers")
    report = ROOT / "reports" / "bench" / "fanout.json"
    parser.add_argument("--report", type=Path, default=report, help=str(report))
    options = parser.parse_args(arguments)
    options.readers = options.readers or ([200] if options.quick else [50, 200, 1000])
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"expected 1 to 10000, got {text!r}")
    return number


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 with figures, 1 without, 2 where it cannot run, 130 on Ctrl-C."""
    options = parse(arguments)
    if not Path("/proc/self/schedstat").exists():
        sys.stderr.write("fanout: needs /proc/<pid>/task/*/schedstat, that is, Linux\n")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    free = sorted(os.sched_getaffinity(0))
    cpus = (free[0], free[1]) if len(free) > 1 else None
    where = machine(cpus)
    rounds: list[Samples] = []
    try:
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            rounds.append(run_round(options, number, cpus))
    except (BenchError, OSError) as error:
        sys.stderr.write(f"fanout: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    print_table(rounds)
    report = {"schema": 1, "machine": where, "rounds": len(rounds), "figures": figures_of(rounds)}
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(f"\n{options.report}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
