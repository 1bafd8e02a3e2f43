"""The options of a run, and the target they describe; every mistake in them gets one clear line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .collect import Target
from .profile import Profile, ProfileError, bundled_profiles, load_profile

DEFAULT_PROFILE = "resume-optimizer"
DEFAULT_REPORT_DIR = Path("reports") / "conformance"


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
    group.addoption(
        "--from-trace",
        default="",
        metavar="FILE",
        help="judge a saved trace again instead of a target",
    )


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
        base_url=_url("--base-url", base_url or f"trace:{trace}", trace=bool(trace)),
        profile=profile,
        headers=tuple(_header(text) for text in config.getoption("--header")),
        instances=tuple(_url("--instance", url) for url in config.getoption("--instance")),
        long=config.getoption("--long"),
    )


def path_from(
    url: str, headers: Sequence[str], profile: str
) -> tuple[str, tuple[tuple[str, str], ...], Profile]:
    """The same for commands that only look at a path: address, headers and profile.

    Raises:
        UsageError: naming what was expected and what was given.
    """
    try:
        loaded = load_profile(profile)
    except ProfileError as error:
        raise UsageError(f"--profile: {error}") from error
    return _url("URL", url), tuple(_header(text) for text in headers), loaded


def _url(option: str, text: str, *, trace: bool = False) -> str:
    if trace:
        return text
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
