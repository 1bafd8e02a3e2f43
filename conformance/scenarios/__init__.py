"""What the suite does to a target. Each scenario is played once and serves many checks."""

from typing import Final

from streamgauge.lab import Scenario

from .caching import caching
from .cuts import cuts
from .endings import endings
from .history import history
from .idle import idle
from .inputs import inputs
from .live import live
from .log import log
from .probe import probe
from .proxied import proxied
from .quiet import gaps, quiet
from .quota import quota
from .race import race
from .rough import rough
from .starts import starts
from .storm import storm
from .texts import texts
from .waiting import opening, waiting

SCENARIOS: Final = (
    Scenario("probe", probe, "a first answer of the target"),
    Scenario("starts", starts, "answers to starts, and their URLs at once"),
    Scenario("waiting", waiting, "jobs that wait for their subscriber", patient=True),
    Scenario("quiet", quiet, "a quiet stretch to end", patient=True),
    Scenario("idle", idle, "a quiet stream behind an idle timeout", patient=True),
    Scenario("gaps", gaps, "events a second apart"),
    Scenario("log", log, "a finished log, read from every cursor"),
    Scenario("live", live, "a running job, watched from many sides"),
    Scenario("opening", opening, "an event in the instant after a stream opens"),
    Scenario("endings", endings, "every way in which a job can end"),
    Scenario("texts", texts, "texts that break careless encoders"),
    Scenario("inputs", inputs, "odd and wrong requests"),
    Scenario("proxied", proxied, "a running job behind proxies"),
    Scenario("rough", rough, "a running job through a bad network"),
    Scenario("caching", caching, "a job behind a prefix and a cache"),
    Scenario("cuts", cuts, "streams that are cut"),
    Scenario("storm", storm, "a reconnect storm"),
    Scenario("race", race, "joins that race a burst"),
    Scenario("history", history, "a long history, replayed"),
    Scenario("quota", quota, "clients at their quota"),
)
