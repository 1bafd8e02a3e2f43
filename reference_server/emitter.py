"""One job's way into the store: gathers drafts, appends them, tries again, then fans out.

Nothing reaches a reader before the store has confirmed it (persist before fan-out, protocol §8).
While the store is away the pipeline waits here; after an append whose outcome nobody knows, the
log itself says whether it came through.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from .clock import Clock
from .events import Draft, Event
from .hub import Hub
from .observe import RunnerHooks
from .payloads import Emission, seal
from .store.base import Claim, Fenced, HeadMoved, Store, StoreUnavailable

LOGGER = logging.getLogger(__name__)

#: One append takes at most so many events, and ends with the event that passes so many octets.
APPEND_EVENTS_MAX: Final = 64
APPEND_BYTES_MAX: Final = 256 * 1024

RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 2.0


class Emitter:
    """Emits the events of one claim. Not to be shared between tasks."""

    def __init__(
        self, store: Store, hub: Hub, clock: Clock, hooks: RunnerHooks, claim: Claim
    ) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._hooks = hooks
        self._claim = claim
        self._pending: list[Draft] = []
        self._pending_bytes = 0
        self._status: str | None = None
        self._head = claim.head

    @property
    def untouched(self) -> bool:
        """The job has no event yet, stored or gathered."""
        return not self._head and not self._pending

    async def emit(self, emissions: Sequence[Emission]) -> None:
        """Date, check and gather events, which stay together; append when enough have gathered.

        Raises PayloadError (then none of them is taken), Fenced.
        """
        stamp = self._clock.timestamp()
        drafts = [seal(emission, stamp) for emission in emissions]
        if len(self._pending) + len(drafts) > APPEND_EVENTS_MAX:
            await self._flush_amid()
        for emission, draft in zip(emissions, drafts, strict=True):
            self._pending.append(draft)
            self._pending_bytes += len(draft.data)
            if emission.type == "job_status":
                self._status = str(emission.data["status"])
        if self._pending_bytes >= APPEND_BYTES_MAX:
            await self._flush_amid()

    async def flush(self) -> None:
        """Store what has gathered and show it. Waits for as long as the store is away.

        Raises Fenced.
        """
        if not self._pending:
            return
        drafts, status = self._pending, self._status
        self._pending, self._pending_bytes, self._status = [], 0, None
        begun = time.perf_counter()
        events = await self._append(drafts, status)
        self._hooks.persisted(time.perf_counter() - begun, len(events))
        self._head = events[-1].id
        self._hub.committed(self._claim.job_id, events, status)

    async def _flush_amid(self) -> None:
        """Flush where no pause follows: a store that never waits must not starve the readers."""
        await self.flush()
        await self._clock.sleep(0)

    async def _append(self, drafts: list[Draft], status: str | None) -> list[Event]:
        delay_s = RETRY_FIRST_S
        uncertain = False
        while True:
            try:
                if uncertain and (events := await self._landed(drafts)):
                    return events
                return await self._store.append(
                    self._claim.job_id, self._claim.epoch, drafts, status, self._head
                )
            except HeadMoved:
                # An append that was given up as lost came through after the log was looked at.
                uncertain = True
                continue
            except StoreUnavailable:
                self._hooks.persist_failed()
                LOGGER.warning("an append is tried again", extra={"job_id": self._claim.job_id})
            uncertain = True
            await self._clock.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_MAX_S)

    async def _landed(self, drafts: list[Draft]) -> list[Event] | None:
        """The events of an append that reported a failure and was stored all the same.

        Raises Fenced where somebody else has written in their place.
        """
        job_id = self._claim.job_id
        run = await self._store.run(job_id)
        if run is None:
            raise Fenced(job_id)
        if run.head == self._head:
            return None
        size = sum(len(draft.data.encode()) for draft in drafts)
        events = await self._store.read(
            job_id, self._head, upto=self._head + len(drafts), limit=len(drafts), max_bytes=size
        )
        stored = [Draft(event.type, event.timestamp, event.data) for event in events]
        if stored != drafts:
            raise Fenced(job_id)
        return events
