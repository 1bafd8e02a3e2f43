"""How late an event was, although the target's clock is not ours.

An event's timestamp is the target's, its arrival is ours, and the offset between the two clocks is
unknown. Causality bounds it from both sides: nothing can be stamped before the request that caused
it was sent, nor arrive before it was stamped. The smallest lag alone is never taken for the offset,
because that would hide a constant delay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Offset:
    """Bounds of (target's clock - ours), in seconds of our Unix time."""

    low: float
    high: float
    low_from: str = ""
    high_from: str = ""

    @property
    def contradictory(self) -> bool:
        """The two clocks did not run alike, or the timestamps are no moments of emission."""
        return self.low > self.high

    @property
    def width_s(self) -> float:
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Lag:
    """How late one event was: between `least` and `most` seconds."""

    least: float
    most: float


def moment(stamp: str) -> float | None:
    """Unix seconds of an RFC 3339 timestamp, None where it is none."""
    try:
        value = datetime.fromisoformat(stamp.upper().replace("Z", "+00:00"))
    except ValueError:
        return None
    return value.timestamp() if value.tzinfo is not None else None


def bound_offset(
    caused: Iterable[tuple[float, float, str]], arrived: Iterable[tuple[float, float, str]]
) -> Offset:
    """Bound the clock offset.

    Args:
        caused: (target's stamp, our Unix time at which the cause was sent, what it was).
        arrived: (target's stamp, our Unix time at which it had arrived, what it was).
    """
    high, high_from = float("inf"), ""
    for stamp, sent, what in caused:
        if stamp - sent < high:
            high, high_from = stamp - sent, what
    low, low_from = float("-inf"), ""
    for stamp, arrival, what in arrived:
        if stamp - arrival > low:
            low, low_from = stamp - arrival, what
    return Offset(low, high, low_from, high_from)


def lag(stamp: float, arrival: float, offset: Offset) -> Lag:
    """How late an event stamped `stamp` was that arrived at `arrival` (our Unix time)."""
    return Lag(arrival - stamp + offset.low, arrival - stamp + offset.high)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which `share` (0..1) of the values lie, 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
