"""The options of a run, and the target they describe; every mistake in them gets one clear line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from .access import Access, AccessError, access
from .collect import Target
from .lab import Given
from .profile import Profile, ProfileError, bundled_profiles, load_profile
from .secrets import split_query

DEFAULT_PROFILE = "resume-optimizer"
DEFAULT_REPORT_DIR = Path("reports") / "conformance"


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
        instances=tuple(_url("--instance", url) for url in config.getoption("--instance")),
        long=config.getoption("--long"),
        query=(*said.query, *query, *(given.query if given else ())),
        read_only=read_only,
        given=given.job if given else None,
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
    _url("--job", job, query=True)
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
        return _url("--base-url", text), ()
    return split_query(_url("--base-url", text, query=True))


def web_address(option: str, text: str) -> str:
    """A URL that may be asked, with its query.

    Raises:
        UsageError: it is none.
    """
    return _url(option, text, query=True)


def _url(option: str, text: str, *, query: bool = False) -> str:
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
