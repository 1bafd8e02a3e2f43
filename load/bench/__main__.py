"""`python -m load.bench`: the reference server against its peers, and its budgets.

Exit codes: 0 where every budget is met, 1 where one is not, 2 where nothing can be measured, 130
and 143 after Ctrl-C and SIGTERM. Whatever was measured by then is reported.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from . import parts, report, stores, tools, whole
from .budgets import BUDGETS
from .client import NotReady
from .figures import judged
from .machine import BenchError, choose_cpus, describe, pin, stolen_s
from .parts import Bench

ROUNDS: Final = 3
#: What is measured in rounds; then come the parts that run once, the suite last.
IN_ROUNDS: Final[dict[str, Callable[[Bench, int], None]]] = {
    "fanout": parts.fanout,
    "few": parts.few,
    "latency": parts.latency,
    "replay": parts.replay,
    "memory": parts.memory,
    "store": stores.store,
}
ONCE: Final = ("generator", "crowd", "suite")
_OPEN_FILES: Final = 16_384


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    options = _parse(arguments)
    wanted = options.only or [*IN_ROUNDS, *ONCE]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _allow_many_files()
        cpus = choose_cpus()
        pin(cpus.client)
        bench = Bench(cpus, tools.client())
    except (BenchError, tools.Missing) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    machine, began, stolen = describe(cpus), time.monotonic(), stolen_s()
    budgets: list[dict[str, Any]] = []
    failures: list[str] = []
    code = 0
    try:
        for name in wanted:
            _say(f"{name} ({time.monotonic() - began:.0f} s)")
            try:
                budgets += _measure(bench, name, options.rounds, alone=bool(options.only))
            except (BenchError, NotReady, OSError) as error:
                # A part that could not be measured is no pass; the others are still of use.
                failures.append(f"{name}: {error}")
                sys.stderr.write(f"bench: {name}: {error}\n")
    except KeyboardInterrupt:
        code = 130
    except SystemExit:
        code = 143
    machine["stolen_s"] = round(stolen_s() - stolen, 2)
    machine["took_s"] = round(time.monotonic() - began)
    budgets = judged(BUDGETS, bench.samples) + budgets
    budgets += [{"name": text, "value": 1, "bound": 0, "met": False} for text in failures]
    remarks = [f"{name}: {why}" for name, why in bench.missing.items()]
    rounds = max((len(values) for values in bench.samples.values.values()), default=0)
    report.write(options.folder, machine, rounds, bench.samples, budgets, remarks)
    _say(report.markdown(machine, rounds, bench.samples, budgets, remarks))
    unmet = [budget for budget in budgets if not budget["met"]]
    _say(f"{len(budgets) - len(unmet)} of {len(budgets)} budgets met; {options.folder}/results.md")
    return code or (1 if unmet or not budgets else 0)


def _measure(bench: Bench, name: str, rounds: int, *, alone: bool) -> list[dict[str, Any]]:
    """One part; budgets that it judged by itself. Raises BenchError, NotReady, OSError."""
    if name in IN_ROUNDS:
        for turn in range(rounds):
            IN_ROUNDS[name](bench, turn)
    elif name == "generator":
        return whole.generator(bench, rounds)
    elif name == "crowd":
        whole.crowd(bench, whole.CROWD_ALONE_S if alone else whole.CROWD_S)
    else:
        whole.suite(bench)
    return []


def _allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _OPEN_FILES:
        raise BenchError(f"{_OPEN_FILES} open files are needed, {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m load.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*IN_ROUNDS, *ONCE], metavar="PART")
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help=f"{ROUNDS}")
    folder = Path(os.path.relpath(tools.ROOT / "reports" / "bench"))
    parser.add_argument("--folder", type=Path, default=folder, help=str(folder))
    return parser.parse_args(arguments)


def _rounds(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 50:
        raise argparse.ArgumentTypeError(f"expected 1 to 50, got {text!r}")
    return number


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
