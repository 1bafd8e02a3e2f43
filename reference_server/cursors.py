"""Reads cursors and the other query parameters of the views (protocol §4, §5).

Kept apart because a cursor that is understood differently by the stream and by polling is a fault
that nobody finds by looking at either of them. No HTTP here: lists of raw values go in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

CURSOR_MAX: Final = 2**63 - 1
LIMIT_DEFAULT: Final = 500
LIMIT_MAX: Final = 1000
WAIT_MAX_S: Final = 30.0

_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_SECONDS: Final = re.compile(r"(0|[1-9][0-9]?)(\.[0-9]{1,9})?")


class ParameterError(ValueError):
    """A parameter that breaks the rules; the text may be shown to the client."""


def parse_cursor(raw: str) -> int:
    """A cursor: `0` or a decimal integer without sign, blank or leading zero, up to 2^63-1."""
    if not _INTEGER.fullmatch(raw) or int(raw) > CURSOR_MAX:
        raise ParameterError("A cursor is 0 or a decimal integer without sign or leading zero.")
    return int(raw)


def stream_cursor(header: Sequence[str], query: Sequence[str]) -> int:
    """The cursor of a stream request: `Last-Event-ID`, or where that is empty, the query.

    The losing one is not examined. Raises ParameterError for a repeated or malformed one.
    """
    value = single(header, "Last-Event-ID")
    if not value:
        value = single(query, "last_event_id")
    return parse_cursor(value) if value else 0


def polling_cursor(query: Sequence[str]) -> int:
    """`after` of a polling request; absent or empty means from the start."""
    value = single(query, "after")
    return parse_cursor(value) if value else 0


def page_limit(query: Sequence[str]) -> int:
    """`limit`: 1 to 1000, by default 500."""
    value = single(query, "limit")
    if value is None:
        return LIMIT_DEFAULT
    if not _INTEGER.fullmatch(value) or not 1 <= int(value) <= LIMIT_MAX:
        raise ParameterError(f"limit is an integer from 1 to {LIMIT_MAX}.")
    return int(value)


def wait_seconds(query: Sequence[str]) -> float:
    """`wait`: 0 to 30 seconds, by default 0, with or without a fraction."""
    value = single(query, "wait")
    if value is None:
        return 0.0
    if not _SECONDS.fullmatch(value) or float(value) > WAIT_MAX_S:
        raise ParameterError(f"wait is a number of seconds from 0 to {WAIT_MAX_S:g}.")
    return float(value)


def single(values: Sequence[str], name: str) -> str | None:
    """The only value there is; None where there is none. Raises ParameterError for several."""
    if len(values) > 1:
        raise ParameterError(f"{name} must be given once only.")
    return values[0] if values else None
