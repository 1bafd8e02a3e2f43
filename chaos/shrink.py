"""The fewest faults that still fail: what a person has to look at, and what is kept for later.

Delta debugging: leave out halves, then quarters, and so on, as long as the rest still fails.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from .schedule import Fault


async def shrunk(
    faults: Sequence[Fault], fails: Callable[[Sequence[Fault]], Awaitable[bool]], bound_s: float
) -> list[Fault]:
    """A part of the faults that fails, in their order; none of its faults can be left out alone,
    unless the time was over before that was known.

    Args:
        faults: they fail together.
        fails: whether some of them do, by playing them.
        bound_s: no other run is begun later than this.
    """
    until = time.monotonic() + bound_s
    kept, parts = list(faults), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for begin in range(0, len(kept), size):
            rest = kept[:begin] + kept[begin + size :]
            if time.monotonic() > until:
                return kept
            if rest and await fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                return kept
            parts = min(len(kept), 2 * parts)
    return kept
