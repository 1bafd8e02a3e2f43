"""Lag without a common clock: what causality bounds, and what it leaves open."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.timing import bound_offset, lag, moment, percentile


def test_a_moment_is_read_in_utc() -> None:
    """If a timestamp is RFC 3339, then it is a moment; anything else is none."""
    assert moment("2026-01-31T12:00:00.500000Z") == moment("2026-01-31T13:00:00.5+01:00")
    assert moment("yesterday") is None
    assert moment("2026-01-31T12:00:00") is None


@given(
    offset=st.floats(-1e6, 1e6),
    waits=st.lists(st.floats(0, 5), min_size=1, max_size=20),
    lags=st.lists(st.floats(0, 5), min_size=1, max_size=20),
)
def test_the_true_offset_lies_within_the_bounds(
    offset: float, waits: list[float], lags: list[float]
) -> None:
    """If causes precede stamps and stamps precede arrivals, then the bounds hold the truth."""
    caused = [(100.0 + wait + offset, 100.0, "asked") for wait in waits]
    arrived = [(200.0 + offset, 200.0 + late, "arrived") for late in lags]
    bounds = bound_offset(caused, arrived)
    assert bounds.low - 1e-6 <= offset <= bounds.high + 1e-6
    for late in lags:
        seen = lag(200.0 + offset, 200.0 + late, bounds)
        assert seen.least - 1e-6 <= late <= seen.most + 1e-6


def test_a_constant_delay_is_not_hidden() -> None:
    """If every event is late by the same time, then a prompt answer elsewhere still proves it."""
    caused = [(10.01, 10.0, "asked")]
    arrived = [(10.01, 10.02, "stream opened"), (20.0, 22.0, "event"), (21.0, 23.0, "event")]
    assert lag(20.0, 22.0, bound_offset(caused, arrived)).least > 1.9


def test_percentiles() -> None:
    """If there are values, then the share below is the one asked for; none gives 0."""
    assert percentile([], 0.95) == 0
    assert percentile(range(100), 0.95) == 95
