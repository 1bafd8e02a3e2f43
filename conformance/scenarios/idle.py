"""A quiet job behind a proxy that cuts what is idle for a little longer than a heartbeat."""

from __future__ import annotations

from streamgauge.lab import Lab
from streamgauge.relay import Powers
from streamgauge.verdict import Unable

from .shapes import script

RULE_S = 60.0
"""The idle timeout that the rule speaks of, and that most proxies have."""
SPARE_S = 1.0
QUIET_LONGER_S = 2.0
DEFAULT_MAX_S = 40.0
"""A default run keeps nothing idle for longer than this."""
BEFORE, AFTER = 3, 3


async def idle(lab: Lab) -> None:
    """Let a job pause for longer than the proxy's patience."""
    declared = lab.profile.declared
    idle_s = min(RULE_S, declared.heartbeat_s + declared.heartbeat_margin_s + SPARE_S)
    if lab.shared.long:
        idle_s = RULE_S
    elif idle_s > DEFAULT_MAX_S:
        raise Unable(f"an idle timeout of {idle_s:g} s is tried with --long only")
    passage = await lab.passage()
    lab.facts["idle_s"] = idle_s
    quiet_s = idle_s + QUIET_LONGER_S
    if lab.shared.shaped:
        shape = script(BEFORE + AFTER, 0, pauses=[[BEFORE, int(quiet_s * 1000)]])
        job = await lab.start("start", shape)
        bound_s = quiet_s + 15.0
    else:
        job = lab.shared_job()
        bound_s = max(1.0, lab.left_s() - 10.0)
    lab.facts["job"] = job.job_id
    lab.expect("a quiet stream behind an idle timeout", quiet_s)
    reader = lab.stream(job, "reader", bound_s=bound_s, via=passage.via(Powers(idle_s=idle_s)))
    await reader.until(lab.ended, bound_s)
