"""Wall time and waiting, as one part that can be replaced.

Leases, timestamps and pipeline pauses all go through one `Clock`, so that a test can move a lease
past its end without waiting for it.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime


def rfc3339(unix_s: float) -> str:
    """Unix seconds as `2026-01-31T12:00:00.123456Z` (protocol §2)."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def unix_seconds(timestamp: str) -> float:
    """The inverse of `rfc3339`."""
    return datetime.fromisoformat(timestamp).timestamp()


class Clock:
    """The host's clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def timestamp(self) -> str:
        """Now, as it stands in events."""
        return rfc3339(self.now())

    async def sleep(self, seconds: float) -> None:
        """Wait; other tasks run meanwhile, also where `seconds` is 0."""
        await asyncio.sleep(seconds)
