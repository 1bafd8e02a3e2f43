"""What the suite does to a target. Each scenario is played once and serves many checks."""

from collections.abc import Callable
from typing import Final

from streamgauge.lab import Scenario
from streamgauge.profile import Profile

from .endings import endings
from .history import history
from .inputs import inputs
from .live import LONG_S, live
from .log import log
from .probe import probe
from .quiet import LONG_QUIET_S, gaps, quiet
from .quota import quota
from .race import race
from .starts import starts
from .texts import texts
from .waiting import opening, waiting


def _lasts(seconds: float) -> Callable[[Profile, bool], float]:
    """A scenario that takes about so long, whatever the profile says."""
    return lambda profile, long: seconds


def _live_s(profile: Profile, long: bool) -> float:
    beat = profile.declared.heartbeat_s + profile.declared.heartbeat_margin_s
    return (LONG_S if long else beat) + 5.0


def _quiet_s(profile: Profile, long: bool) -> float:
    return (LONG_QUIET_S if long else profile.quiet_s()) + 2.0


def _waiting_s(profile: Profile, long: bool) -> float:
    return profile.declared.subscriber_wait_s + 3.0


SCENARIOS: Final = (
    Scenario("probe", probe, "a first answer of the target"),
    Scenario(
        "starts",
        starts,
        "answers to starts, and their URLs at once",
        jobs=28,
        natural_jobs=5,
        lasts=_lasts(3.0),
    ),
    Scenario(
        "waiting",
        waiting,
        "jobs that wait for their subscriber",
        patient=True,
        jobs=7,
        lasts=_waiting_s,
    ),
    Scenario("quiet", quiet, "a quiet stretch to end", patient=True, jobs=1, lasts=_quiet_s),
    Scenario("gaps", gaps, "events a second apart", jobs=1, lasts=_lasts(7.0)),
    Scenario("log", log, "a finished log, read from every cursor", jobs=1, lasts=_lasts(5.0)),
    Scenario("live", live, "a running job, watched from many sides", jobs=1, lasts=_live_s),
    Scenario(
        "opening",
        opening,
        "an event in the instant after a stream opens",
        jobs=4,
        lasts=_lasts(2.0),
    ),
    Scenario(
        "endings",
        endings,
        "every way in which a job can end",
        jobs=7,
        natural_jobs=1,
        lasts=_lasts(5.0),
    ),
    Scenario("texts", texts, "texts that break careless encoders", jobs=9, lasts=_lasts(2.0)),
    Scenario("inputs", inputs, "odd and wrong requests", jobs=3, lasts=_lasts(5.0)),
    Scenario("race", race, "joins that race a burst", jobs=4, lasts=_lasts(12.0)),
    Scenario("history", history, "a long history, replayed", jobs=3, lasts=_lasts(16.0)),
    Scenario("quota", quota, "clients at their quota", jobs=67, natural_jobs=40, lasts=_lasts(7.0)),
)
