"""What a store must do: a handful of verbs, the same for every backend.

The store is the truth. It assigns event ids, checks the epoch of whoever appends, and decides
quota and idempotency inside one transaction, so that neither depends on which instance was asked.
A backend that passes `tests/server/test_store_contract.py` can be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ..events import TERMINAL_STATUSES, Draft, Event

#: Finished jobs that one call of `prune` deletes at most; the next call goes on.
PRUNED_AT_ONCE: Final = 200


class StoreUnavailable(Exception):
    """The store cannot be reached or cannot write now (disk full, locked, closed)."""


class SchemaTooNew(Exception):
    """The database was written by a newer version of this server, which this one cannot read."""


class Fenced(Exception):
    """The caller's epoch is no longer the job's: somebody else owns it, or it has ended."""


class HeadMoved(Exception):
    """The log is longer than the caller of `append` believed: an append of its own, whose outcome
    it did not learn, has come through after all."""


@dataclass(frozen=True, slots=True)
class NewRun:
    """A start request after validation. The résumé text itself is not kept."""

    job_id: str
    client_id: str
    parameters: str
    """JSON text: what the pipeline needs to go on after a restart (its kind and script)."""
    ready: bool
    """False: the pipeline waits for its first subscriber, at most `wait_s`."""
    wait_s: float
    idempotency_key: str | None
    fingerprint: str
    """Digest of the canonical request body, compared when the same key comes again."""
    owner: str
    lease_s: float


@dataclass(frozen=True, slots=True)
class Created:
    """The run exists now. `epoch` is the owner's where it is ready at once, else 0 (unclaimed)."""

    job_id: str
    epoch: int
    remaining: int | None
    """Starts left for this client; None where no quota is in force."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Same key, same body: the earlier run, with the numbers that its first answer told."""

    job_id: str
    remaining: int | None


@dataclass(frozen=True, slots=True)
class KeyReused:
    """Same key, another body."""


@dataclass(frozen=True, slots=True)
class QuotaExceeded:
    """The client has used all its starts. Nothing was written."""


StartOutcome = Created | Repeated | KeyReused | QuotaExceeded


@dataclass(frozen=True, slots=True)
class Run:
    """A job as one consistent read of its row: `head`, `status` and `earliest` belong together."""

    job_id: str
    status: str
    created_at: str
    updated_at: str
    """RFC 3339, UTC."""
    head: int
    """Id of the newest event, 0 when there is none."""
    earliest: int
    """Id of the oldest event that is kept, 0 when there is none."""

    @property
    def ended(self) -> bool:
        return self.status in TERMINAL_STATUSES


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a job: whoever holds the newest epoch may append."""

    job_id: str
    epoch: int
    head: int
    parameters: str
    taken_over: bool
    """True where somebody held a lease on this job before, and lost it or gave it up."""


class Store(Protocol):
    """The durable log, the job rows, the leases and the quota."""

    durable: bool
    """True where another process can go on with a job after this one has died."""

    async def open(self) -> None:
        """Connect and migrate. Safe when several instances start together."""

    async def close(self) -> None:
        """Finish what was accepted, then let go."""

    async def ping(self) -> None:
        """Raise StoreUnavailable where a write would fail now."""

    async def create_run(self, new: NewRun, quota: int) -> StartOutcome:
        """Quota (0 = off), idempotency and the job row in one transaction."""

    async def append(
        self,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> list[Event]:
        """Store events in order, ids head+1 and up; `status`, if given, becomes the job's.

        `head`, if given, is the newest id that the caller knows of. Raises Fenced when `epoch` is
        not the job's newest or the job has ended, HeadMoved when the log has another head (in both
        cases nothing was written), StoreUnavailable when the commit was not confirmed: look at the
        log before trying again. Concurrent appends of one process share a transaction.
        """

    async def cancel(self, job_id: str, drafts: Sequence[Draft], started: Draft) -> Run | None:
        """End the job as canceled in one transaction: raise its epoch, append `drafts`.

        `started` goes first where the log is still empty. A job that has ended stays as it is.
        None: no such job.
        """

    async def run(self, job_id: str) -> Run | None:
        """The job's row, or None."""

    async def runs(self, job_ids: Sequence[str]) -> list[Run]:
        """The rows of those of `job_ids` that exist, in one query, in any order."""

    async def read(
        self, job_id: str, after: int, *, upto: int, limit: int, max_bytes: int
    ) -> list[Event]:
        """Kept events with after < id <= upto, in order: at most `limit`, and about `max_bytes`
        of payload (at least one event where there is any)."""

    async def claim_waiting(self, owner: str, lease_s: float, limit: int) -> list[Claim]:
        """Take jobs that have not ended, are due, and whose lease is free or has run out: the
        longest due first. Each claim raises the job's epoch."""

    async def make_ready(self, job_id: str) -> None:
        """A subscriber has come: a job that waited for one is due now."""

    async def renew(self, owner: str, lease_s: float, job_ids: Sequence[str]) -> dict[str, int]:
        """Extend those leases on `job_ids` that `owner` still holds; returns job_id -> epoch.

        Only the jobs that the owner really works on are named, so that a job whose start was
        broken off between its row and its pipeline is taken up again when its lease runs out. A
        lease that has run out is not extended: it has to be claimed anew.
        """

    async def release(self, owner: str) -> None:
        """Give up all leases of `owner`, so that others can take over at once.

        Where no other process can come (the store is not durable), jobs that wait for their first
        subscriber are due now as well: whoever claims them next is the one that ends them.
        """

    async def prune(self, keep_s: float) -> int:
        """Delete runs that ended more than `keep_s` seconds ago, whole. Returns how many."""
