"""What an explanation consists of: a family, what was measured, and what to do about it.

These are plain values without any judgement, so that the report can show them and tests can write
them by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """The four ways in which a path spoils a stream that its server sends well."""

    BUFFERING = "buffering"
    """Events are collected on the way and passed on together."""
    IDLE_CUT = "idle_cut"
    """The connection is ended after a silence; any byte in time prevents it."""
    ABSOLUTE_CAP = "absolute_cap"
    """The connection is ended at a certain age, whatever flows over it."""
    RESUME_BROKEN = "resume_broken"
    """A client that comes back does not go on where it was."""


class Sureness(StrEnum):
    """How well the measurements carry the explanation. Where they do not, there is none."""

    SURE = "sure"
    """Several independent observations agree, and the alternatives were refuted."""
    LIKELY = "likely"
    """The observations fit and nothing contradicts them, but they are few."""


@dataclass(frozen=True, slots=True)
class PlatformHint:
    """A known platform whose behaviour fits what was measured: a hint, never more."""

    name: str
    why: str
    """What fits: the number, a response header."""
    advice: str
    """What to set there."""
    as_of: str
    """When the fact was looked up: YYYY-MM."""
    grade: str
    """How the fact is known, in words."""
    source: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why deliveries or lifetimes went wrong on this path, as far as recordings tell."""

    family: Family
    kind: str
    """The member of the family, stable: "until_end", "holds_bytes", "ignored" ..."""
    what: str
    """A clause without full stop: "the path holds events back until the stream ends"."""
    measured: str
    """The observations that say so, a sentence."""
    advice: str
    """What to do, in one or two sentences."""
    sureness: Sureness
    observations: int
    """How many independent observations agree."""
    bytes_low: int | None = None
    bytes_high: int | None = None
    """The measured size lies between these two."""
    seconds: float | None = None
    """The measured time: a period, a silence, an age."""
    platforms: tuple[PlatformHint, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """One explanation and all the checks that it explains."""

    explanation: Explanation
    checks: tuple[str, ...]
