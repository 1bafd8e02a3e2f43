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
import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx

from streamgauge import interrupt

from .ledger import Ledger, judge
from .readers import CONNECT_S, SILENCE_S, Connection, Reader, Texts
from .schedule import Fault, Schedule, ScheduleError
from .services import MissingProgram, ServiceFailed
from .topology import Plan, Topology

REPORTS: Final = Path("reports") / "chaos"
LEASE_S: Final = 2
ENDED_S: Final = 240.0
"""For the last job to end after the last fault was mended."""
TOUCHED_S: Final = 3.0
"""A connection that broke within this after a fault began was hit by it."""
LOOK_S: Final = 0.05
READ_S: Final = 30.0
ENV: Final = {
    "HEARTBEAT_SECONDS": "2",
    "POSTGRES_STATEMENT_TIMEOUT_SECONDS": "1",
    "LOG_LEVEL": "warning",
}
START: Final = {"resume_text": "Streaming engineer.", "job_text": "We look for somebody."}
CLIENT: Final = "6f2c1d0e-8a4b-4c3d-9e5f-{:012d}"


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to lose."""

    jobs: int = 20
    readers: int = 20
    """Of each job."""
    events: int = 1000
    interval_ms: int = 20
    stay_s: float = 2.0


@dataclass(slots=True)
class Played:
    """One fault as it took place, in seconds since the siege began."""

    fault: Fault
    at_s: float
    lasted_s: float = 0.0
    recovery_s: float = 0.0
    """From its mending until every job had emitted something new, or was over."""
    streams_hit: int = 0


@dataclass(slots=True)
class Siege:
    """One run: its readers, and what was done to the deployment meanwhile."""

    topology: Topology
    schedule: Schedule
    readers: list[Reader]
    jobs: list[str]
    events: int
    began: float = field(default_factory=time.monotonic)
    played: list[Played] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of all events some reader of each job has seen."""
        return sum(self._newest().values()) / (self.events * len(self.jobs))

    @property
    def over(self) -> bool:
        return all(reader.ended for reader in self.readers)

    async def play(self) -> None:
        """Every fault at its share of the events, each mended before the next begins."""
        for fault in self.schedule.faults:
            await self._until(fault.at_share)
            now = Played(fault, time.monotonic() - self.began)
            self.played.append(now)
            print(f"{now.at_s:6.1f} s  {self.share:4.0%} emitted: {fault.breaks}", flush=True)
            try:
                await asyncio.to_thread(self.topology.obey, fault.breaks)
                await asyncio.sleep(fault.lasts_s)
            finally:
                if fault.mends:
                    await asyncio.to_thread(self.topology.obey, fault.mends)
            now.lasted_s = time.monotonic() - self.began - now.at_s
            now.recovery_s = await self._recovered()

    async def _until(self, share: float) -> None:
        """Wait until so much has been seen, or all is over."""
        while True:
            if self.share >= share or self.over:
                return
            await asyncio.sleep(LOOK_S)

    async def _recovered(self) -> float:
        """How long it takes until each job has gone on."""
        began = time.monotonic()
        known = self._newest()
        while any(
            newest <= known[job] and newest < self.events for job, newest in self._newest().items()
        ):
            if time.monotonic() - began > ENDED_S:
                break
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - began

    def _newest(self) -> dict[str, int]:
        newest = dict.fromkeys(self.jobs, 0)
        for reader in self.readers:
            newest[reader.job] = max(newest[reader.job], reader.newest)
        return newest

    def count_hits(self) -> None:
        """For each fault the streams that it touched: cut, or silent for longer than any stream was
        before the first fault."""
        pauses = {reader: _pauses(reader) for reader in self.readers}
        first = self.began + min((p.at_s for p in self.played), default=0.0)
        calm_s = max(
            (end - begin for found in pauses.values() for begin, end in found if end <= first),
            default=0.0,
        )
        for played in self.played:
            begin = self.began + played.at_s
            end = begin + max(played.lasted_s, TOUCHED_S)
            played.streams_hit = sum(
                any(c.broken and begin <= c.closed_at <= end for c in reader.connections)
                or any(b < end and e > begin and e - b > calm_s for b, e in pauses[reader])
                for reader in self.readers
            )


