"""Charts as SVG that are legible at any width, in light and dark, without a script.

Lines stand in a layer that stretches with the page and keeps their width; words stand in one that
does not stretch. Colours are the page's own, by class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

WIDTH: Final = 1000.0
HEIGHT: Final = 168.0
TOP: Final = 10.0
"""Above the highest grid line, so that its label fits."""
_TICKS: Final = 4
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One curve."""

    name: str
    style: str
    """Class of its stroke: "a", "b", "c"; "fill" beside it fills the area beneath."""
    at: Sequence[float]
    values: Values


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that is drawn through a chart."""

    at: float
    label: str
    kind: str = "event"


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to heights, linear from 0 or by powers of ten."""

    low: float
    high: float
    logarithmic: bool
    ticks: tuple[float, ...]

    @classmethod
    def linear(cls, most: float) -> Axis:
        """From 0; what is counted here comes in whole numbers."""
        step = max(1.0, _nice(max(most, 1.0) / _TICKS))
        count = max(1, math.ceil(most / step))
        return cls(0.0, step * count, False, tuple(step * n for n in range(count + 1)))

    @classmethod
    def powers(cls, least: float, most: float) -> Axis:
        low = math.floor(math.log10(least))
        high = max(math.ceil(math.log10(most)), low + 1)
        ticks = tuple(10.0**n for n in range(low, high + 1))
        return cls(10.0**low, 10.0**high, True, ticks)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        if self.logarithmic:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return TOP + (HEIGHT - TOP) * (1 - min(max(share, 0.0), 1.0))


def chart(
    lines: Sequence[Line],
    *,
    title: str,
    unit: str,
    logarithmic: bool = False,
    bound: float | None = None,
    marks: Sequence[Mark] = (),
    x_unit: str = "time",
) -> Markup:
    """Draw curves over time (or another quantity).

    Args:
        unit: "s" writes durations for people; anything else stands behind the numbers.
        bound: a value that is drawn as a dashed line and kept in view.
    """
    known = [v for line in lines for v in line.values if v is not None]
    end = max((line.at[-1] for line in lines if line.at), default=0.0)
    if not known or end <= 0:
        return Markup('<p class="quiet blank">Nothing was measured.</p>')
    shown = [*known, *([bound] if bound is not None else [])]
    positive = [v for v in shown if v > 0]
    if logarithmic and positive:
        axis = Axis.powers(min(positive), max(positive))
    else:
        axis = Axis.linear(max(shown))
    paths = [_path("grid", " ".join(f"M0 {axis.y(t):.1f}H{WIDTH:g}" for t in axis.ticks))]
    for mark in marks:
        if 0 <= mark.at <= end:
            x = mark.at / end * WIDTH
            paths.append(_path(f"mark {mark.kind}", f"M{x:.1f} {TOP}V{HEIGHT}"))
    for line in lines:
        if "fill" in line.style:
            paths.append(_path(f"area {line.style}", _area(line, axis, end)))
    if bound is not None:
        paths.append(_path("bound", f"M0 {axis.y(bound):.1f}H{WIDTH:g}"))
    paths += [_path(f"line {line.style}", _line(line, axis, end)) for line in lines]
    words = [_label(axis.y(t) - 3, duration(t) if unit == "s" else number(t)) for t in axis.ticks]
    words += _times(end) if x_unit == "time" else _numbers(end, x_unit)
    said = ", ".join(f"{line.name} at most {_worst(line, unit)}" for line in lines)
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" width="100%" height="{}">'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" width="100%" height="{}">{}</svg>'
        "{}</svg>"
    ).format(
        f"{title}: {said}", HEIGHT + 18, WIDTH, HEIGHT, HEIGHT,
        Markup("").join(paths), Markup("").join(words),
    )  # fmt: skip


