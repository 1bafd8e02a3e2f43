"""A store in this process's memory, for tests and for trying things out.

It keeps the newest events of each job only, so it is also where pruned history can be met in
practice. Nothing here waits, so every verb is one transaction by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ..clock import Clock
from ..events import CANCELED, QUEUED, TERMINAL_STATUSES, Draft, Event
from .base import (
    Claim,
    Created,
    Fenced,
    HeadMoved,
    KeyReused,
    NewRun,
    QuotaExceeded,
    Repeated,
    Run,
    StartOutcome,
    StoreUnavailable,
)

#: Events that are kept for each job (protocol §8).
HISTORY_LIMIT: Final = 500


@dataclass(slots=True)
class _Job:
    """One job's row and what is kept of its log."""

    job_id: str
    parameters: str
    created_at: str
    updated_at: str
    not_before: float
    events: deque[Event]
    status: str = QUEUED
    head: int = 0
    epoch: int = 0
    owner: str | None = None
    lease_expires: float = 0.0
    ended_at: float | None = None

    def row(self) -> Run:
        earliest = self.events[0].id if self.events else 0
        return Run(self.job_id, self.status, self.created_at, self.updated_at, self.head, earliest)


@dataclass(slots=True)
class _Client:
    """What is remembered of one client, also after its jobs were pruned."""

    accepted: int = 0
    keys: dict[str, tuple[str, Repeated]] = field(default_factory=dict)
    """Idempotency key -> digest of the body, first answer."""


class MemoryStore:
    """Everything in dictionaries; gone with the process."""

    durable = False

    def __init__(self, clock: Clock, history_limit: int = HISTORY_LIMIT) -> None:
        self._clock = clock
        self._history_limit = history_limit
        self._jobs: dict[str, _Job] = {}
        self._clients: dict[str, _Client] = {}
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def ping(self) -> None:
        self._require_open()

    async def create_run(self, new: NewRun, quota: int) -> StartOutcome:
        self._require_open()
        client = self._clients.get(new.client_id, _Client())
        if new.idempotency_key is not None and new.idempotency_key in client.keys:
            fingerprint, answer = client.keys[new.idempotency_key]
            return answer if fingerprint == new.fingerprint else KeyReused()
        if quota and client.accepted >= quota:
            return QuotaExceeded()
        now, stamp = self._clock.now(), self._clock.timestamp()
        job = _Job(
            job_id=new.job_id,
            parameters=new.parameters,
            created_at=stamp,
            updated_at=stamp,
            not_before=now if new.ready else now + new.wait_s,
            events=deque(maxlen=self._history_limit),
        )
        if new.ready:
            job.epoch, job.owner, job.lease_expires = 1, new.owner, now + new.lease_s
        client.accepted += 1
        remaining = max(0, quota - client.accepted) if quota else None
        if new.idempotency_key is not None:
            answer = Repeated(new.job_id, remaining)
            client.keys[new.idempotency_key] = (new.fingerprint, answer)
        self._clients[new.client_id] = client
        self._jobs[new.job_id] = job
        return Created(new.job_id, job.epoch, remaining)

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        self._require_open()
        job = self._jobs.get(job_id)
        if job is None or job.epoch != epoch or job.ended_at is not None:
            raise Fenced(job_id)
        if head not in (None, job.head):
            raise HeadMoved(job_id)
        return self._write(job, drafts, status)

    async def cancel(self, job_id: str, drafts: Sequence[Draft], started: Draft) -> Run | None:
        self._require_open()
        job = self._jobs.get(job_id)
        if job is None:
            return None
        if job.ended_at is None:
            job.epoch += 1
            self._write(job, drafts if job.head else [started, *drafts], CANCELED)
        return job.row()

    async def run(self, job_id: str) -> Run | None:
        self._require_open()
        job = self._jobs.get(job_id)
        return job.row() if job else None

    async def runs(self, job_ids: Sequence[str]) -> list[Run]:
        self._require_open()
        return [self._jobs[job_id].row() for job_id in job_ids if job_id in self._jobs]

    async def read(
        self, job_id: str, after: int, *, upto: int, limit: int, max_bytes: int
    ) -> list[Event]:
        self._require_open()
        job = self._jobs.get(job_id)
        if job is None or not job.events:
            return []
        skipped = max(0, after + 1 - job.events[0].id)
        page: list[Event] = []
        size = 0
        for event in islice(job.events, skipped, skipped + limit):
            size += len(event.data.encode())
            if event.id > upto or (page and size > max_bytes):
                break
            page.append(event)
        return page

    async def claim_waiting(self, owner: str, lease_s: float, limit: int) -> list[Claim]:
        self._require_open()
        now = self._clock.now()
        waiting = [
            job
            for job in self._jobs.values()
            if job.ended_at is None
            and job.not_before <= now
            and (job.owner is None or job.lease_expires <= now)
        ]
        claims: list[Claim] = []
        for job in sorted(waiting, key=lambda job: job.not_before)[:limit]:
            taken_over = job.epoch > 0
            job.epoch, job.owner, job.lease_expires = job.epoch + 1, owner, now + lease_s
            claims.append(Claim(job.job_id, job.epoch, job.head, job.parameters, taken_over))
        return claims

    async def make_ready(self, job_id: str) -> None:
        self._require_open()
        job = self._jobs.get(job_id)
        if job is not None:
            job.not_before = min(job.not_before, self._clock.now())

    async def renew(self, owner: str, lease_s: float, job_ids: Sequence[str]) -> dict[str, int]:
        self._require_open()
        now = self._clock.now()
        held: dict[str, int] = {}
        for job_id in job_ids:
            job = self._jobs.get(job_id)
            if job is not None and job.owner == owner and job.lease_expires > now:
                job.lease_expires = now + lease_s
                held[job_id] = job.epoch
        return held

    async def release(self, owner: str) -> None:
        self._require_open()
        now = self._clock.now()
        for job in self._jobs.values():
            if job.owner == owner:
                job.owner = None
            if job.ended_at is None:
                job.not_before = min(job.not_before, now)

    async def prune(self, keep_s: float) -> int:
        self._require_open()
        limit = self._clock.now() - keep_s
        old = {
            job.job_id
            for job in self._jobs.values()
            if job.ended_at is not None and job.ended_at < limit
        }
        for job_id in old:
            del self._jobs[job_id]
        for client in self._clients.values():
            kept = {key: kept for key, kept in client.keys.items() if kept[1].job_id not in old}
            client.keys = kept
        return len(old)

    def _write(self, job: _Job, drafts: Sequence[Draft], status: str | None) -> list[Event]:
        events = [
            Event(job.head + index, draft.type, draft.timestamp, draft.data)
            for index, draft in enumerate(drafts, start=1)
        ]
        job.events.extend(events)
        job.head += len(events)
        job.updated_at = drafts[-1].timestamp
        job.status = status or job.status
        if job.status in TERMINAL_STATUSES:
            job.ended_at, job.owner = self._clock.now(), None
        return events

    def _require_open(self) -> None:
        if not self._open:
            raise StoreUnavailable("expected an open store")
