"""Waiting for the end of the natural job that scenarios share, where jobs cannot be shaped."""

from __future__ import annotations

from streamgauge.job import Job
from streamgauge.lab import Lab
from streamgauge.verdict import Unable

NATURAL_END_S = 90.0
OPEN_END_S = 30.0
"""The same where nobody says that there is an end: most such streams have none."""
KEPT_BACK_S = 25.0
"""What is left of the run for the work on the finished log."""


def natural_s(lab: Lab, most_s: float = NATURAL_END_S, kept_back_s: float = KEPT_BACK_S) -> float:
    """How long the natural end of the target's own job is waited for."""
    if not lab.profile.events.terminal:
        most_s = min(most_s, OPEN_END_S)
    return max(1.0, min(most_s, lab.left_s() - kept_back_s))


async def natural_end(lab: Lab) -> Job:
    """The shared job, ended by itself.

    Raises:
        Unable: it has not ended in the time there is.
    """
    job, reader = lab.natural()
    within_s = natural_s(lab)
    lab.expect("the natural end of the target's own job", within_s)
    await reader.until(lab.ended, within_s)
    if not lab.ended(reader):
        raise Unable(f"the target's own job did not end within {within_s:.0f} s")
    return job