def bars(counts: Mapping[int, int], middle: Mapping[int, float], title: str) -> Markup:
    """How many durations fell where: a distribution over powers of ten."""
    if not counts:
        return Markup('<p class="quiet blank">Nothing was measured.</p>')
    values = [middle[index] for index in counts]
    axis = Axis.powers(max(min(values), 1e-6), max(values))
    columns = 120
    filled = [0] * columns
    span = math.log(axis.high / axis.low)
    for index, count in counts.items():
        share = math.log(max(middle[index], axis.low) / axis.low) / span
        filled[min(columns - 1, int(share * columns))] += count
    most = max(filled)
    width = WIDTH / columns
    path = "".join(
        f"M{n * width:.1f} {HEIGHT}v{-(HEIGHT - TOP) * count / most:.1f}"
        f"h{width * 0.86:.1f}V{HEIGHT}z"
        for n, count in enumerate(filled)
        if count
    )
    words = []
    for tick in axis.ticks:
        share = math.log(tick / axis.low) / span
        anchor = "start" if share < 0.02 else "end" if share > 0.98 else "middle"
        words.append(_word(f"{share:.1%}", HEIGHT + 14, duration(tick), anchor))
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" width="100%" height="{}">'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" width="100%" height="{}">{}</svg>'
        "{}</svg>"
    ).format(
        title, HEIGHT + 18, WIDTH, HEIGHT, HEIGHT, _path("bars", path), Markup("").join(words)
    )  # fmt: skip


def duration(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return "–"
    if seconds < 0.001:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def number(value: float | None) -> str:
    """A number for people, three digits of it."""
    if value is None:
        return "–"
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            scaled = value / (1e3 if unit == " k" else size)
            return f"{scaled:.3g}{unit}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _nice(step: float) -> float:
    """The next greater of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * n for n in (1, 2, 5, 10) if power * n >= step * 0.999)


def _points(line: Line, axis: Axis, end: float) -> list[list[tuple[float, float]]]:
    """The curve in pieces: where nothing was measured there is nothing to draw."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for at, value in zip(line.at, line.values, strict=True):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((at / end * WIDTH, axis.y(value)))
    return [piece for piece in pieces if piece]


def _line(line: Line, axis: Axis, end: float) -> str:
    drawn = []
    for piece in _points(line, axis, end):
        rest = "".join(f"L{x:.1f} {y:.1f}" for x, y in piece[1:])
        drawn.append(f"M{piece[0][0]:.1f} {piece[0][1]:.1f}{rest or 'h0'}")
    return "".join(drawn)


def _area(line: Line, axis: Axis, end: float) -> str:
    drawn = []
    for piece in _points(line, axis, end):
        rest = "".join(f"L{x:.1f} {y:.1f}" for x, y in piece)
        drawn.append(f"M{piece[0][0]:.1f} {HEIGHT}{rest}V{HEIGHT}z")
    return "".join(drawn)


def _times(end: float) -> list[Markup]:
    step = _nice(end / 5)
    if step > 20:
        step = next(
            (m * 60 for m in (0.5, 1, 2, 5, 10, 15, 30, 60, 120) if m * 60 * 6 >= end), step
        )
    marks = [step * n for n in range(int(end / step) + 1)]
    words = []
    for at in marks:
        share = at / end
        anchor = "start" if share < 0.02 else "end" if share > 0.97 else "middle"
        words.append(_word(f"{share:.1%}", HEIGHT + 14, _clock(at), anchor))
    return words


def _numbers(end: float, unit: str) -> list[Markup]:
    step = _nice(end / 5)
    words = []
    for n in range(int(end / step) + 1):
        share = step * n / end
        anchor = "start" if share < 0.02 else "end" if share > 0.97 else "middle"
        text = number(step * n) + (f" {unit}" if n == 0 else "")
        words.append(_word(f"{share:.1%}", HEIGHT + 14, text, anchor))
    return words


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _worst(line: Line, unit: str) -> str:
    most = max((v for v in line.values if v is not None), default=None)
    return duration(most) if unit == "s" else f"{number(most)} {unit}".strip()


def _path(style: str, data: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(style, data)


def _label(y: float, text: str) -> Markup:
    return Markup('<text class="tick" x="0" y="{}">{}</text>').format(f"{y:.1f}", text)


def _word(x: str, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x, f"{y:.1f}", anchor, text
    )
