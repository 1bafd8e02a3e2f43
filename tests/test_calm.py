"""A machine that is too busy convicts nobody."""

from __future__ import annotations

import threading

import pytest

from conformance.clocks import INSTRUMENT_LATE_S, STARVED_MAX, require_calm
from streamgauge.check import Run
from streamgauge.clock import starved
from streamgauge.collect import Evidence
from streamgauge.profile_file import load_profile
from streamgauge.verdict import Unable


def run_on(**evidence: float) -> Run:
    return Run("http://x", load_profile("resume-optimizer"), Evidence(**evidence))  # type: ignore[arg-type]


def test_a_calm_machine_judges() -> None:
    """If the instrument was hardly late and got half of what it wanted, then it can judge."""
    require_calm(run_on(loop_lag_s=INSTRUMENT_LATE_S / 2, starved=0.5))


@pytest.mark.parametrize(
    "evidence", [{"loop_lag_s": 2 * INSTRUMENT_LATE_S}, {"starved": STARVED_MAX + 0.01}]
)
def test_a_machine_that_is_too_busy_does_not(evidence: dict[str, float]) -> None:
    """If the instrument was late, or waited for a core most of the time, then nobody is blamed."""
    with pytest.raises(Unable, match="too busy to measure"):
        require_calm(run_on(**evidence))


def test_a_thread_that_only_works_knows_what_it_waited() -> None:
    """If a thread runs beside others, then its share of waiting is told, and is a share."""
    told: list[float] = []

    def work() -> None:
        sum(range(200_000))
        told.append(starved())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert 0.0 <= told[0] < 1.0
