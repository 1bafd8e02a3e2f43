"""`pytest chaos`: plays all experiments first, then each test says what came of one.

As with the conformance suite, playing comes before judging: deployments are played beside each
other, and an interrupted run still heals what it broke and writes what it has seen.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamgauge import interrupt
from streamgauge.access import AccessError, access
from streamgauge.options import DEFAULT_PROFILE, UsageError, header, usable_url
from streamgauge.profile_file import ProfileError, load_profile

from .deployment import Running
from .outcome import FAIL, INCONCLUSIVE
from .page import write_page
from .programme import Choice, Programme
from .results import write
from .schedule import ScheduleError
from .services import MissingProgram, ServiceFailed

REPORTS = Path("reports") / "chaos"
INCONCLUSIVE_EXIT = 3
USAGE_EXIT = 2
PROGRAMME = pytest.StashKey[Programme]()
SEED_MAX = 2**31


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos", "chaos: break a deployment and judge its readers")
    group.addoption("--seed", type=int, help="of the faults; default: a new one")
    group.addoption("--schedule", type=Path, metavar="FILE", help="play what a run wrote down")
    group.addoption("--whole", action="store_true", help="every fault on every link")
    group.addoption(
        "--budget", type=float, default=0.0, metavar="SECONDS", help="then random combinations"
    )
    group.addoption(
        "--only", action="append", default=[], metavar="TEXT", help="names that contain this"
    )
    group.addoption(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="NAME|FILE.toml",
        help="with --base-url: how it is broken ([hooks]), and what it declares",
    )
    group.addoption(
        "--instance",
        action="append",
        default=[],
        metavar="URL",
        help="with --base-url: a further instance of it (repeatable)",
    )
    group.addoption(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="with --base-url: sent with every request (repeatable)",
    )
    group.addoption("--report-dir", type=Path, default=REPORTS, metavar="DIR")


def pytest_configure(config: pytest.Config) -> None:
    for name in ("delivery", "platforms"):
        config.addinivalue_line("markers", f"{name}: what is played beside the experiments")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seed = config.getoption("--seed")
    choice = Choice(
        seed=random.randrange(SEED_MAX) if seed is None else seed,
        whole=config.getoption("--whole"),
        budget_s=config.getoption("--budget"),
        only=tuple(config.getoption("--only")),
    )
    try:
        config.stash[PROGRAMME] = Programme.chosen(
            choice, config.getoption("--schedule"), _own(config)
        )
    except (ScheduleError, MissingProgram, UsageError, ProfileError, AccessError) as error:
        pytest.exit(f"chaos: {error}", USAGE_EXIT)


def _own(config: pytest.Config) -> Running | None:
    """The deployment that the options name, None where they name none.

    Raises UsageError, ProfileError, AccessError.
    """
    base_url = config.getoption("base_url") or config.getini("base_url")
    if not base_url:
        return None
    profile = load_profile(config.getoption("--profile"))
    given = (base_url, *config.getoption("--instance"))
    urls = [usable_url("--base-url, --instance", url) + profile.api.prefix for url in given]
    named = (header(text) for text in config.getoption("--header"))
    return Running(
        urls[0],
        urls,
        profile.declared.lease_s,
        profile.hooks,
        profile.declared.heartbeat_s,
        dict((*access(profile).headers, *named)),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    programme = metafunc.config.stash[PROGRAMME]
    if "experiment" in metafunc.fixturenames:
        played = [each for some in programme.experiments.values() for each in some]
        metafunc.parametrize("experiment", played, ids=lambda each: each.key)
    if "control" in metafunc.fixturenames:
        metafunc.parametrize("control", programme.controls, ids=lambda each: each.name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    programme = config.stash[PROGRAMME]
    left_out = set() if programme.beside else {"delivery", "platforms"}
    if programme.own is not None:
        left_out.add("delivery")  # that takes a server with padding and one without
    items[:] = [item for item in items if not left_out & set(item.keywords)]


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Play, write the report, and only then let the tests judge."""
    config = session.config
    if config.option.collectonly:
        return (yield)
    programme, folder = config.stash[PROGRAMME], config.getoption("--report-dir")
    path = folder / f"schedule-{programme.choice.seed}.json"
    programme.save(path)
    told: Any = config.get_terminal_writer()
    told.line(f"\nseed {programme.choice.seed}; the schedule is in {path}")
    try:
        interrupt.run(programme.play(told.line))
    except KeyboardInterrupt:
        pytest.exit("interrupted; what was broken is healed", USAGE_EXIT)
    except (MissingProgram, ServiceFailed) as error:
        pytest.exit(str(error), USAGE_EXIT)
    finally:
        write(programme, folder)
        write_page(programme, folder)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What proved nothing is not green, and not red either."""
    programme = session.config.stash[PROGRAMME]
    failed = programme.verdict == FAIL or programme.uncaught
    unproven = exitstatus == pytest.ExitCode.OK and programme.verdict == INCONCLUSIVE
    if unproven or (exitstatus == pytest.ExitCode.TESTS_FAILED and not failed):
        session.exitstatus = INCONCLUSIVE_EXIT


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    programme = config.stash[PROGRAMME]
    if programme.started:
        folder = config.getoption("--report-dir")
        terminalreporter.line(f"{programme.verdict}: {folder / 'index.html'}")


@pytest.fixture
def programme(pytestconfig: pytest.Config) -> Programme:
    """The run that is over."""
    return pytestconfig.stash[PROGRAMME]
