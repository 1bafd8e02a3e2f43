"""Waiting for the end of the natural job that scenarios share, where jobs cannot be shaped."""

from __future__ import annotations

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

NATURAL_END_S = 90.0
KEPT_BACK_S = 25.0
"""What is left of the run for the work on the finished log."""


async def natural_end(lab: Lab) -> Job:
    """The shared job, ended by itself.

    Raises:
        Unable: it has not ended in the time there is.
    """
    job, reader = lab.natural()
    within_s = min(NATURAL_END_S, max(1.0, lab.left_s() - KEPT_BACK_S))
    lab.expect("the natural end of the target's own job", within_s)
    await reader.until(lab.ended, within_s)
    if not lab.ended(reader):
        raise Unable(f"the target's own job did not end within {within_s:.0f} s")
    return job
