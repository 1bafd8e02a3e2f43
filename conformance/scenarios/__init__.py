"""What the suite does to a target. Each scenario is played once and serves many checks."""

from collections.abc import Callable
from typing import Final

from streamgauge.profile import Profile
from streamgauge.scenario import Means, Scenario

from .away import away_s, broker_away, store_away
from .browser import browser
from .caching import caching
from .cors import cors
from .crowd import crowd
from .cuts import cuts
from .elsewhere import elsewhere
from .endings import endings
from .faults import drained, killed, one_fault_s, paused, rolled, rolling_s
from .fuzz import fuzz
from .history import history
from .http2 import http2
from .idle import idle
from .inputs import inputs
from .kept import kept, kept_for_s
from .live import LONG_S, live
from .log import log
from .mistakes import mistakes
from .operations import operations
from .probe import probe
from .proxied import proxied
from .quiet import LONG_QUIET_S, gaps, quiet
from .quota import quota
from .race import race
from .rough import rough
from .secrets import plain, secrets
from .siege import siege
from .stalled import slow, stalled
from .starts import starts
from .storm import storm
from .strangers import strangers
from .swollen import swollen, swollen_s
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
    Scenario("probe", probe, "a first answer of the target", Means.STREAM),
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
    Scenario(
        "quiet", quiet, "a quiet stretch to end", Means.STREAM, patient=True, jobs=1, lasts=_quiet_s
    ),
    Scenario("gaps", gaps, "events a second apart", jobs=1, lasts=_lasts(7.0)),
    Scenario(
        "log", log, "a finished log, read from every cursor", Means.READS, jobs=1, lasts=_lasts(5.0)
    ),
    Scenario(
        "live", live, "a running job, watched from many sides", Means.STREAM, jobs=1, lasts=_live_s
    ),
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
    Scenario(
        "inputs",
        inputs,
        "odd and wrong requests",
        Means.READS,
        jobs=3,
        lasts=_lasts(5.0),
    ),
    Scenario("race", race, "joins that race a burst", Means.READS, jobs=4, lasts=_lasts(12.0)),
    Scenario("history", history, "a long history, replayed", jobs=3, lasts=_lasts(16.0)),
    Scenario("quota", quota, "clients at their quota", jobs=67, natural_jobs=40, lasts=_lasts(7.0)),
    Scenario(
        "plain",
        plain,
        "a job of the target's own, from its start to its end",
        patient=True,
        jobs=1,
        natural_jobs=1,
        lasts=_lasts(20.0),
    ),
    Scenario("crowd", crowd, "a hundred jobs at once", jobs=101, natural_jobs=3, lasts=_lasts(8.0)),
    Scenario("secrets", secrets, "texts that must not come back", jobs=7, lasts=_lasts(4.0)),
    Scenario(
        "mistakes",
        mistakes,
        "requests that cannot be taken as they are",
        jobs=6,
        natural_jobs=6,
        lasts=_lasts(8.0),
    ),
    Scenario(
        "strangers",
        strangers,
        "jobs that do not exist, texts that want into headers",
        jobs=42,
        natural_jobs=10,
        lasts=_lasts(5.0),
    ),
    Scenario("fuzz", fuzz, "requests by dice", jobs=30, natural_jobs=30, lasts=_lasts(8.0)),
    Scenario(
        "siege",
        siege,
        "slow and idle connections",
        patient=True,
        jobs=4,
        natural_jobs=2,
        lasts=_lasts(10.0),
    ),
    Scenario(
        "slow",
        slow,
        "a large event, read slowly",
        patient=True,
        jobs=2,
        natural_jobs=0,
        lasts=_lasts(22.0),
    ),
    Scenario(
        "stalled", stalled, "jobs whose readers stall", jobs=4, natural_jobs=0, lasts=_lasts(15.0)
    ),
    Scenario("http2", http2, "streams that share an HTTP/2 connection", jobs=4, lasts=_lasts(10.0)),
    Scenario("cors", cors, "pages of other origins", jobs=6, natural_jobs=6, lasts=_lasts(3.0)),
    Scenario("operations", operations, "health checks and metrics", jobs=1, lasts=_lasts(3.0)),
    Scenario(
        "browser",
        browser,
        "a real browser on a page of another origin",
        patient=True,
        jobs=2,
        natural_jobs=1,
        lasts=_lasts(12.0),
    ),
    Scenario(
        "idle",
        idle,
        "a quiet stream behind an idle timeout",
        patient=True,
        jobs=1,
        lasts=_quiet_s,
    ),
    Scenario("proxied", proxied, "a running job behind proxies", jobs=3, lasts=_lasts(15.0)),
    Scenario("rough", rough, "a running job through a bad network", jobs=2, lasts=_lasts(15.0)),
    Scenario("caching", caching, "a job behind a prefix and a cache", jobs=2, lasts=_lasts(8.0)),
    Scenario("cuts", cuts, "streams that are cut", jobs=4, lasts=_lasts(12.0)),
    Scenario(
        "elsewhere", elsewhere, "jobs of one instance on the others", jobs=42, lasts=_lasts(10.0)
    ),
    Scenario("storm", storm, "a reconnect storm", jobs=2, lasts=_lasts(10.0)),
    Scenario("kept", kept, "a finished job", patient=True, jobs=1, lasts=kept_for_s),
    Scenario(
        "drained", drained, "an instance that is told to end", alone=True, jobs=1, lasts=one_fault_s
    ),
    Scenario(
        "rolled",
        rolled,
        "a restart of one instance after the other",
        alone=True,
        jobs=16,
        lasts=rolling_s,
    ),
    Scenario("killed", killed, "an instance that is killed", alone=True, jobs=2, lasts=one_fault_s),
    Scenario("paused", paused, "an instance that is paused", alone=True, jobs=1, lasts=one_fault_s),
    Scenario(
        "broker_away", broker_away, "a broker that is stopped", alone=True, jobs=1, lasts=away_s
    ),
    Scenario(
        "store_away", store_away, "a store that is stopped", alone=True, jobs=70, lasts=away_s
    ),
    Scenario(
        "swollen",
        swollen,
        "memory for readers that do not read",
        alone=True,
        jobs=2,
        lasts=swollen_s,
    ),
)
