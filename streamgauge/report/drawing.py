"""Draws a timeline as SVG that is legible at any width without a script.

The picture has two layers: strokes in one that stretches with the page, words in one that does not.
Dots are strokes of no length with round ends, which stay round however far the layer is stretched,
and cost a few bytes each.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ..recording import Recording
from .data import visible

HELD_S = 1.0
"""A lag that the default budget calls too long: its stroke is accented."""
_TICKS_MAX = 6
_WIDTH = 1000
_MARGIN = 10
_EMITTED_Y, _ARRIVED_Y = 30, 86
#: What is drawn first lies beneath.
_ORDER = ("grid", "bounds", "silence", "rail", "lag", "held", "tick", "emitted", "arrived", "hit")


@dataclass(frozen=True, slots=True)
class Mark:
    """One dispatched event. Times are seconds after the request was sent."""

    arrived: float
    emitted: float | None
    hit: bool

    @property
    def lag(self) -> float | None:
        """None also for history: what was emitted before the request cannot have been held."""
        if self.emitted is None or self.emitted < 0:
            return None
        return self.arrived - self.emitted


@dataclass(frozen=True, slots=True)
class Scale:
    """The seconds at the left and the right edge of the picture."""

    low: float
    high: float

    def x(self, seconds: float) -> float:
        share = (min(max(seconds, self.low), self.high) - self.low) / (self.high - self.low)
        return _MARGIN + share * (_WIDTH - 2 * _MARGIN)

    def percent(self, seconds: float) -> str:
        return f"{self.x(seconds) * 100 / _WIDTH:.2f}%"


def draw(
    recording: Recording,
    marks: list[Mark],
    ticks: list[float],
    silences: list[tuple[float, float]],
    scale: Scale,
    caption: str,
) -> Markup:
    has_emissions = any(mark.emitted is not None for mark in marks)
    top = 0 if has_emissions else 46
    height = 134 - top
    layers = _strokes(marks, ticks, silences, scale)
    rails = [_ARRIVED_Y, *([_EMITTED_Y] if has_emissions else [])]
    layers["rail"] = "".join(f"M{_MARGIN} {y}H{_WIDTH - _MARGIN}" for y in rails)
    steps = _steps(scale)
    layers["grid"] = "".join(f"M{scale.x(s):.1f} {top + 14}V108" for s in steps)
    layers["bounds"] = f"M{scale.x(0):.1f} {top + 14}V108" if scale.low <= 0 else ""
    paths = Markup("").join(
        Markup('<path class="t-{}" d="{}"/>').format(name, layers[name])
        for name in _ORDER
        if layers[name]
    )
    words = [_word("1.8%", 80, "t-name", "start", "arrived")]
    if has_emissions:
        words.append(_word("1.8%", 24, "t-name", "start", "emitted"))
    for index, second in enumerate(steps):
        anchor = "start" if index == 0 and scale.x(second) < 40 else "middle"
        anchor = "end" if scale.x(second) > _WIDTH - 40 else anchor
        unit = " s" if index == len(steps) - 1 else ""
        words.append(_word(scale.percent(second), 124, "t-axis", anchor, f"{second:g}{unit}"))
    for start, end in silences:
        middle = (max(start, scale.low) + min(end, scale.high)) / 2
        label = f"{end - start:.1f} s silent"
        words.append(_word(scale.percent(middle), 103, "t-quiet", "middle", label))
    return Markup(
        '<svg class="timeline" role="img" aria-label="{}" width="100%" height="{}">'
        '<svg viewBox="0 {} {} {}" preserveAspectRatio="none" width="100%" height="{}">{}</svg>'
        '<svg y="{}" overflow="visible" width="100%">{}</svg></svg>'
    ).format(
        visible(f"Timeline of {recording.label}: {caption}"),
        height, top, _WIDTH, height, height, paths, -top, Markup("").join(words),
    )  # fmt: skip


def _strokes(
    marks: list[Mark], ticks: list[float], silences: list[tuple[float, float]], scale: Scale
) -> dict[str, str]:
    """Path data per layer. A dot is a stroke of no length with round ends: it never stretches."""
    layers = dict.fromkeys(("lag", "held", "emitted", "arrived", "hit"), "")
    for mark in marks:
        arrived = scale.x(mark.arrived)
        if mark.emitted is not None:
            emitted = scale.x(mark.emitted)
            layer = "held" if mark.lag is not None and mark.lag >= HELD_S else "lag"
            layers[layer] += f"M{emitted:.1f} {_EMITTED_Y}L{arrived:.1f} {_ARRIVED_Y}"
            layers["emitted"] += f"M{emitted:.1f} {_EMITTED_Y}h0"
        layers["hit" if mark.hit else "arrived"] += f"M{arrived:.1f} {_ARRIVED_Y}h0"
    layers["tick"] = "".join(f"M{scale.x(tick):.1f} {_ARRIVED_Y - 5}v10" for tick in ticks)
    layers["silence"] = "".join(
        f"M{scale.x(start):.1f} {_ARRIVED_Y}H{scale.x(end):.1f}" for start, end in silences
    )
    return layers


def _steps(scale: Scale) -> list[float]:
    """Round seconds for the axis."""
    length = scale.high - scale.low
    step = next(
        (
            base * 10.0**power
            for power in range(-3, 8)
            for base in (1, 2, 5)
            if length / (base * 10.0**power) <= _TICKS_MAX
        ),
        length,
    )
    first = -int(-scale.low // step)
    return [
        round(n * step, 6) for n in range(first, first + _TICKS_MAX + 2) if n * step <= scale.high
    ]


def _word(x: str, y: int, kind: str, anchor: str, text: str) -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, kind, anchor, text
    )
