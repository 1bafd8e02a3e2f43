"""`locust -f load/locustfile.py --host URL`: a crowd of clients, and a verdict on their streams."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

# Locust imports this file by its path, wherever it is called from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gevent
from locust import User, events, task
from locust.env import Environment

from load.conducting import Conducting, conduct
from load.settings import add_options
from load.visits import VISITS

NOBODY_S = 0.2


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _options(parser: Any, **_: Any) -> None:
    add_options(parser)


@events.init.add_listener  # type: ignore[untyped-decorator]
def _init(environment: Environment, **_: Any) -> None:
    conducting = conduct(environment)
    environment.streamgauge = conducting  # type: ignore[attr-defined]
    shares = conducting.settings.profile.load
    for user in environment.user_classes:
        if issubclass(user, Client):
            user.weight = getattr(shares, user.share)
    environment.user_classes[:] = [user for user in environment.user_classes if user.weight > 0]


class Client(User):
    """One user: visit after visit, without a rest between them."""

    abstract = True
    share: ClassVar[str]
    """Its name in a profile's `[load]`."""

    @task
    def visit(self) -> None:
        conducting: Conducting = self.environment.streamgauge
        if conducting.crowd is None or conducting.settings.arrivals:
            gevent.sleep(NOBODY_S)
        else:
            VISITS[self.share](conducting.crowd)


class Starter(Client):
    """Starts a job and reads it."""

    share = "starters"


class LateJoiner(Client):
    """Joins jobs that run or are over."""

    share = "late_joiners"


class FlakyReader(Client):
    """Drops out at random points and resumes."""

    share = "flaky_readers"


class Poller(Client):
    """Polls instead of streaming."""

    share = "pollers"


class SlowReader(Client):
    """Takes a little at a time."""

    share = "slow_readers"


class Herd(Client):
    """Reads what all of its kind read, and drops when they do."""

    share = "herd"


class QuotaAbuser(Client):
    """Starts more than it may."""

    share = "quota_abusers"
