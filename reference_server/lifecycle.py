"""Where the process stands between serving and having gone (protocol §8 "SIGTERM").

A tiny object that everybody may look at, because draining is not one act but a fact that the start,
the readiness probe, the streams and the polling requests each answer in their own way.
"""

from __future__ import annotations

from collections.abc import Callable


class Lifecycle:
    """Serving, then draining (no new work), then recycling (open streams end)."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._recycling_since_s: float | None = None
        self.draining = False

    def begin_draining(self) -> None:
        """Refuse starts and say "not ready" from now on."""
        self.draining = True

    def begin_recycling(self) -> None:
        """Ask every open stream to end. Whoever calls this wakes the readers afterwards."""
        self.draining = True
        if self._recycling_since_s is None:
            self._recycling_since_s = self._monotonic()

    @property
    def recycling(self) -> bool:
        return self._recycling_since_s is not None

    @property
    def recycling_for_s(self) -> float:
        """Seconds since streams were asked to end; 0 where they were not."""
        since = self._recycling_since_s
        return 0.0 if since is None else self._monotonic() - since
