"""What the suite does to a target. Each scenario is played once and serves many checks."""

from typing import Final

from streamgauge.lab import Scenario

from .browser import browser
from .cors import cors
from .endings import endings
from .history import history
from .inputs import inputs
from .live import live
from .log import log
from .operations import operations
from .probe import probe
from .quiet import gaps, quiet
from .quota import quota
from .race import race
from .starts import starts
from .texts import texts
from .waiting import opening, waiting

SCENARIOS: Final = (
    Scenario("probe", probe, "a first answer of the target"),
    Scenario("starts", starts, "answers to starts, and their URLs at once"),
    Scenario("waiting", waiting, "jobs that wait for their subscriber", patient=True),
    Scenario("quiet", quiet, "a quiet stretch to end", patient=True),
    Scenario("gaps", gaps, "events a second apart"),
    Scenario("log", log, "a finished log, read from every cursor"),
    Scenario("live", live, "a running job, watched from many sides"),
    Scenario("opening", opening, "an event in the instant after a stream opens"),
    Scenario("endings", endings, "every way in which a job can end"),
    Scenario("texts", texts, "texts that break careless encoders"),
    Scenario("inputs", inputs, "odd and wrong requests"),
    Scenario("race", race, "joins that race a burst"),
    Scenario("history", history, "a long history, replayed"),
    Scenario("quota", quota, "clients at their quota"),
    Scenario("cors", cors, "pages of other origins"),
    Scenario("operations", operations, "health checks and metrics"),
    Scenario("browser", browser, "a real browser on a page of another origin", patient=True),
)
