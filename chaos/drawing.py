"""One experiment as a picture: the fault's time shaded over event age and open streams, and a lane
for each stream with a tick for each event and an arc where the reader came back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from .measure import Arrival, arrivals, percentile
from .readers import Reader
from .trial import Trial

WIDTH: Final = 960
LEFT: Final = 92
RIGHT: Final = 12
AGE_TOP, AGE_HEIGHT = 14, 74
OPEN_TOP, OPEN_HEIGHT = 104, 36
LANES_TOP: Final = 158
LANE_HEIGHT: Final = 15
LANES_MAX: Final = 21
BUCKETS: Final = 160
TICK_MIN_PX: Final = 1.4
"""Ticks that are nearer than this are one."""


def picture(trial: Trial) -> Markup:
    """The SVG, legible in both colour schemes; nothing in it comes from outside."""
    readers = _chosen(trial)
    span = max(trial.ended - trial.began, 0.1)
    scale = _Scale(trial.began, span)
    height = LANES_TOP + len(readers) * LANE_HEIGHT + 26
    parts = [
        f'<svg class="run" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Event age, open streams and each stream over {span:.0f} seconds">',
        *_faults(trial, scale, height - 20),
        *_ages(trial, scale),
        *_open(trial, scale),
        *(part for n, reader in enumerate(readers) for part in _lane(n, reader, scale)),
        *_axis(scale, height - 6),
        "</svg>",
    ]
    return Markup("".join(parts))


class _Scale:
    def __init__(self, begin: float, span: float) -> None:
        self.begin, self.span = begin, span

    def x(self, at: float) -> float:
        share = min(max((at - self.begin) / self.span, 0.0), 1.0)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _chosen(trial: Trial) -> Sequence[Reader]:
    """The streams that are shown: those that were disturbed most, in the order of their names."""
    ranked = sorted(trial.readers, key=lambda r: (r.ended, -len(r.connections)))
    return sorted(ranked[:LANES_MAX], key=lambda reader: reader.name)


def _faults(trial: Trial, scale: _Scale, bottom: float) -> Iterator[str]:
    for played in trial.played:
        begin = scale.x(trial.began + played.at_s)
        end = scale.x(trial.began + played.at_s + played.lasted_s)
        width = max(end - begin, 2)
        yield f'<rect class="fault" x="{begin}" y="4" width="{width:.1f}" height="{bottom - 4}"/>'
        words = played.fault.breaks
        anchor = "end" if begin > WIDTH * 0.7 else "start"
        x = end - 4 if anchor == "end" else begin + 4
        yield f'<text class="what" x="{x}" y="13" text-anchor="{anchor}">{words}</text>'


def _ages(trial: Trial, scale: _Scale) -> Iterator[str]:
    """The oldest and the middle event of each moment."""
    found = sorted((a for r in trial.readers for a in arrivals(r)), key=lambda a: a.at)
    top = max(1.0, max((a.age_s for a in found), default=0.0))
    yield _label(AGE_TOP + 8, "event age")
    yield _label(AGE_TOP + 20, f"0–{top:.1f} s")
    base = AGE_TOP + AGE_HEIGHT
    yield f'<path class="base" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>'
    if top > 1.0:
        y = base - AGE_HEIGHT / top
        yield f'<path class="bound" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
    for name, share in (("oldest", 100), ("middle", 50)):
        points = [
            f"{scale.x(some[0].at)} {base - percentile(ages, share) * AGE_HEIGHT / top:.1f}"
            for some in _buckets(found, scale)
            if (ages := [each.age_s for each in some])
        ]
        if points:
            yield f'<path class="{name}" d="M{"L".join(points)}"/>'


def _buckets(found: Sequence[Arrival], scale: _Scale) -> Iterator[list[Arrival]]:
    width = scale.span / BUCKETS
    some: list[Arrival] = []
    for each in found:
        if some and each.at - some[0].at > width:
            yield some
            some = []
        some.append(each)
    if some:
        yield some


def _open(trial: Trial, scale: _Scale) -> Iterator[str]:
    """How many connections delivered something, over time."""
    changes = sorted(
        change
        for reader in trial.readers
        for c in reader.connections
        if c.entries
        for change in ((c.opened_at, 1), (c.closed_at, -1))
    )
    most = max(len(trial.readers), 1)
    yield _label(OPEN_TOP + 14, "open streams")
    yield _label(OPEN_TOP + 26, f"0–{most}")
    base, count = OPEN_TOP + OPEN_HEIGHT, 0
    path = [f"M{LEFT} {base}"]
    for at, change in changes:
        count += change
        path.append(f"H{scale.x(at)}V{base - count / most * OPEN_HEIGHT:.1f}")
    yield f'<path class="open" d="{"".join(path)}H{WIDTH - RIGHT}V{base}Z"/>'


def _lane(number: int, reader: Reader, scale: _Scale) -> Iterator[str]:
    y = LANES_TOP + number * LANE_HEIGHT
    yield _label(y + 8, reader.name, "end" if reader.ended else "stuck")
    for connection in reader.connections:
        if connection.entries:
            begin, end = scale.x(connection.opened_at), scale.x(connection.closed_at)
            yield f'<path class="rail" d="M{begin} {y + 5}H{end}"/>'
    yield f'<path class="tick" d="{_ticks(reader, scale, y)}"/>'
    for before, after in pairwise(c for c in reader.connections if c.entries):
        begin, end = scale.x(before.closed_at), scale.x(after.entries[0].at)
        middle = (begin + end) / 2
        yield f'<path class="arc" d="M{begin} {y + 5}Q{middle:.1f} {y - 9} {end} {y + 5}"/>'


def _ticks(reader: Reader, scale: _Scale, y: float) -> str:
    path, last = [], -1.0
    for arrival in arrivals(reader):
        x = scale.x(arrival.at)
        if x - last >= TICK_MIN_PX:
            path.append(f"M{x} {y + 1}v8")
            last = x
    return "".join(path)


def _axis(scale: _Scale, y: float) -> Iterator[str]:
    step = next(s for s in (1, 2, 5, 10, 20, 60, 300) if scale.span / s <= 12 or s == 300)
    for second in _whole(0, scale.span, step):
        x = scale.x(scale.begin + second)
        yield f'<text class="axis" x="{x}" y="{y}" text-anchor="middle">{second} s</text>'


def _whole(low: float, high: float, step: int) -> Iterable[int]:
    return range(int(low), int(high) + 1, step)


def _label(y: float, text: str, kind: str = "") -> str:
    return f'<text class="tag {kind}" x="{LEFT - 10}" y="{y}" text-anchor="end">{text}</text>'
