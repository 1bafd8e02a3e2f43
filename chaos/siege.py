"""Hopping readers on running jobs while instances, store and broker fail: is anything lost?

    python -m chaos.siege --seed 7

Three instances on PostgreSQL and Redis run twenty jobs of 1,000 events at 20 ms, each with twenty
readers that hop between the instances at random. Meanwhile instances are killed, paused beyond
their lease and restarted one after the other, and Redis and PostgreSQL are restarted. The schedule
is drawn from the seed and written down before it begins; `--schedule FILE` plays it again. Exit
code 0: every stream has the exact log; 1: not so; 2: the siege itself failed; 3: a fault touched
no stream, so nothing is proven.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any, Final

import httpx

from streamgauge import interrupt

from .experiments import ENV, LEASE_S
from .measure import Calm
from .schedule import Schedule, ScheduleError
from .services import MissingProgram, ServiceFailed
from .topology import Plan, Topology
from .trial import Size, Trial

REPORTS: Final = Path("reports") / "chaos"
STAY_S: Final = 2.0
ENDED_S: Final = 240.0


def besiege(topology: Topology, schedule: Schedule, size: Size) -> Trial:
    """Start the jobs, let them be read while the schedule is played, judge what was seen."""
    siege = Trial(topology, size, schedule.faults, schedule.seed, _say)
    interrupt.run(siege.run(topology.urls))
    return siege


def _say(line: str) -> None:
    print(line, flush=True)


def results(siege: Trial) -> dict[str, Any]:
    """The report's content: `reports/chaos/results.json`."""
    siege.count_hits(Calm.of(siege.readers, until=siege.before_faults))
    missed = [played for played in siege.played if not played.streams_hit]
    verdict = "inconclusive" if missed or len(siege.played) < len(siege.faults) else "pass"
    if not (siege.ledger.clean and siege.lively):
        verdict = "fail"
    return {
        "schema": 1,
        "verdict": verdict,
        "seed": siege.seed,
        "experiments": [
            {
                "name": "siege",
                "topology": siege.deployment.about,
                "verdict": verdict,
                "faults": [played.as_json() for played in siege.played],
                "ledger": siege.ledger.as_json(),
                "recovery_s": max((round(p.recovery_s, 2) for p in siege.played), default=0.0),
            }
        ],
        "controls": [],
        "anomalies": siege.ledger.faults,
    }


def main() -> int:
    """Returns the exit code."""
    options = _options()
    size = Size(options.jobs, options.readers, options.events, 20, STAY_S, ENDED_S)
    plan = Plan(options.instances, options.store, options.fanout, lease_s=LEASE_S, env=ENV)
    if problem := plan.problem():
        sys.stderr.write(f"{problem}\n")
        return 2
    services = [
        name
        for name, there in (("store", plan.store == "postgres"), ("broker", plan.fanout == "redis"))
        if there
    ]
    try:
        if options.schedule:
            schedule = Schedule.load(options.schedule)
        else:
            seed = random.randrange(2**32) if options.seed is None else options.seed
            schedule = Schedule.drawn(seed, plan.instances, services, LEASE_S)
        path = options.reports / f"schedule-{schedule.seed}.json"
        schedule.save(path)
        print(f"seed {schedule.seed}; the schedule is in {path}", flush=True)
        with Topology(plan) as topology:
            siege = besiege(topology, schedule, size)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 2
    except (MissingProgram, ServiceFailed, ScheduleError, httpx.HTTPError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = results(siege)
    (options.reports / "results.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return _tell(siege, str(found["verdict"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaos.siege", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--seed", type=int, help="the schedule's; default: a new one")
    parser.add_argument("--schedule", type=Path, metavar="FILE", help="play this one again")
    parser.add_argument("--instances", type=int, choices=range(2, 9), default=3, metavar="2..8")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="postgres")
    parser.add_argument("--fanout", choices=("local", "notify", "redis"), default="redis")
    parser.add_argument("--jobs", type=int, choices=range(1, 201), default=20, metavar="1..200")
    parser.add_argument("--readers", type=int, choices=range(1, 101), default=20, metavar="1..100")
    parser.add_argument("--events", type=int, choices=range(50, 5001), default=1000, metavar="N")
    parser.add_argument("--reports", type=Path, default=REPORTS, metavar="DIR")
    return parser.parse_args()


def _tell(siege: Trial, verdict: str) -> int:
    """Say what took place and what it came to; the exit code."""
    for played in siege.played:
        fault = played.fault
        print(
            f"{fault.breaks:12} for {played.lasted_s:4.1f} s: {played.streams_hit} streams hit, "
            f"all jobs on again after {played.recovery_s:.1f} s"
        )
    connections = sum(len(reader.connections) for reader in siege.readers)
    seen = sum(len(c.entries) for reader in siege.readers for c in reader.connections)
    print(f"{len(siege.readers)} streams, {connections} connections, {seen} events")
    print(", ".join(f"{word}: {count}" for word, count in siege.ledger.as_json().items()))
    for fault_text in siege.ledger.faults[:20]:
        print(f"  {fault_text}")
    print(verdict.upper())
    return {"pass": 0, "fail": 1}.get(verdict, 3)


if __name__ == "__main__":
    sys.exit(main())
