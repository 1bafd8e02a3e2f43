"""Is something on the way collecting events, and by which rule does it let them go?

Each kind of buffer is a hypothesis that all releases have to bear out, so that it can be refuted:
one that holds until it has N bytes lets go at the very moment at which N is reached; a timer lets
go when nothing was put in; one that waits for the end lets nothing go before. What no hypothesis
explains is called buffering of an unknown kind, and what two explain is said to be open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from ..timing import percentile
from .flow import Flow, Piece, Release

HELD_S = 0.5
"""Later than this, an event is held; a busy machine may ask for more."""
TOGETHER_S = 0.15
"""What happens within this time happens at once."""
TOLD_S = 0.18
"""Once a buffer is known to be there, what is so late tells of its rule."""
CROWDED_S = 0.4
END_S = 0.5
"""What comes so shortly before the end may come because of it."""
SPREAD_MIN_S = 0.5
"""Events put in so far apart that came out together were collected."""
OVERHEAD = 1.03
"""Buffers below HTTP count chunk headers, too: a few bytes for each write."""
OVERHEAD_BYTES = 64
RELEASES_MIN = 3
SHARE_MIN = 0.9
UNKNOWN_MIN = 5
"""Fewer events, or only one stream, are no sign of a buffer whose rule is not even known."""
ALONE_MIN = 3
USUAL_MIN = 0.3
"""A buffer holds about every other event at least; fewer were held by a hiccup."""
STALE_MIN = 0.75
"""Where the newest event of so many releases had been waiting, it was not what set them off."""


class Kind(StrEnum):
    """By which rule events are let go."""

    UNTIL_END = "until_end"
    HOLDS_BYTES = "holds_bytes"
    FULL_BLOCKS = "full_blocks"
    ONE_BEHIND = "one_behind"
    TIMER = "timer"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Buffering:
    """What the recordings say about a buffer on the path."""

    kind: Kind
    held: int
    """Events that were held."""
    streams: int
    """Streams on which some were."""
    releases: int
    """Releases that the kind explains."""
    worst_s: float
    low: int | None = None
    high: int | None = None
    """The size that it waits for lies above `low` and is at most `high` bytes."""
    seconds: float | None = None
    """The period of a timer."""
    why_open: str = ""
    """Which kinds the recordings cannot tell apart, where the kind is unknown."""


def find_buffering(
    flows: Iterable[Flow], late_s: float = 0.0, usually_late_s: float = 0.0
) -> Buffering | None:
    """The buffer that these flows went through, None where nothing shows one.

    Args:
        flows: streams of one path.
        late_s: how late the instrument itself was at worst.
        usually_late_s: how late it was nearly always.
    """
    bound = max(HELD_S, 2 * late_s)
    known = list(flows)
    affected = [flow for flow in known if _collected(flow, bound)]
    held = [piece for flow in affected for piece in flow.held(bound)]
    told = max(TOLD_S, 2 * usually_late_s)
    if len(held) < 2 or not _usual(affected, bound, max(TOLD_S, 2 * late_s)):
        return None
    worst = max(piece.lag_s for piece in held)

    def made(kind: Kind, releases: int, **more: object) -> Buffering:
        return Buffering(kind, len(held), len(affected), releases, worst, **more)  # type: ignore[arg-type]

    steps = [step for flow in known for step in _steps(flow)]
    early = [step for step in steps if step.oldest is not None and step.oldest.lag_s >= told]
    kept = [low for flow in known for low in _kept(flow)]
    if not early:
        return made(Kind.UNTIL_END, len(affected), low=max(kept, default=0))
    longest = percentile((piece.lag_s for piece in held), 0.95)
    fits = _fitting(early, steps, kept, longest)
    if len(fits) == 1:
        kind, more = fits[0]
        return made(kind, len(early), **more)
    if len(held) < UNKNOWN_MIN or len(affected) < 2:
        return None
    open_ = " or ".join(_NAMES[kind] for kind, _ in fits)
    return made(Kind.UNKNOWN, len(early), why_open=open_)


_NAMES = {
    Kind.HOLDS_BYTES: "a buffer of a certain size",
    Kind.FULL_BLOCKS: "a buffer of full blocks",
    Kind.ONE_BEHIND: "one event held until the next",
    Kind.TIMER: "a timer",
}


def _collected(flow: Flow, bound: float) -> bool:
    """Whether events that were put in at different times came out together, or with the next."""
    held = flow.held(bound)
    if not held:
        return False
    by_release: dict[float, list[Piece]] = {}
    for piece in flow.live:
        by_release.setdefault(_release_at(flow, piece).at, []).append(piece)
    spread = max(
        (max(_put_in(p) for p in group) - min(_put_in(p) for p in group))
        for group in by_release.values()
    )
    return spread >= max(SPREAD_MIN_S, bound) or _behind(flow, bound) >= RELEASES_MIN


def _usual(flows: Sequence[Flow], bound: float, told: float) -> bool:
    """Whether being held is what happens there, and not a moment in which a machine was busy.

    An event behind which nothing else was put in for a while is what a buffer cannot but hold.
    """
    alone = [
        piece
        for flow in flows
        for piece, following in zip(flow.live, flow.live[1:], strict=False)
        if _put_in(following) - _put_in(piece) >= bound
    ]
    if len(alone) < ALONE_MIN:
        alone = [piece for flow in flows for piece in flow.live]
    return sum(piece.lag_s >= told for piece in alone) >= USUAL_MIN * len(alone)


def _put_in(piece: Piece) -> float:
    assert piece.emitted is not None
    return piece.emitted


def _release_at(flow: Flow, piece: Piece) -> Release:
    return next(r for r in flow.releases if r.begin < piece.ready <= r.end)


def _behind(flow: Flow, bound: float) -> int:
    """How many events came out, held, at the moment at which the next one was put in."""
    return sum(
        piece.lag_s >= bound
        and following.emitted is not None
        and abs(piece.arrived - following.emitted) <= TOGETHER_S
        for piece, following in zip(flow.live, flow.live[1:], strict=False)
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """One release in mid-stream: what lay in the buffer before it, and what stayed behind."""

    at: float
    size: int
    head: int
    """What a buffer below HTTP let go with it besides."""
    after: int
    """At most so many bytes were in the buffer when it let go."""
    left: int
    """At least so many bytes stayed in it."""
    oldest: Piece | None
    newest: Piece | None
    """The first and the last live event that it let go."""
    spread: float
    """So far apart were they put in."""
    triggered: bool
    """Something was put in at this very moment."""
    crowded: bool
    """Something was put in just before or after, so that the moment tells nothing."""
    whole: bool
    """It ends between two pieces."""
    previous_at: float | None


def _steps(flow: Flow) -> list[_Step]:
    """The releases of a flow that say something about a rule: not those that its end forced."""
    found: list[_Step] = []
    live = flow.live
    previous: Release | None = None
    # Once the last event has been put in, whatever comes may come because of the end.
    over = min([flow.ended, *(r.at for r in flow.releases[-1:]), *(_put_in(p) for p in live[-1:])])
    for release in flow.releases:
        before_this, previous = previous, release
        if not live or release.end <= live[0].start:
            continue
        if release.at > over - END_S:
            break
        put_in = _put_in_by(flow, release.at + TOGETHER_S)
        waiting = _put_in_by(flow, release.at - TOGETHER_S)
        if put_in is not None and waiting is not None:
            found.append(_step(flow, release, before_this, put_in, waiting))
    return found


def _step(
    flow: Flow, release: Release, previous: Release | None, put_in: int, waiting: int
) -> _Step:
    came = [p for p in flow.live if release.begin < p.ready <= release.end]
    moments = [_put_in(p) for p in came]
    head = flow.head_bytes if release.begin == 0 else 0
    ends = {piece.end for piece in flow.pieces} | {piece.ready for piece in flow.pieces}
    away = [abs(p.emitted - release.at) for p in flow.pieces if p.emitted is not None]
    return _Step(
        at=release.at,
        size=release.size,
        head=head,
        after=max(put_in, release.end) - release.begin + head,
        left=max(0, waiting - release.end),
        oldest=came[0] if came else None,
        newest=came[-1] if came else None,
        spread=max(moments) - min(moments) if moments else 0.0,
        triggered=any(each <= TOGETHER_S for each in away),
        crowded=any(TOGETHER_S < each <= CROWDED_S for each in away),
        whole=release.end in ends,
        previous_at=previous.at if previous else None,
    )


def _put_in_by(flow: Flow, moment: float) -> int | None:
    """How many bytes had been put in by a moment; None where a piece does not tell its own."""
    total = 0
    for piece in flow.pieces:
        emitted = piece.emitted if piece.emitted is not None else None
        if emitted is None and piece.arrived <= moment:
            emitted = piece.arrived - TOGETHER_S  # it is out: then it had been put in
        if emitted is None:
            return total
        if emitted > moment:
            break
        total = piece.end
    return total


def _kept(flow: Flow) -> list[int]:
    """Bytes that were seen to lie in the buffer for a while without being let go."""
    kept = []
    marks = [*(r.at for r in flow.releases), flow.ended]
    out = 0
    for index, mark in enumerate(marks):
        inside = _put_in_by(flow, mark - 2 * TOGETHER_S)
        if inside is not None:
            kept.append(inside - out)
        if index < len(flow.releases):
            out = flow.releases[index].end
    return kept


def _fitting(
    early: Sequence[_Step], steps: Sequence[_Step], kept: Sequence[int], longest: float
) -> list[tuple[Kind, dict[str, object]]]:
    """The kinds that all these releases bear out, with their numbers."""
    if len({round(step.at / CROWDED_S) for step in early}) < RELEASES_MIN:
        return []  # several readers of one job see one release several times
    forced = _most(step.triggered for step in early if not step.triggered or not step.crowded)
    dense = _most(step.triggered for step in early)
    found: list[tuple[Kind, dict[str, object]]] = []
    if (forced or dense) and _most(step.whole and not step.left for step in early):
        stale = [step.newest is not None and step.newest.lag_s > TOGETHER_S for step in early]
        size = _threshold([step.size + step.head for step in steps], kept)
        if sum(stale) >= STALE_MIN * len(stale):
            return [(Kind.ONE_BEHIND, {})]
        if size is not None:
            found.append((Kind.HOLDS_BYTES, {"low": size[0], "high": size[1]}))
    elif forced or dense:
        high = percentile((step.after for step in steps), 1 - SHARE_MIN)
        sizes = [step.size for step in steps if not step.head]
        block = _block_size(sizes, percentile(kept, SHARE_MIN), high)
        if block is not None:
            found.append((Kind.FULL_BLOCKS, {"low": block, "high": block}))
    period = _period(early) if dense or not found else None
    if period is not None and longest <= period + max(TOGETHER_S, 0.1 * period):
        found.append((Kind.TIMER, {"seconds": period}))
    return found


def _most(facts: Iterable[bool]) -> bool:
    """Nearly all, and some: a busy machine may spoil one in ten."""
    every = list(facts)
    return bool(every) and sum(every) >= SHARE_MIN * len(every)


def _threshold(sizes: Sequence[int], kept: Sequence[int]) -> tuple[int, int] | None:
    """The size that was reached by nearly every release, and by nearly nothing that was kept.

    Returns:
        Two bounds: it lies above the first and is at most the second.
    """
    best: tuple[int, int] | None = None
    best_score = -1
    for high in sorted(set(sizes)):
        reached, below = [size >= high for size in sizes], [low < high for low in kept]
        if _most(reached) and _most(below) and sum(reached) + sum(below) > best_score:
            best_score = sum(reached) + sum(below)
            best = max((low for low in kept if low < high), default=0), high
    return best


def _block_size(sizes: Sequence[int], low: float, high: float) -> int | None:
    """The largest block of which nearly all these releases are whole multiples."""
    if not sizes:
        return None
    smallest = percentile(sizes, 1 - SHARE_MIN)
    for parts in range(1, 65):
        block = smallest / parts
        if block * OVERHEAD + OVERHEAD_BYTES < low:
            return None
        if block > high * OVERHEAD + OVERHEAD_BYTES:
            continue
        slack = block * (OVERHEAD - 1) + OVERHEAD_BYTES
        if _most(abs(size - round(size / block) * block) <= slack for size in sizes):
            return round(block)
    return None


def _period(early: Sequence[_Step]) -> float | None:
    """The period of a timer that explains these releases: nothing put in made it let go."""
    oldest = [step.oldest.lag_s for step in early if step.oldest is not None]
    waited = median(oldest)
    if _most(abs(lag - waited) <= max(TOGETHER_S, 0.1 * waited) for lag in oldest):
        return round(waited, 1)
    spacings = [s.at - s.previous_at for s in early if s.previous_at is not None]
    if len(spacings) < RELEASES_MIN:
        return None
    tick = median(spacings)
    slack = max(TOGETHER_S, 0.1 * tick)
    regular = _most(
        round(each / tick) >= 1 and abs(each - round(each / tick) * tick) <= slack
        for each in spacings
    )
    return round(tick, 1) if regular and max(oldest) <= tick + slack else None
