"""All experiments of a run: each deployment plays its own, one after the other, beside the others.

A deployment is built once and healed after every experiment; one that does not come back is built
anew. Whatever happens, Ctrl-C included, all that was broken is mended and all processes are ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

import httpx

from streamgauge.relay.relay import Relay

from . import outcome
from .cuts import PAYLOAD, cut_there, detours, sample
from .deployment import Deployment
from .disk import DiskFailed
from .experiments import Experiment
from .measure import Calm
from .outcome import INCONCLUSIVE, Outcome
from .schedule import Fault
from .services import MissingProgram, ServiceFailed
from .trial import Played, Size, Trial

SIZE: Final = Size(payload=PAYLOAD)
SETTLING_S: Final = 1.0
"""While jobs are started and readers arrive, even calm streams are not."""
READY_S: Final = 30.0
LOOK_S: Final = 0.1
TRIES: Final = 2
"""What was inconclusive, for instance because the machine was busy, is played once more."""
FAILURES: Final = (ServiceFailed, MissingProgram, DiskFailed, httpx.HTTPError, ValueError, OSError)
Tell = Callable[[str], None]
Start = Callable[[], Awaitable[Deployment]]


@dataclass(slots=True)
class Lane:
    """One deployment with its experiments."""

    name: str
    start: Start
    """Gives a running deployment. Raises MissingProgram, ServiceFailed."""
    experiments: Sequence[Experiment]
    seed: int
    tell: Tell
    about: str = ""
    """What the deployment is made of."""
    calm: Calm | None = None
    """What the run without faults showed."""
    control: Outcome | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    body: bytes = b""
    """The stream of that run's first job."""
    _deployment: Deployment | None = None

    async def play(self, all_there: asyncio.Barrier) -> None:
        """Every experiment, after a run without faults that nobody else's start disturbs."""
        try:
            with suppress(*FAILURES):
                await self._deployed()
            await all_there.wait()
            for _ in range(TRIES):
                self.control = await self._undisturbed()
                self.say(self.control, "")
                if self.control.verdict != INCONCLUSIVE:
                    break
            for experiment in self.experiments:
                self.outcomes.append(await conclude(self, experiment))
        finally:
            await self.end()

    async def _undisturbed(self) -> Outcome:
        """The run that the others are compared with."""
        experiment = Experiment("no-fault", self.name)
        try:
            deployment = await self._deployed()
            self.about = deployment.about
            trial = Trial(deployment, SIZE, (), self.seed)
            await trial.run()
            self.calm = Calm.of(trial.readers, since=trial.began + SETTLING_S)
            self.body = await sample(deployment.url, trial.jobs[0], deployment.headers)
            return outcome.control(experiment, trial)
        except FAILURES as error:
            return outcome.unplayed(experiment, said(error))

    async def once(self, experiment: Experiment) -> Outcome:
        """Play one, and heal the deployment."""
        if self.calm is None:
            return outcome.unplayed(experiment, "the run without faults could not be played")
        trial = None
        try:
            deployment = await self._deployed()
            # Several faults take turns: the jobs have to last for all of them.
            size = replace(SIZE, events=SIZE.events * max(1, len(experiment.faults)))
            trial = Trial(deployment, size, experiment.faults, self.seed)
            if experiment.cut:
                await self._cut(trial, experiment.cut)
            else:
                await trial.run()
            found = outcome.judged(experiment, trial, self.calm)
        except FAILURES as error:
            found = outcome.unplayed(experiment, said(error))
            found.trial = trial
        if not await self._healed():
            await self.end()
            if found.verdict == outcome.PASS:
                found.verdict = outcome.FAIL
                found.reasons.append(f"not every instance was ready again within {READY_S:.0f} s")
        return found

    async def _cut(self, trial: Trial, point: str) -> None:
        parts = urlsplit(trial.deployment.url)
        async with Relay(f"{parts.scheme}://{parts.netloc}") as relay:
            streams = SIZE.jobs * SIZE.readers
            ways = detours(relay, parts.path, point, self.body, streams)
            await trial.run(detours=ways)
        cut = [reader for reader in trial.readers if cut_there(point, reader.connections[0])]
        if cut:
            at = sorted(reader.connections[0].closed_at - trial.began for reader in cut)
            trial.played = [Played(Fault("cut", point, 0.0, 0.0), at[0], at[-1] - at[0])]

    async def _healed(self) -> bool:
        """Mend all there is; whether each instance takes jobs again."""
        deployment = self._deployment
        if deployment is None:
            return True
        if await asyncio.to_thread(deployment.heal):
            return False
        waiting = set(deployment.urls)
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            until = time.monotonic() + READY_S
            while waiting and time.monotonic() < until:
                for url in tuple(waiting):
                    with suppress(httpx.HTTPError):
                        if (await http.get(f"{url}/readyz")).status_code == 200:
                            waiting.discard(url)
                await asyncio.sleep(LOOK_S if waiting else 0)
        return not waiting

    async def _deployed(self) -> Deployment:
        if self._deployment is None:
            self._deployment = await self.start()
        return self._deployment

    async def end(self) -> None:
        """End the deployment."""
        deployment, self._deployment = self._deployment, None
        if deployment is not None:
            await deployment.aclose()

    def say(self, found: Outcome, took: str) -> None:
        hits = ", ".join(f"{p.fault.breaks} hit {p.streams_hit}" for p in found.played)
        why = f": {found.reasons[0]}" if found.reasons else ""
        self.tell(f"{found.verdict:12} {found.experiment.key:32} {hits} {took}{why}".rstrip())


async def conclude(lane: Lane, experiment: Experiment) -> Outcome:
    """Its outcome; that of another try where the first one proved nothing."""
    for again in range(TRIES):
        began = time.monotonic()
        found = await lane.once(experiment)
        lane.say(found, f"{time.monotonic() - began:.0f} s")
        if found.verdict != INCONCLUSIVE or again == TRIES - 1:
            break
    return found


def said(error: Exception) -> str:
    """What went wrong, for people."""
    return f"{type(error).__name__}: {str(error).strip()[-300:] or 'no word'}"
