"""One run: readers on running jobs, what was broken meanwhile, and what became of every stream.

Healing comes before judging: whatever was broken is mended, then every job has to end, a fresh job
has to run through, and only then are the logs read that all streams are held against.
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import httpx

from .deployment import Deployment, Served
from .ledger import Ledger, judge
from .measure import Calm, hit
from .readers import SILENCES, Connection, Detour, Reader, Texts
from .schedule import Fault
from .stream import CONNECT_S

LOOK_S: Final = 0.05
READ_S: Final = 30.0
"""After so many heartbeats that did not come a connection is given up."""
STARTED_S: Final = 30.0
"""For a job to be taken by somebody who answers."""
LIVE_EVENTS: Final = 12
START: Final = {"resume_text": "Streaming engineer.", "job_text": "We look for somebody."}


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is to lose."""

    jobs: int = 3
    readers: int = 7
    """Of each job."""
    events: int = 200
    interval_ms: int = 40
    stay_s: float = 0.0
    """Readers hop after about so long; 0: they stay for as long as they are served."""
    ended_s: float = 60.0
    """For the last job to end after the last fault was mended."""
    payload: str = ""
    """The text of the events that have one."""
    pauses: tuple[tuple[int, float], ...] = ()
    """After event n so many milliseconds in addition."""

    @property
    def script_s(self) -> float:
        """How long a job takes that nothing disturbs."""
        return (self.events * self.interval_ms + sum(ms for _, ms in self.pauses)) / 1000


@dataclass(slots=True)
class Played:
    """One fault as it took place, in seconds since the run began."""

    fault: Fault
    at_s: float
    lasted_s: float = 0.0
    recovery_s: float = 0.0
    """From its mending until every job had emitted something new, or was over."""
    streams_hit: int = 0

    def as_json(self) -> dict[str, object]:
        """As it stands in `results.json`."""
        return {
            "kind": self.fault.kind,
            "target": self.fault.target,
            "at_s": round(self.at_s, 2),
            "lasted_s": round(self.lasted_s, 2),
            "streams_hit": self.streams_hit,
        }