def _pauses(reader: Reader) -> list[tuple[float, float]]:
    """The times between one event and the next, as its stream got them."""
    came = [entry.at for connection in reader.connections for entry in connection.entries]
    return list(pairwise(came))


async def besiege(topology: Topology, schedule: Schedule, size: Size) -> tuple[Siege, Ledger]:
    """Start the jobs, let them be read while the schedule is played, judge what was seen."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
    async with httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False) as http:
        urls, chance, texts = topology.urls, random.Random(schedule.seed), Texts()
        jobs = [await _start(http, urls[n % len(urls)], n, size) for n in range(size.jobs)]
        readers = [
            Reader(http, urls, job, f"reader {n}.{k}", _own(chance), size.stay_s, texts)
            for n, job in enumerate(jobs)
            for k in range(size.readers)
        ]
        siege = Siege(topology, schedule, readers, jobs, size.events)
        reading = [asyncio.create_task(reader.read()) for reader in readers]
        try:
            await siege.play()
            await asyncio.wait(reading, timeout=ENDED_S)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
        siege.count_hits()
        logs = {job: await _logs(http, urls, job, texts) for job in jobs}
    return siege, judge(readers, logs, size.events)


def _own(chance: random.Random) -> random.Random:
    return random.Random(chance.random())


async def _start(http: httpx.AsyncClient, url: str, number: int, size: Size) -> str:
    pipeline = {"events": size.events, "interval_ms": size.interval_ms}
    answer = await http.post(
        f"{url}/api/pipeline/start",
        json={**START, "pipeline": pipeline},
        headers={"X-Client-Id": CLIENT.format(number)},
    )
    answer.raise_for_status()
    return str(answer.json()["job_id"])


async def _logs(
    http: httpx.AsyncClient, urls: Sequence[str], job: str, texts: Texts
) -> list[Connection]:
    """The job's whole log, as each instance shows it."""
    found = []
    for url in urls:
        reader = Reader(http, [url], job, "log", random.Random(0), 0.0, texts)
        try:
            async with asyncio.timeout(READ_S):
                await reader.read()
        except TimeoutError:
            continue
        found.append(reader.connections[-1])
    return found


def results(siege: Siege, ledger: Ledger) -> dict[str, Any]:
    """The report's content: `reports/chaos/results.json`."""
    missed = [played for played in siege.played if not played.streams_hit]
    verdict = "inconclusive" if missed or len(siege.played) < len(siege.schedule.faults) else "pass"
    if not ledger.clean:
        verdict = "fail"
    plan = siege.topology.plan
    return {
        "schema": 1,
        "verdict": verdict,
        "seed": siege.schedule.seed,
        "experiments": [
            {
                "name": "siege",
                "topology": f"{plan.instances} instances, {plan.store}, {plan.fanout}",
                "verdict": verdict,
                "faults": [
                    {
                        "kind": played.fault.kind,
                        "target": played.fault.target,
                        "at_s": round(played.at_s, 2),
                        "lasted_s": round(played.lasted_s, 2),
                        "streams_hit": played.streams_hit,
                    }
                    for played in siege.played
                ],
                "ledger": ledger.as_json(),
                "recovery_s": max((round(p.recovery_s, 2) for p in siege.played), default=0.0),
            }
        ],
        "controls": [],
        "anomalies": ledger.faults,
    }


def main() -> int:
    """Returns the exit code."""
    options = _options()
    size = Size(options.jobs, options.readers, options.events)
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
            siege, ledger = interrupt.run(besiege(topology, schedule, size))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 2
    except (MissingProgram, ServiceFailed, ScheduleError, httpx.HTTPError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = results(siege, ledger)
    (options.reports / "results.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return _tell(siege, ledger, str(found["verdict"]))


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


def _tell(siege: Siege, ledger: Ledger, verdict: str) -> int:
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
    print(", ".join(f"{word}: {count}" for word, count in ledger.as_json().items()))
    for fault_text in ledger.faults[:20]:
        print(f"  {fault_text}")
    print(verdict.upper())
    return {"pass": 0, "fail": 1}.get(verdict, 3)


if __name__ == "__main__":
    sys.exit(main())
