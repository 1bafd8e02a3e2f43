"""What the domain tells about itself: a few hooks, and a listener that ignores them.

The domain must not know Prometheus, so it calls these methods; `metrics.py` turns them into the
figures of protocol §11.
"""

from __future__ import annotations

from typing import Protocol


class RunnerHooks(Protocol):
    """Notices, called on the event loop: they must be quick and must not raise."""

    def frame_encoded(self, nbytes: int) -> None:
        """A frame was built for the wire."""

    def replay_finished(self, seconds: float) -> None:
        """A stream has caught up with its log."""

    def persisted(self, seconds: float, events: int) -> None:
        """An append of so many events was confirmed after so many seconds."""

    def persist_failed(self) -> None:
        """An append was not confirmed and is going to be tried again."""

    def job_started(self) -> None:
        """A pipeline runs in this process from now on."""

    def job_ended(self) -> None:
        """A pipeline stopped running in this process, whatever the reason."""

    def job_taken_over(self) -> None:
        """A job that somebody else had worked on goes on here."""


class NoHooks:
    """Nobody listens."""

    def frame_encoded(self, nbytes: int) -> None: ...

    def replay_finished(self, seconds: float) -> None: ...

    def persisted(self, seconds: float, events: int) -> None: ...

    def persist_failed(self) -> None: ...

    def job_started(self) -> None: ...

    def job_ended(self) -> None: ...

    def job_taken_over(self) -> None: ...
