"""The arrival time of what came without one, so that nothing can be judged by it.

A file that holds a stream's bytes does not say when they came. A number in its place would make
every check of timing pass; this makes each of them say that it could not test, because whatever is
done with it (compare, subtract, add) stops the judgement right there.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .verdict import Unable


class Untimed(Unable):
    """The rule is about time, and the evidence has none."""


class NoTime(float):
    """Not a moment, but where one is expected."""

    def _unable(self, *_: object) -> NoReturn:
        raise Untimed("the file does not tell when the bytes arrived, and this is judged by time")

    def __bool__(self) -> bool:
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _unable
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _unable
    __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __neg__ = __abs__ = _unable
    __round__ = __int__ = __hash__ = _unable

    def __repr__(self) -> str:
        return "NO_TIME"

    def __format__(self, _: str) -> str:
        return "an unknown time"


NO_TIME: Any = NoTime()
