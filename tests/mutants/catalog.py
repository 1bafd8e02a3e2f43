"""Every broken server there is. A section's module is listed here and nowhere else."""

from __future__ import annotations

from . import controls, nulls
from .model import Mutant, Subject

MODULES = (
    *("wire", "hdr", "rt", "pad", "replay", "late", "snap", "poll", "hb", "life", "quota"),
    *("iso", "bad", "sec", "priv"),
    *("bp", "h2"),
    *("cors", "ops"),
    *("retry", "proxy"),
    *("mi", "take"),
)


def mutants() -> tuple[Mutant, ...]:
    """All mutants, section by section, the near misses last."""
    from importlib import import_module
    from importlib.util import find_spec

    found: list[Mutant] = []
    for name in MODULES:
        if find_spec(f"{__package__}.{name}") is not None:
            found += import_module(f"{__package__}.{name}").MUTANTS
    return (*found, *nulls.NEAR_MISSES)


def subjects() -> tuple[Subject, ...]:
    """Everything that `make mutants` runs: controls first, since nothing counts without them."""
    return (*controls.CONTROLS, *nulls.NULL_TARGETS, *mutants())


def subject(name: str) -> Subject:
    """The one of this name. Raises KeyError."""
    return {each.name: each for each in subjects()}[name]
