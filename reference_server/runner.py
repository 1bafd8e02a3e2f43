"""Runs pipelines under leases: claims jobs, emits their events, ends what fails or is left over.

A job belongs to whoever holds its newest epoch. This module renews the leases of the pipelines
that run here, takes up jobs that nobody works on, and stops at once when the store says that
somebody else owns a job now (protocol §8). How events get into the store is in `emitter.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from .clock import Clock
from .emitter import Emitter
from .events import CANCELED, FAILED, STARTED
from .hub import Hub
from .observe import NoHooks, RunnerHooks
from .payloads import Emission, ending, seal
from .pipelines import Pipelines
from .pipelines.base import Step
from .store.base import Claim, Fenced, Run, Store, StoreUnavailable

LOGGER = logging.getLogger(__name__)

#: A lease is renewed this many times while it lasts.
RENEWALS_PER_LEASE: Final = 3

SWEEP_INTERVAL_S: Final = 1.0
CLAIMS_AT_ONCE: Final = 64

PRUNE_INTERVAL_S: Final = 60.0
RETENTION_S: Final = 24 * 3600.0

#: Draining may take this long; what is not done by then is left to the leases' end.
DRAIN_TIMEOUT_S: Final = 3.0

_BEGIN: Final = Emission("job_status", {"status": STARTED})


class Runner:
    """All pipelines of this process."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        clock: Clock,
        pipelines: Pipelines,
        owner: str,
        lease_s: float,
        hooks: RunnerHooks | None = None,
        *,
        keep_s: float = RETENTION_S,
    ) -> None:
        """`keep_s`: how long finished jobs are kept."""
        self._store = store
        self._hub = hub
        self._clock = clock
        self._pipelines = pipelines
        self._owner = owner
        self._lease_s = lease_s
        self._hooks = hooks or NoHooks()
        self._keep_s = keep_s
        self._jobs: dict[str, tuple[Claim, asyncio.Task[None]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._arrivals: set[str] = set()
        self._gates: dict[str, asyncio.Event] = {}
        self._sweep_now = asyncio.Event()
        self._draining = False

    @property
    def running(self) -> int:
        """Pipelines that run in this process."""
        return len(self._jobs)

    async def open(self) -> None:
        """Start renewing, sweeping and pruning."""
        prune_s = min(PRUNE_INTERVAL_S, max(SWEEP_INTERVAL_S, self._keep_s / 4))
        self._loops = [
            asyncio.create_task(self._every(self._lease_s / RENEWALS_PER_LEASE, self._renew)),
            asyncio.create_task(self._every(SWEEP_INTERVAL_S, self._sweep, self._sweep_now)),
            asyncio.create_task(self._every(prune_s, self._prune)),
        ]

    def launch(self, claim: Claim) -> None:
        """Run the job's pipeline from `claim.head` on. A drained runner leaves it to others."""
        if self._draining:
            return
        earlier = self._jobs.pop(claim.job_id, None)
        if earlier is not None:
            earlier[1].cancel()  # its lease ran out and was claimed anew: it is fenced anyway
        task = asyncio.create_task(self._run(claim), name=f"job-{claim.job_id}")
        self._jobs[claim.job_id] = (claim, task)
        task.add_done_callback(lambda done: self._finished(claim, done))

    async def subscriber_arrived(self, job_id: str) -> None:
        """Start a job that waits for its first subscriber. Raises StoreUnavailable."""
        if self._draining or job_id in self._arrivals or job_id in self._jobs:
            return
        self._arrivals.add(job_id)
        try:
            await self._store.make_ready(job_id)
            self._sweep_now.set()
        finally:
            self._arrivals.discard(job_id)

    async def cancel(self, job_id: str) -> Run | None:
        """End the job as canceled, wherever it runs; its row afterwards, or None: no such job.

        Raises StoreUnavailable.
        """
        stamp = self._clock.timestamp()
        drafts = [seal(emission, stamp) for emission in ending(CANCELED)]
        run = await self._store.cancel(job_id, drafts, seal(_BEGIN, stamp))
        if run is not None:
            self._stop(job_id)
            await self._hub.catch_up(job_id)
        return run

    async def drain(self) -> None:
        """Stop all pipelines and let others go on with their jobs.

        A store that ends with this process ends its jobs as interrupted instead. Takes at most
        DRAIN_TIMEOUT_S, and nothing when called again.
        """
        if self._draining:
            return
        self._draining = True
        tasks = [*self._loops, *(task for _, task in self._jobs.values())]
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                if tasks:
                    await asyncio.wait(tasks)
                await self._store.release(self._owner)
                if not self._store.durable:
                    await self._interrupt()
        except (TimeoutError, StoreUnavailable):
            LOGGER.warning("the leases were not released; they run out by themselves")

    async def _every(
        self,
        seconds: float,
        action: Callable[[], Awaitable[None]],
        now: asyncio.Event | None = None,
    ) -> None:
        """Do `action` at once, then at this pace, or as soon as `now` is set; for ever."""
        now = now or asyncio.Event()
        while True:
            now.clear()
            try:
                await action()
            except StoreUnavailable:
                LOGGER.warning("the store is away: %s waits", action.__name__)
            except Exception as error:
                _log_error(action.__name__, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await now.wait()

    async def _renew(self) -> None:
        """Extend the leases of what runs here; stop what is not ours any more."""
        mine = {job_id: (claim.epoch, task) for job_id, (claim, task) in self._jobs.items()}
        if not mine:
            return
        held = await self._store.renew(self._owner, self._lease_s, list(mine))
        for job_id, (epoch, task) in mine.items():
            if held.get(job_id) != epoch and not task.done():
                LOGGER.warning("a lease was lost", extra={"job_id": job_id})
                task.cancel()
                # The last append may have come through: its readers must not wait for a poll.
                await self._hub.catch_up(job_id)

    async def _sweep(self) -> None:
        """Take up every job that is due and that nobody works on."""
        while True:
            claims = await self._store.claim_waiting(self._owner, self._lease_s, CLAIMS_AT_ONCE)
            for claim in claims:
                self.launch(claim)
            if len(claims) < CLAIMS_AT_ONCE:
                return

    async def _prune(self) -> None:
        pruned = await self._store.prune(self._keep_s)
        while pruned:
            pruned = await self._store.prune(self._keep_s)

    def _stop(self, job_id: str) -> None:
        _, task = self._jobs.get(job_id, (None, None))
        if task is not None:
            task.cancel()

    def _finished(self, claim: Claim, task: asyncio.Task[None]) -> None:
        if self._jobs.get(claim.job_id, (None, None))[1] is task:
            del self._jobs[claim.job_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log_error("the job's task", error, job_id=claim.job_id)

    async def _run(self, claim: Claim) -> None:
        """One pipeline from its claim to its end, or until somebody else owns the job."""
        emitter = Emitter(self._store, self._hub, self._clock, self._hooks, claim)
        self._hooks.job_started()
        if claim.taken_over:
            self._hooks.job_taken_over()
        try:
            await self._drive(claim, emitter)
        except Fenced:
            LOGGER.info("the job has another owner or has ended", extra={"job_id": claim.job_id})
        finally:
            self._hooks.job_ended()

    async def _drive(self, claim: Claim, emitter: Emitter) -> None:
        """Play the pipeline; whatever it raises ends the job as failed, without any detail."""
        try:
            for step in self._pipelines.steps(claim.parameters, claim.head):
                if step.delay_s > 0:
                    await emitter.flush()
                    await self._pause(claim.job_id, step)
                await emitter.emit(step.emissions)
            await emitter.flush()
        except Fenced:
            raise
        except Exception as error:
            _log_error("the pipeline", error, job_id=claim.job_id)
            await self._fail(emitter, ("pipeline_error", "The pipeline failed."))

    async def _pause(self, job_id: str, step: Step) -> None:
        if not step.gate:
            await self._clock.sleep(step.delay_s)
            return
        answered = self._gates.setdefault(job_id, asyncio.Event())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(step.delay_s):
                    await answered.wait()
        finally:
            self._gates.pop(job_id, None)

    def answer(self, job_id: str) -> bool:
        """Open the gate at which a job waits in this process; tells whether it does."""
        waiting = self._gates.get(job_id)
        if waiting is None:
            return False
        waiting.set()
        return True

    async def _interrupt(self) -> None:
        """End the jobs of a store that is about to vanish; `release` has made them all due."""
        while claims := await self._store.claim_waiting(self._owner, self._lease_s, CLAIMS_AT_ONCE):
            for claim in claims:
                emitter = Emitter(self._store, self._hub, self._clock, self._hooks, claim)
                await self._fail(emitter, ("interrupted", "The server was shut down."))

    async def _fail(self, emitter: Emitter, error: tuple[str, str]) -> None:
        if emitter.untouched:
            await emitter.emit((_BEGIN,))
        await emitter.emit(ending(FAILED, error=error))
        await emitter.flush()


def _log_error(who: str, error: BaseException, **extra: str) -> None:
    """Log type and place of an exception. Its text may hold a payload and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    LOGGER.error("%s raised %s at %s", who, type(error).__name__, place, extra=extra)
