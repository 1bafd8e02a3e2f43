"""Decides whether a client's `Accept` header has room for what a resource offers.

A stream resource that ignores `Accept` sends an endless body to somebody who asked for something
else, so the answer there is 406 (RFC 9110 §12.5.1, §15.5.7). Pure functions over header values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_RANGE: Final = re.compile(rf"({_TOKEN})/({_TOKEN})")
_QUALITY: Final = re.compile(r"q\s*=\s*(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", re.IGNORECASE)


def accepts(header_values: Sequence[str], media_type: str) -> bool:
    """True where `media_type` is acceptable.

    The most specific range decides. An absent header accepts everything, and so does one in which
    no range can be read: refusing there would punish a client for its library's typing mistake.
    """
    kind, subtype = media_type.split("/")
    best_rank, best_quality, readable = -1, 0.0, False
    for item in ",".join(header_values).split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        match = _RANGE.fullmatch(media_range.lower())
        if match is None:
            continue
        readable = True
        rank = _rank(match.group(1), match.group(2), kind, subtype)
        quality = _quality(parameters)
        if rank > best_rank or (rank == best_rank and quality > best_quality):
            best_rank, best_quality = rank, quality
    return not readable or (best_rank >= 0 and best_quality > 0)


def is_json(content_type: str) -> bool:
    """True for a JSON media type whose text is UTF-8."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    match = _RANGE.fullmatch(media_type)
    if match is None or match.group(1) != "application":
        return False
    if match.group(2) != "json" and not match.group(2).endswith("+json"):
        return False
    charsets = [part.partition("=")[2].strip(' "') for part in parameters if "charset" in part]
    return all(charset in ("utf-8", "utf8") for charset in charsets)


def _rank(range_kind: str, range_subtype: str, kind: str, subtype: str) -> int:
    """How closely a range names the type: 2 exactly, 1 by its family, 0 by `*/*`, -1 not."""
    if (range_kind, range_subtype) == (kind, subtype):
        return 2
    if (range_kind, range_subtype) == (kind, "*"):
        return 1
    return 0 if (range_kind, range_subtype) == ("*", "*") else -1


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        match = _QUALITY.fullmatch(parameter)
        if match is not None:
            return float(match.group(1))
    return 1.0