@dataclass(slots=True)
class Trial:
    """One run as it goes on, and what it came to."""

    deployment: Deployment
    size: Size
    faults: Sequence[Fault]
    seed: int
    tell: Callable[[str], None] = lambda _: None
    """Is told what is being broken."""
    jobs: list[str] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    played: list[Played] = field(default_factory=list)
    ended: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)
    late_s: float = 0.0
    """By how much this process itself was late at most: then a late event proves nothing."""
    lively: bool = False
    """A fresh job ran through after everything was mended."""

    @property
    def share(self) -> float:
        """How much of all events some reader of each job has seen."""
        return sum(self._newest().values()) / (self.size.events * max(1, len(self.jobs)))

    @property
    def over(self) -> bool:
        return all(reader.ended for reader in self.readers)

    async def run(
        self, urls: Sequence[str] = (), detours: Mapping[int, Detour] | None = None
    ) -> None:
        """Play it from the first job's start to the judgement.

        Args:
            urls: between which readers hop; by default the deployment's entrances.
            detours: where the first connection of a reader (by number) leads.

        Raises:
            ServiceFailed, MissingProgram, ValueError: a fault could not be played or mended.
            httpx.HTTPError: no job could be started.
        """
        urls, chance, texts = urls or self.deployment.entrances, random.Random(self.seed), Texts()
        async with client(self.deployment) as http:
            for number in range(self.size.jobs):
                url = urls[number % len(urls)]
                self.jobs.append(await start(http, url, self.size))
            self.readers += [
                Reader(
                    self.deployment,
                    urls,
                    job,
                    f"reader {n}.{k}",
                    random.Random(chance.random()),
                    self.size.stay_s,
                    texts,
                    (detours or {}).get(n * self.size.readers + k),
                )
                for n, job in enumerate(self.jobs)
                for k in range(self.size.readers)
            ]
            watch = asyncio.create_task(self._watch_itself())
            try:
                async with reading(self.readers) as tasks:
                    await self._play()
                    await asyncio.wait(tasks, timeout=self.size.ended_s)
            finally:
                watch.cancel()
            self.ended = time.monotonic()
            self.lively = await self._live(http, urls, texts)
            urls = self.deployment.urls
            bound_s = min(READ_S, self.size.ended_s)
            found = (logs(self.deployment, urls, job, texts, bound_s) for job in self.jobs)
            whole = dict(zip(self.jobs, await asyncio.gather(*found), strict=True))
        self.ledger = judge(self.readers, whole, dict.fromkeys(self.jobs, self.size.events))

    @property
    def before_faults(self) -> float:
        """The moment when the first fault began."""
        return self.began + min((played.at_s for played in self.played), default=0.0)

    def count_hits(self, calm: Calm) -> None:
        """For each fault the streams that it touched."""
        for played in self.played:
            begin = self.began + played.at_s
            played.streams_hit = sum(
                hit(reader, begin, begin + played.lasted_s, calm) for reader in self.readers
            )

    async def _play(self) -> None:
        """Every fault at its share of the events, each mended before the next begins."""
        for fault in self.faults:
            await self._until(fault.at_share)
            now = Played(fault, time.monotonic() - self.began)
            self.played.append(now)
            self.tell(f"{now.at_s:6.1f} s  {self.share:4.0%} emitted: {fault.breaks}")
            try:
                await asyncio.to_thread(self.deployment.obey, fault.breaks)
                if fault.also:
                    await asyncio.to_thread(self.deployment.obey, fault.also)
                await asyncio.sleep(fault.lasts_s)
            finally:
                if fault.mends:
                    await asyncio.to_thread(self.deployment.obey, fault.mends)
            now.lasted_s = time.monotonic() - self.began - now.at_s
            now.recovery_s = await self._recovered()

    async def _watch_itself(self) -> None:
        while True:
            due = time.monotonic() + LOOK_S
            await asyncio.sleep(LOOK_S)
            self.late_s = max(self.late_s, time.monotonic() - due)

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
            newest <= known[job] and newest < self.size.events
            for job, newest in self._newest().items()
        ):
            if time.monotonic() - began > self.size.ended_s:
                break
            await asyncio.sleep(LOOK_S)
        return time.monotonic() - began

    def _newest(self) -> dict[str, int]:
        newest = dict.fromkeys(self.jobs, 0)
        for reader in self.readers:
            newest[reader.job] = max(newest[reader.job], reader.newest)
        return newest

    async def _live(self, http: httpx.AsyncClient, urls: Sequence[str], texts: Texts) -> bool:
        """Whether a fresh job can be started and read to its end."""
        size = Size(events=LIVE_EVENTS, interval_ms=10)
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(min(READ_S, self.size.ended_s)):
                job = await start(http, urls[0], size)
                chance = random.Random(0)
                reader = Reader(self.deployment, urls, job, "liveness", chance, 0.0, texts)
                await reader.read()
                return reader.newest == LIVE_EVENTS
        return False


@asynccontextmanager
async def client(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A client that starts jobs; every request has a connection of its own."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    timeout = httpx.Timeout(SILENCES * served.heartbeat_s, connect=CONNECT_S)
    async with httpx.AsyncClient(
        limits=limits, timeout=timeout, headers=served.headers, trust_env=False
    ) as http:
        yield http


@asynccontextmanager
async def reading(readers: Sequence[Reader]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Let all of them read while the block runs."""
    tasks = [asyncio.create_task(reader.read()) for reader in readers]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def start(http: httpx.AsyncClient, url: str, size: Size) -> str:
    """The id of a new job. An instance that is just coming back is asked again.

    Raises httpx.HTTPError.
    """
    script: dict[str, object] = {"events": size.events, "interval_ms": size.interval_ms}
    if size.payload:
        script["payload"] = size.payload
    if size.pauses:
        script["pauses"] = [list(pause) for pause in size.pauses]
    until = time.monotonic() + STARTED_S
    while True:
        try:
            answer = await http.post(
                f"{url}/api/pipeline/start",
                json={**START, "pipeline": script},
                # A client of its own: no quota is to be met here.
                headers={"X-Client-Id": str(uuid.uuid4())},
            )
            answer.raise_for_status()
            return str(answer.json()["job_id"])
        except httpx.HTTPError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(LOOK_S)


async def logs(
    served: Served, urls: Sequence[str], job: str, texts: Texts, bound_s: float = READ_S
) -> list[Connection]:
    """The job's whole log, as each instance shows it within the time."""
    readers = [Reader(served, [url], job, "log", random.Random(0), 0.0, texts) for url in urls]
    async with reading(readers) as tasks:
        await asyncio.wait(tasks, timeout=bound_s)
    return [reader.connections[-1] for reader in readers if reader.ended]
