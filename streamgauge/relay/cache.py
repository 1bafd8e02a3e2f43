"""A small shared cache that does what RFC 9111 allows, and everything that it allows.

It exists to show what a deployment's answers permit the caches on their way: whoever marks a live
stream or a page of polling as reusable gets it reused. It keeps no answer beyond its bounds, knows
no validation (what has to be validated is asked for anew), and contacts nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

Fields = tuple[tuple[str, str], ...]

ENTRIES_MAX = 64
ENTRY_BYTES_MAX = 8 * 1024 * 1024
HEURISTIC_SHARE = 0.1
"""RFC 9111 §4.2.2: a typical setting is 10 % of the time since Last-Modified."""
REUSED_STATUSES = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""Those that may be kept by a heuristic (RFC 9110 §15.1); others are left alone here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer as the target gave it."""

    status: int
    fields: Fields
    body: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    answer: Answer
    kept_at: float
    fresh_s: float
    chosen_by: Fields
    """The request's fields that Vary names."""


class Cache:
    """Whole answers to GET requests, by URL."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, list[_Entry]] = OrderedDict()

    def find(self, method: str, url: str, asked: Fields, now: float) -> Answer | None:
        """A fresh answer that this request may have, with its Age."""
        directives = _directives(value_of(asked, "cache-control"))
        if method != "GET" or directives.keys() & {"no-cache", "no-store"}:
            return None
        if "no-cache" in value_of(asked, "pragma") and not directives:
            return None
        for entry in self._entries.get(url, ()):
            age = now - entry.kept_at
            same = all(value_of(asked, name) == value for name, value in entry.chosen_by)
            if same and age < min(entry.fresh_s, _seconds(directives, "max-age", entry.fresh_s)):
                told = (("Age", str(int(age))), ("Cache-Status", "streamgauge; hit"))
                return Answer(entry.answer.status, (*entry.answer.fields, *told), entry.answer.body)
        return None

    def offer(self, method: str, url: str, asked: Fields, answer: Answer, now: float) -> bool:
        """Keep an answer that came whole, where it may be kept; tells whether it was."""
        if method not in ("GET", "HEAD", "OPTIONS"):
            self._entries.pop(url, None)  # RFC 9111 §4.4
        vary = [name.strip().lower() for name in value_of(answer.fields, "vary").split(",")]
        fresh_s = _freshness(asked, answer)
        if method != "GET" or fresh_s <= 0 or "*" in vary or len(answer.body) > ENTRY_BYTES_MAX:
            return False
        chosen_by = tuple((name, value_of(asked, name)) for name in vary if name)
        entry = _Entry(answer, now, fresh_s, chosen_by)
        self._entries.setdefault(url, []).insert(0, entry)
        del self._entries[url][ENTRIES_MAX:]
        while len(self._entries) > ENTRIES_MAX:
            self._entries.popitem(last=False)
        return True


def value_of(fields: Iterable[tuple[str, str]], name: str) -> str:
    """A field's values joined by comma, "" where it is absent."""
    return ", ".join(value for key, value in fields if key.lower() == name)


def _freshness(asked: Fields, answer: Answer) -> float:
    """For how many seconds an answer may be reused unasked; 0 where it may not (§3, §4.2)."""
    control = value_of(answer.fields, "cache-control")
    directives = _directives(control)
    wishes = _directives(value_of(asked, "cache-control"))
    if "no-store" in wishes or directives.keys() & {"no-store", "private", "no-cache"}:
        return 0.0
    open_to_all = directives.keys() & {"public", "s-maxage", "must-revalidate"}
    if value_of(asked, "authorization") and not open_to_all:
        return 0.0
    age = value_of(answer.fields, "age")
    aged = float(age) if age.isdigit() else 0.0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return _seconds(directives, name, 0.0) - aged
    date = _date(value_of(answer.fields, "date"))
    if expires := value_of(answer.fields, "expires"):
        until = _date(expires)
        return until - date - aged if until is not None and date is not None else 0.0
    modified = _date(value_of(answer.fields, "last-modified"))
    if answer.status in REUSED_STATUSES and modified is not None and date is not None:
        return (date - modified) * HEURISTIC_SHARE - aged
    return 0.0


def _directives(value: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in value.split(",") if part.strip())
    return {name.strip().lower(): argument.strip().strip('"') for name, _, argument in pairs}


def _seconds(directives: dict[str, str], name: str, default: float) -> float:
    value = directives.get(name, "")
    return float(value) if value.isdigit() else default


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None
