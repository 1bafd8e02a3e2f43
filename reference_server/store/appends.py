"""What is asked of a store that commits the appends of many jobs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from ..events import TERMINAL_STATUSES, Draft, Event


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Events for one job, measured. `of` raises UnicodeEncodeError for text that is no UTF-8."""

    job_id: str
    epoch: int
    drafts: tuple[Draft, ...]
    sizes: tuple[int, ...]
    nbytes: int
    status: str | None
    head: int | None
    """The newest id that the caller knows of; None: whatever it is."""

    @classmethod
    def of(
        cls,
        job_id: str,
        epoch: int,
        drafts: Sequence[Draft],
        status: str | None,
        head: int | None = None,
    ) -> Self:
        sizes = tuple(len(draft.data.encode()) for draft in drafts)
        return cls(job_id, epoch, tuple(drafts), sizes, sum(sizes), status, head)

    @property
    def ends(self) -> bool:
        """The job ends with it."""
        return self.status in TERMINAL_STATUSES

    def events_after(self, head: int) -> list[Event]:
        """What stands in the log once this was appended to a log that reached `head`."""
        return [
            Event(event_id, draft.type, draft.timestamp, draft.data)
            for event_id, draft in enumerate(self.drafts, start=head + 1)
        ]
