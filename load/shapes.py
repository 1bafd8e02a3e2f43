"""How the crowd grows and shrinks over a run, beside the plain "so many users" of -u and -r."""

from __future__ import annotations

from argparse import Namespace
from typing import Final

from streamgauge.profile import Profile

SHAPES: Final = ("closed",)


class ShapeError(ValueError):
    """There is no such shape, or it lacks what it needs."""


class Shape:
    """Asked once a second for the number of users."""


def shape_of(name: str, options: Namespace, profile: Profile) -> Shape | None:
    """The shape of this name, None for "closed". Raises ShapeError."""
    del options, profile
    if name != "closed":
        raise ShapeError(f"expected one of {', '.join(SHAPES)}, got {name!r}")
    return None
