"""Why do connections end in mid-stream: after a silence, or at an age?

Both look alike on one connection. They are told apart by what several have in common: the same
silence before the cut at different ages is an idle limit, the same age whatever flowed is a cap.
Connections that outlived the limit refute it, and so do cuts that came before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ..recording import End, Recording
from .model import Family, Sureness

LEAST_S = 1.5
"""A limit below this is no limit of a platform: something else ends these connections."""
SAME_S = 0.5
SAME_SHARE = 0.04
"""Two times are the same when they differ by less than either of these."""
APART_S = 0.5
"""Connections that began or ended within this time of one another may share another cause."""

_CUT_SHORT = (End.CUT, End.RESET, End.COMPLETE, End.CLOSED)


@dataclass(frozen=True, slots=True)
class Life:
    """One stream of a job that was still going on, from its request to its end."""

    label: str
    opened: float
    age: float
    silence: float
    """How long nothing had come when it ended."""
    longest_silence: float
    """That it survived."""
    cut: bool
    """It was ended by the other side while its job went on."""
    clean: bool
    """It ended by its framing, so that a reader takes it for the whole log."""

    @property
    def ended(self) -> float:
        return self.opened + self.age


@dataclass(frozen=True, slots=True)
class Cuts:
    """What the ends of connections have in common."""

    family: Family
    seconds: float
    """The silence or the age at which connections end."""
    cuts: int
    clean: bool
    """They ended cleanly, as if the stream were over."""
    sureness: Sureness
    refuted: str
    """Which observation speaks against the other family."""


def life_of(recording: Recording, *, over: bool) -> Life | None:
    """The life of a stream, None of anything else.

    Args:
        recording: one exchange.
        over: it had shown all that there was to show, or told that it would be recycled.
    """
    if not recording.is_stream:
        return None
    head = recording.head_at if recording.head_at is not None else recording.sent_at
    moments = [head, *(read.at for read in recording.reads)]
    silences = [after - before for before, after in pairwise(moments)]
    last = recording.ended_at - moments[-1]
    cut = recording.end in _CUT_SHORT and not over
    return Life(
        label=recording.label,
        opened=recording.sent_at,
        age=recording.ended_at - recording.sent_at,
        silence=last,
        longest_silence=max([*silences, 0.0 if cut else last]),
        cut=cut,
        clean=recording.ended_cleanly,
    )


def find_cuts(lives: Iterable[Life]) -> Cuts | None:
    """What ends these connections, None where they do not agree or nothing tells."""
    known = list(lives)
    cuts = [life for life in known if life.cut]
    if not cuts:
        return None
    idle = _idle(cuts, known)
    capped = _capped(cuts, known)
    if idle is not None and capped is not None:
        return None  # both explain everything: no family is named
    return idle or capped


def _idle(cuts: Sequence[Life], known: Sequence[Life]) -> Cuts | None:
    limit = median(life.silence for life in cuts)
    if limit < LEAST_S or not all(_same(life.silence, limit) for life in cuts):
        return None
    if any(life.longest_silence > limit + _slack(limit) for life in known):
        return None
    ages = [life.age for life in cuts]
    older = max((life.age for life in known if not life.cut), default=0.0)
    if max(ages) - min(ages) > _slack(limit):
        refuted = f"their ages differed: {min(ages):.1f} to {max(ages):.1f} s"
    elif older > max(ages) + _slack(limit):
        refuted = f"a stream on which something flowed lived for {older:.1f} s"
    else:
        return (
            None
            if not _busy(cuts, known, limit)
            else _made(
                Family.IDLE_CUT, limit, cuts, "streams on which something flowed were not cut"
            )
        )
    return _made(Family.IDLE_CUT, limit, cuts, refuted)


def _busy(cuts: Sequence[Life], known: Sequence[Life], limit: float) -> bool:
    """Whether a stream whose silences were shorter lived for as long as those that were cut."""
    return any(
        not life.cut and life.longest_silence < limit and life.age > limit + _slack(limit)
        for life in known
    )


def _capped(cuts: Sequence[Life], known: Sequence[Life]) -> Cuts | None:
    limit = median(life.age for life in cuts)
    if limit < LEAST_S or not all(_same(life.age, limit) for life in cuts):
        return None
    if any(life.age > limit + _slack(limit) for life in known):
        return None
    if independent(cuts) < 2:
        return None  # together they may have died of anything
    silences = [life.silence for life in cuts]
    usual = median(silences)
    survived = max(life.longest_silence for life in known)
    alike = usual >= LEAST_S and all(_same(silence, usual) for silence in silences)
    if alike and survived <= usual + _slack(usual):
        return None  # all had been silent for as long: it may as well be that
    refuted = f"the last byte had come {min(silences):.1f} to {max(silences):.1f} s before"
    return _made(Family.ABSOLUTE_CAP, limit, cuts, refuted)


def _made(family: Family, limit: float, cuts: Sequence[Life], refuted: str) -> Cuts:
    count = independent(cuts)
    return Cuts(
        family=family,
        seconds=round(limit, 1),
        cuts=len(cuts),
        clean=all(life.clean for life in cuts),
        sureness=Sureness.SURE if count >= 2 else Sureness.LIKELY,
        refuted=refuted,
    )


def independent(cuts: Sequence[Life]) -> int:
    """How many cuts neither began nor ended together with another."""
    kept: list[Life] = []
    for life in sorted(cuts, key=lambda each: each.ended):
        if all(
            abs(life.ended - other.ended) > APART_S and abs(life.opened - other.opened) > APART_S
            for other in kept
        ):
            kept.append(life)
    return len(kept)


def _slack(limit: float) -> float:
    return max(SAME_S, SAME_SHARE * limit)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _slack(other)
