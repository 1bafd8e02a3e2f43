"""Strict reading of a JSON request body (RFC 8259).

Python's parser takes more than JSON (NaN, infinities by overflow) and can be made to work very hard
(depth, digits). What comes out of here is a tree that every other part can serialise again.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

#: Deeper bodies have no use here and would reach the parser's own limit.
DEPTH_MAX: Final = 64
#: More digits than any number of the protocol, and than a double can tell apart.
INTEGER_DIGITS_MAX: Final = 64
#: A hostile body may have a fault in each of its strings; the answer names this many.
POINTERS_MAX: Final = 16

_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class MalformedJson(ValueError):
    """The bytes are not the JSON text of an object."""


def parse_object(body: bytes) -> dict[str, object]:
    """The object that `body` holds. Raises MalformedJson."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except (ValueError, RecursionError) as error:
        raise MalformedJson("The body is not valid JSON in UTF-8.") from error
    if not isinstance(value, dict):
        raise MalformedJson("The body must be a JSON object.")
    if _deeper_than(value, DEPTH_MAX):
        raise MalformedJson(f"The body is nested deeper than {DEPTH_MAX} levels.")
    return value


def lone_surrogates(body: bytes, value: object) -> list[str]:
    """Pointers (RFC 6901) of the strings, names included, that cannot be written in UTF-8.

    UTF-8 itself cannot carry a surrogate, so only a body with such an escape is searched.
    """
    if _SURROGATE_ESCAPE.search(body) is None:
        return []
    return [
        pointer.encode("utf-8", "replace").decode()
        for pointer, leaf in _walk(value)
        if _unencodable(pointer) or (isinstance(leaf, str) and _unencodable(leaf))
    ][:POINTERS_MAX]


def fingerprint(value: object) -> str:
    """A digest that is the same for all texts of the same JSON value."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _deeper_than(value: object, limit: int) -> bool:
    stack = [(1, value)]
    while stack:
        depth, node = stack.pop()
        if depth > limit:
            return True
        children = node.values() if isinstance(node, dict) else node
        if isinstance(children, Iterable):
            stack += [(depth + 1, child) for child in children if isinstance(child, dict | list)]
    return False


def _walk(value: object) -> Iterator[tuple[str, object]]:
    """Pointer and value of every node, without recursion."""
    stack: list[tuple[str, object]] = [("#", value)]
    while stack:
        pointer, node = stack.pop()
        yield pointer, node
        if isinstance(node, dict):
            for name, child in node.items():
                escaped = str(name).replace("~", "~0").replace("/", "~1")
                stack.append((f"{pointer}/{escaped}", child))
        elif isinstance(node, list):
            stack += [(f"{pointer}/{index}", child) for index, child in enumerate(node)]


def _unencodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS_MAX:
        raise ValueError("too many digits")
    return int(digits)


def _number(text: str) -> int | float:
    """`1.0` and `1` are the same JSON number, and an overflow is no number at all."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return int(value) if value.is_integer() else value
