"""How a check says what it found: `Found` for a pass, and exceptions for all that is none.

A check is a function that returns `Found` or raises. What it raises tells whose fault it is: the
target's (`Broken`), nobody's (`Unable`, `Inapplicable`), or, with any other exception, the suite's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .recording import Recording
from .results import Exhibit


@dataclass(frozen=True, slots=True)
class Found:
    """The rule was kept, as far as `count` observations go."""

    count: int
    what: str
    """What was counted, in words that follow the number: "events compared"."""
    message: str = ""
    """Measured numbers, and what could not be judged this time."""
    shown: Recording | None = None
    """A recording that the reproduction line is made from."""


class Broken(Exception):
    """The target breaks the rule."""

    def __init__(
        self,
        message: str,
        *exhibits: Exhibit | Recording | None,
        count: int = 0,
        what: str = "observations",
        promised: bool = False,
    ) -> None:
        """
        Args:
            message: what was expected and what was seen instead.
            exhibits: recordings that show it, the best one first.
            count: how much had been looked at before.
            what: the word for what was counted.
            promised: the profile promises this: a failure also where the rule is a SHOULD.
        """
        super().__init__(message)
        self.exhibits = tuple(_exhibits(exhibits))
        self.count = count
        self.what = what
        self.promised = promised


class Unable(Exception):
    """The rule could not be tested; the message says what was missing."""


class Undecided(Unable):
    """Something was seen, and it cannot be told whether that is a fault: always worth telling."""


class ReadsOnly(Unable):
    """The run may only read: what would start or change something is left out, with this reason."""


class Inapplicable(Exception):
    """The rule does not apply to this target; the message says why (profile line, absent part)."""


class NotRun(Exception):
    """The check needs something that the user did not give (--instance, --long, ...)."""


def _exhibits(given: Iterable[Exhibit | Recording | None]) -> Iterable[Exhibit]:
    for item in given:
        if isinstance(item, Recording):
            yield Exhibit(item)
        elif item is not None:
            yield item
