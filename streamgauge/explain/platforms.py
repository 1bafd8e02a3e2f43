"""Known platforms whose documented behaviour fits a measurement.

The facts stand in `platforms.toml`, each with its age, source and grade. A fit is a hint: many
platforms share a number, and most can be configured. So the few best are listed, and none is
claimed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from .model import Family, PlatformHint

SHOWN_MAX = 3
SAME_S = 1.0
SAME_SHARE = 0.04
"""A measured time fits a documented one within either of these."""
SIZE_SHARE = 0.05

GRADES: Mapping[str, str] = {
    "documented": "documented by the vendor",
    "reported": "reported by users",
    "unverified": "not verified",
}


@dataclass(frozen=True, slots=True)
class Platform:
    """What is known of one platform. Empty where nothing is."""

    id: str
    name: str
    as_of: str
    grade: str
    source: str
    hints: tuple[str, ...] = ()
    idle_s: tuple[float, ...] = ()
    cap_s: tuple[float, ...] = ()
    buffers: tuple[str, ...] = ()
    block_bytes: tuple[int, ...] = ()
    set_buffering: str = ""
    set_idle: str = ""
    set_cap: str = ""

    def hint_in(self, headers: Iterable[tuple[str, str]]) -> str:
        """The response header that gives this platform away, "" where none does."""
        for name, value in headers:
            for hint in self.hints:
                wanted, has_part, part = hint.partition("=")
                if name.lower() == wanted and (not has_part or part.lower() in value.lower()):
                    return f"{name}: {value}" if has_part else name
        return ""


@cache
def platforms() -> tuple[Platform, ...]:
    """All that is known, in the order of the file."""
    table = tomllib.loads(files(__package__).joinpath("platforms.toml").read_text("utf-8"))
    return tuple(Platform(**_values(row)) for row in table["platform"])


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}


def fitting(
    family: Family,
    headers: Iterable[tuple[str, str]],
    *,
    kind: str = "",
    seconds: float | None = None,
    sizes: tuple[int, int] | None = None,
) -> tuple[PlatformHint, ...]:
    """The platforms that fit best, best first.

    Args:
        family: what was found.
        headers: response headers of the streams it was found on.
        kind: the kind of buffering.
        seconds: the measured silence or age.
        sizes: the measured buffer size lies above the first and is at most the second.
    """
    seen = tuple(headers)
    ranked = []
    for place, platform in enumerate(platforms()):
        told = platform.hint_in(seen)
        number = _fit(platform, family, kind, seconds, sizes)
        if number is None or not (told or _alone(family, number)):
            continue
        rank = (not told, not number, list(GRADES).index(platform.grade), place)
        ranked.append((rank, _hint(platform, family, told, number)))
    best = [hint for _, hint in sorted(ranked, key=lambda pair: pair[0])]
    return tuple(best[:SHOWN_MAX])


def _alone(family: Family, number: str) -> bool:
    """Whether a fit without any header is worth mentioning: a number has to agree."""
    if family is Family.BUFFERING:
        return "bytes" in number or "timer" in number
    return bool(number)


def _fit(
    platform: Platform,
    family: Family,
    kind: str,
    seconds: float | None,
    sizes: tuple[int, int] | None,
) -> str | None:
    """What agrees, in words; "" where only the kind does; None where nothing may."""
    if family is Family.BUFFERING:
        if not platform.set_buffering or kind not in (*platform.buffers, "unknown"):
            return None
        if sizes is not None and platform.block_bytes:
            low, high = sizes
            for size in platform.block_bytes:
                if low < size * (1 + SIZE_SHARE) and size <= high * (1 + SIZE_SHARE):
                    return f"buffers of {size:,} bytes are its default"
            return None
        return "it works with a timer" if kind == "timer" else ""
    known = platform.idle_s if family is Family.IDLE_CUT else platform.cap_s
    if seconds is None or family is Family.RESUME_BROKEN:
        return None
    for value in known:
        if abs(value - seconds) <= max(SAME_S, SAME_SHARE * value):
            if family is Family.IDLE_CUT:
                return f"it ends connections after {value:g} s of silence"
            return f"it ends connections {value:g} s after the request"
    return None


def _hint(platform: Platform, family: Family, told: str, number: str) -> PlatformHint:
    why = [number] if number else []
    if told:
        why.append(f"the answer says `{told}`")
    advice = {
        Family.BUFFERING: platform.set_buffering,
        Family.IDLE_CUT: platform.set_idle,
        Family.ABSOLUTE_CAP: platform.set_cap,
    }[family]
    return PlatformHint(
        name=platform.name,
        why=" and ".join(why),
        advice=advice,
        as_of=platform.as_of,
        grade=GRADES[platform.grade],
        source=platform.source,
    )
