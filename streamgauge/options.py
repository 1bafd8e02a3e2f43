"""The options of a run, and the target they describe; every mistake in them gets one clear line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .collect import Target
from .known import KnownError, load_known
from .profile import ProfileError, bundled_profiles, load_profile

DEFAULT_PROFILE = "resume-optimizer"
DEFAULT_REPORT_DIR = Path("reports") / "conformance"
JOBS_MAX = 1_000_000
SECONDS_MAX = 3600.0


class UsageError(Exception):
    """The user's call cannot be carried out; the message says what to change."""


def add_options(group: Any) -> None:
    """Add the options of a run to a pytest option group.

    `--base-url` is pytest-base-url's; `--strict` is pytest's own and here also makes a run that
    could not test a MUST exit with 3.
    """
    group.addoption(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="NAME|FILE.toml",
        help=f"what the target looks like and promises: {', '.join(bundled_profiles())}, or a file",
    )
    group.addoption(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="sent with every request and redacted in every output (repeatable)",
    )
    group.addoption(
        "--instance",
        action="append",
        default=[],
        metavar="URL",
        help="a further instance of the same deployment (repeatable)",
    )
    group.addoption(
        "--long",
        action="store_true",
        help="also judge what needs minutes of waiting (8 min at most)",
    )
    group.addoption(
        "--report-dir",
        default=str(DEFAULT_REPORT_DIR),
        metavar="DIR",
        help=f"where the report goes (default: {DEFAULT_REPORT_DIR})",
    )
    _add_control(group)
    group.addoption(
        "--from-trace",
        default="",
        metavar="FILE",
        help="judge a saved trace again instead of a target",
    )


def _add_control(group: Any) -> None:
    """What narrows a run down or bounds it."""
    group.addoption(
        "--only",
        action="append",
        default=[],
        metavar="NAMES",
        help="judge only these: ids, sections, levels or tags (commas); repeated: all must fit",
    )
    group.addoption(
        "--skip",
        action="append",
        default=[],
        metavar="NAMES",
        help="leave these out: ids, sections, levels or tags, with commas (repeatable)",
    )
    group.addoption(
        "--list",
        action="store_true",
        dest="list_checks",
        help="print what would be judged, and ask the target nothing",
    )
    group.addoption(
        "--known-failures",
        default="",
        metavar="FILE",
        help="ids that are known to fail, one a line: they do not make the run nonconformant",
    )
    group.addoption(
        "--max-jobs",
        default="",
        metavar="N",
        help="start at most N jobs; what would need more is not run",
    )
    group.addoption(
        "--budget",
        default="",
        metavar="SECONDS",
        help="collect for at most so long; what would take longer is not run",
    )
    group.addoption(
        "--wait-ready",
        default="",
        metavar="SECONDS",
        help="first wait, for at most so long, until the target answers (default: 0)",
    )


def known_from(config: pytest.Config) -> dict[str, str]:
    """The list of known failures.

    Raises:
        UsageError: it cannot be used.
    """
    path = config.getoption("--known-failures")
    try:
        return load_known(Path(path)) if path else {}
    except KnownError as error:
        raise UsageError(f"--known-failures: {error}") from error


def _number(config: pytest.Config, option: str, expected: str, least: float, most: float) -> float:
    """A number that was given, 0 where none was.

    pytest would end a value that is no number with its own exit code; so it comes here as text.
    """
    text = config.getoption(option)
    if not text:
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise UsageError(f"{option}: expected {expected}, got {text!r}")
    return value


def _count(config: pytest.Config, option: str) -> int:
    value = _number(config, option, "a whole number from 1", 1, JOBS_MAX)
    if value != int(value):
        raise UsageError(f"{option}: expected a whole number from 1, got {value:g}")
    return int(value)


def target_from(config: pytest.Config) -> Target:
    """The target that the options describe.

    Raises:
        UsageError: naming the option, what was expected and what was given.
    """
    trace = config.getoption("--from-trace")
    base_url = config.getoption("base_url", default=None) or config.getini("base_url")
    if not base_url and not trace:
        raise UsageError(
            "which deployment? Give its address: pytest conformance --base-url=https://your.service"
        )
    try:
        profile = load_profile(config.getoption("--profile"))
    except ProfileError as error:
        raise UsageError(f"--profile: {error}") from error
    return Target(
        base_url=f"trace:{trace}" if trace else usable_url("--base-url", base_url),
        profile=profile,
        headers=tuple(_header(text) for text in config.getoption("--header")),
        instances=tuple(usable_url("--instance", url) for url in config.getoption("--instance")),
        long=config.getoption("--long"),
        max_jobs=_count(config, "--max-jobs"),
        budget_s=_number(config, "--budget", "seconds from 1", 1, SECONDS_MAX),
        wait_ready_s=_number(config, "--wait-ready", "seconds, up to 3600", 0, SECONDS_MAX),
    )


def usable_url(option: str, text: str) -> str:
    """The address, without a slash at its end.

    Raises:
        UsageError: naming the option, what was expected and what was given.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.query or parts.fragment:
        raise UsageError(
            f"{option}: expected http://HOST[:PORT][/PREFIX] or https://..., without user, query "
            f"or fragment, got {text!r}"
        )
    return text.rstrip("/")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    token = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    if not colon or not token or any(ord(c) < 32 or ord(c) > 255 for c in value):
        # The value may be a secret: the message shows the name alone.
        raise UsageError(f"--header: expected 'Name: value', got {name!r} and no usable value")
    return name, value
