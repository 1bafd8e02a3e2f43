"""The options of a load test, and what they come to; every mistake in them gets one clear line."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamgauge.access import Access, AccessError, access
from streamgauge.profile import Profile
from streamgauge.profile_file import ProfileError, load_profile

from .shapes import SHAPES, Shape, ShapeError, shape_of
from .verdict import Threshold, ThresholdError
from .wire import Address

DEFAULT_PROFILE: Final = "resume-optimizer"
REPORTS: Final = Path("reports") / "load"


class UsageError(Exception):
    """The user's call cannot be carried out; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked to do."""

    profile: Profile
    access: Access
    thresholds: tuple[Threshold, ...]
    shape: Shape | None
    """None: as many users as the options say (closed)."""
    arrivals: float
    """Streams that begin each second, however many are open (open); 0: closed."""
    reports: Path
    load: str = ""
    """What was asked for, in words."""

    @property
    def age_bound_s(self) -> float:
        """What event age is held against."""
        bounds = [t.bound for t in self.thresholds if t.phase == "event_age"]
        return min(bounds, default=self.profile.declared.lag_p95_s)


def add_options(parser: Any) -> None:
    """Add what a load test knows beside Locust's own options. `--profile` is Locust's.

    Args:
        parser: Locust's, whose arguments can be kept out of the form in its web page.
    """
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="PHASE.PERCENTILE<SECONDS",
        help="such as event_age.p99<0.5 (repeatable; default: the profile's event_age.p95 < 1)",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--load-shape",
        default="closed",
        metavar="SHAPE",
        help=f"{', '.join(SHAPES)} (default: closed, as many users as -u says)",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--arrivals",
        type=float,
        default=0.0,
        metavar="PER_SECOND",
        help="begin so many streams each second, however many are open (the open model)",
        include_in_web_ui=False,
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="sent with every request and shown nowhere (repeatable)",
        include_in_web_ui=False,
        is_secret=True,
    )
    parser.add_argument(
        "--report-dir",
        default=str(REPORTS),
        metavar="DIR",
        help=f"where the report goes (default: {REPORTS})",
        include_in_web_ui=False,
    )


def settings_from(options: Namespace) -> Settings:
    """What the options describe. Raises UsageError."""
    try:
        profile = load_profile(options.profile or DEFAULT_PROFILE)
        allowed = access(profile)
    except (ProfileError, AccessError) as error:
        raise UsageError(f"--profile: {error}") from error
    try:
        given = tuple(map(Threshold.parse, options.threshold))
    except ThresholdError as error:
        raise UsageError(f"--threshold: {error}") from error
    try:
        shape = shape_of(options.load_shape, options, profile)
    except ShapeError as error:
        raise UsageError(f"--load-shape: {error}") from error
    if not 0 <= options.arrivals <= 100_000:
        raise UsageError(f"--arrivals: expected a rate from 0, got {options.arrivals:g}")
    default = (Threshold("event_age", "p95", profile.declared.lag_p95_s),)
    return Settings(
        profile=profile,
        access=Access((*_headers(options.header), *allowed.headers), allowed.query),
        thresholds=given or default,
        shape=shape,
        arrivals=options.arrivals,
        reports=Path(options.report_dir),
        load=_in_words(options),
    )


def _in_words(options: Namespace) -> str:
    if options.arrivals:
        return f"{options.arrivals:g} streams begin each second (open)"
    if options.load_shape != "closed":
        return f"{options.load_shape}, up to {options.num_users or 1} users"
    return f"{options.num_users or 1} users (closed)"


def address_of(host: str | None) -> Address:
    """Where the target is. Raises UsageError, and NoConnection for a host that nobody knows."""
    if not host:
        raise UsageError("which deployment? Give its address: --host https://your.service")
    try:
        return Address.of(host)
    except ValueError as error:
        raise UsageError(f"--host: {error}") from error


def _headers(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for text in given:
        name, colon, value = (part.strip() for part in text.partition(":"))
        token = name.replace("-", "").replace("_", "").isalnum() and name.isascii()
        if not colon or not token or any(ord(c) < 32 or ord(c) > 255 for c in value):
            raise UsageError("--header: expected 'NAME: VALUE', got something else")
        found.append((name, value))
    return tuple(found)
