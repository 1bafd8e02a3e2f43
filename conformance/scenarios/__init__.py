"""What the suite does to a target. Each scenario is played once and serves many checks."""

from typing import Final

from streamgauge.lab import Means, Scenario

from .crowd import crowd
from .endings import endings
from .fuzz import fuzz
from .history import history
from .inputs import inputs
from .live import live
from .log import log
from .mistakes import mistakes
from .probe import probe
from .quiet import gaps, quiet
from .quota import quota
from .race import race
from .secrets import plain, secrets
from .siege import siege
from .starts import starts
from .strangers import strangers
from .texts import texts
from .waiting import opening, waiting

SCENARIOS: Final = (
    Scenario("probe", probe, "a first answer of the target", Means.STREAM),
    Scenario("starts", starts, "answers to starts, and their URLs at once"),
    Scenario("waiting", waiting, "jobs that wait for their subscriber", patient=True),
    Scenario("plain", plain, "a job of the target's own, from its start to its end", patient=True),
    Scenario("quiet", quiet, "a quiet stretch to end", Means.STREAM, patient=True),
    Scenario("gaps", gaps, "events a second apart"),
    Scenario("log", log, "a finished log, read from every cursor", Means.READS),
    Scenario("live", live, "a running job, watched from many sides", Means.STREAM),
    Scenario("opening", opening, "an event in the instant after a stream opens"),
    Scenario("endings", endings, "every way in which a job can end"),
    Scenario("texts", texts, "texts that break careless encoders"),
    Scenario("inputs", inputs, "odd and wrong requests", Means.READS),
    Scenario("race", race, "joins that race a burst", Means.READS),
    Scenario("history", history, "a long history, replayed"),
    Scenario("quota", quota, "clients at their quota"),
    Scenario("crowd", crowd, "a hundred jobs at once"),
    Scenario("secrets", secrets, "texts that must not come back"),
    Scenario("mistakes", mistakes, "requests that cannot be taken as they are"),
    Scenario("strangers", strangers, "jobs that do not exist, texts that want into headers"),
    Scenario("fuzz", fuzz, "requests by dice"),
    Scenario("siege", siege, "slow and idle connections", patient=True),
)
