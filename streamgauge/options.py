"""The options of a run, and the target they describe; every mistake in them gets one clear line."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from .access import Access, AccessError, access
from .collect import Target
from .job import Given
from .known import KnownError, load_known
from .profile import Profile
from .profile_file import ProfileError, bundled_profiles, load_profile
from .secrets import split_query

DEFAULT_PROFILE = "resume-optimizer"
DEFAULT_REPORT_DIR = Path("reports") / "conformance"
JOBS_MAX = 1_000_000
SECONDS_MAX = 3600.0


BASE_URL = pytest.StashKey[str]()
"""The address as it was given; pytest prints its own option, so that one holds no query."""


def hide_query(config: pytest.Config) -> None:
    """Keep the address for `target_from`, and its query, where tokens stand, from being printed."""
    given = str(config.getoption("base_url", default=None) or "")
    config.stash[BASE_URL] = given
    if "?" in given:
        config.option.base_url = given.partition("?")[0]


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
        "--read-only",
        action="store_true",
        help="start and change nothing: judge the job that --job names",
    )
    group.addoption(
        "--job",
        default="",
        metavar="ID|URL",
        help="with --read-only: the job's id, or the URL of its stream",
    )
    group.addoption(
        "--long",
        action="store_true",
        help="also judge what needs minutes of waiting (8 min at most)",
    )
    group.addoption(
        "--browser",
        action="store_true",
        help="also let a real browser read streams (the system's Chromium; the extra [browser])",
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
    base_url = config.stash.get(BASE_URL, "") or config.getini("base_url")
    if not base_url and not trace:
        raise UsageError(
            "which deployment? Give its address: pytest conformance --base-url=https://your.service"
        )
    try:
        profile = load_profile(config.getoption("--profile"))
        said = access(profile) if not trace else Access()
    except (ProfileError, AccessError) as error:
        raise UsageError(f"--profile: {error}") from error
    base_url, query = address(base_url, profile) if not trace else (f"trace:{trace}", ())
    read_only, given = _given(config, profile, base_url, trace=bool(trace))
    return Target(
        base_url=base_url,
        profile=profile,
        headers=(*(header(text) for text in config.getoption("--header")), *said.headers),
        instances=tuple(usable_url("--instance", url) for url in config.getoption("--instance")),
        long=config.getoption("--long"),
        query=(*said.query, *query, *(given.query if given else ())),
        read_only=read_only,
        given=given.job if given else None,
        max_jobs=_count(config, "--max-jobs"),
        budget_s=_number(config, "--budget", "seconds from 1", 1, SECONDS_MAX),
        wait_ready_s=_number(config, "--wait-ready", "seconds, up to 3600", 0, SECONDS_MAX),
        browser=config.getoption("--browser"),
    )


@dataclass(frozen=True, slots=True)
class Named:
    """The job that `--job` names, and the secrets that its URL held."""

    job: Given
    query: tuple[tuple[str, str], ...] = ()


def _given(
    config: pytest.Config, profile: Profile, base_url: str, *, trace: bool
) -> tuple[bool, Named | None]:
    """Whether the run may only read, and what."""
    read_only, job = bool(config.getoption("--read-only")), str(config.getoption("--job"))
    if job and not read_only:
        raise UsageError("--job: only with --read-only, which starts nothing and reads that job")
    if not read_only or trace:
        return False, None
    if profile.api.start_streams:
        raise UsageError(
            f"--read-only: {profile.says('api.start_streams')}, so there is nothing to read "
            "without starting it"
        )
    if not job:
        if profile.api.stream:
            raise UsageError(
                "--read-only: which job? Give --job ID, or --job with the URL of its stream"
            )
        return True, None
    if "://" not in job:
        return True, Named(Given(job_id=job))
    usable_url("--job", job, query=True)
    wanted, got = urlsplit(base_url), urlsplit(job)
    if (wanted.scheme, wanted.netloc) != (got.scheme, got.netloc):
        # Headers and cookies for one host must not reach another by mistake.
        raise UsageError(
            f"--job: expected a URL at {wanted.scheme}://{wanted.netloc}, got "
            f"{got.scheme}://{got.netloc}"
        )
    stream, query = split_query(job)
    return True, Named(Given(_id_in(stream, profile, base_url), stream), query)


def _id_in(stream: str, profile: Profile, base_url: str) -> str:
    """The job's id where the URL has the shape that the profile gives to streams, else ""."""
    prefix = urlsplit(base_url).path.rstrip("/") + profile.api.prefix
    shape = re.escape(prefix + profile.api.stream).replace(r"\{job_id\}", "(?P<job>[^/]+)")
    found = re.fullmatch(shape, urlsplit(stream).path)
    return unquote(found["job"]) if found and "job" in found.groupdict() else ""


def address(text: str, profile: Profile) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The base URL, and the secrets that stood in its query.

    Only where the address itself is the stream may it have a query.
    """
    if profile.api.start or profile.api.stream:
        return usable_url("--base-url", text), ()
    return split_query(usable_url("--base-url", text, query=True))


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
    return usable_url("URL", url), tuple(header(text) for text in headers), loaded


def usable_url(option: str, text: str, *, query: bool = False) -> str:
    """The address, without a slash at its end; `query`: one with a query, as it stands.

    Raises:
        UsageError: naming the option, what was expected and what was given.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username or parts.fragment or (parts.query and not query):
        without = "without user or fragment" if query else "without user, query or fragment"
        # What stands in a query or before an @ may be a secret.
        shown = text.partition("?")[0].rpartition("@")[2]
        raise UsageError(
            f"{option}: expected http://HOST[:PORT][/PREFIX] or https://..., {without}, "
            f"got {shown!r}"
        )
    return text if query else text.rstrip("/")


def header(text: str) -> tuple[str, str]:
    """Name and value of a `--header`.

    Raises:
        UsageError: it is none; the message never shows the value.
    """
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    token = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
    if not colon or not token or any(ord(c) < 32 or ord(c) > 255 for c in value):
        # The value may be a secret: the message shows the name alone.
        raise UsageError(f"--header: expected 'Name: value', got {name!r} and no usable value")
    return name, value
