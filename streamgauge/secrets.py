"""Keeps what opens a deployment's doors out of every record: headers, cookies, query tokens.

Redaction happens before a recording exists, so that no output (report, trace, curl line, HAR) can
forget it. Secrets are sent, never shown; where the target itself repeats one, it is masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, quote, urlsplit

REDACTED = "[redacted]"
ECHO_MIN_CHARS = 6
"""A shorter value would be found everywhere by chance, and masking it would falsify evidence."""
_SOUNDS_SECRET = re.compile(
    r"token|secret|passw|api[_-]?key|^key$|auth|signature|^sig$|credential|jwt",
    re.IGNORECASE,
)


_ALWAYS = frozenset({"authorization", "cookie", "proxy-authorization"})


def _is_secret(name: str) -> bool:
    """Whether a header's value would open something; an `Origin` or an `Accept` would not."""
    return name.lower() in _ALWAYS or bool(_SOUNDS_SECRET.search(name))


def _parts(value: str) -> set[str]:
    """What is secret in a header's value: not the scheme before it, nor the names of cookies."""
    crumbs = [crumb.partition("=")[2] or crumb for crumb in re.split(r"[;,]\s*", value)]
    return {word for crumb in crumbs for word in crumb.split()[-1:]}


class Secrets:
    """The values that a run sends and never shows."""

    def __init__(
        self, headers: Iterable[tuple[str, str]] = (), query: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.query = tuple(query)
        values = {value for name, value in headers if _is_secret(name) for value in _parts(value)}
        values |= {value for _, value in self.query}
        self._values = sorted(
            (value.encode("utf-8", "replace") for value in values if len(value) >= ECHO_MIN_CHARS),
            key=len,
            reverse=True,
        )

    def sent(self, url: str) -> str:
        """The URL as it goes out."""
        return self._with_query(url, lambda value: quote(value, safe=""))

    def shown(self, url: str) -> str:
        """The URL as it is recorded: names of parameters are kept, their values are not."""
        return self._with_query(url, lambda _: REDACTED)

    def stripped(self, query: str) -> str:
        """A query that the target answered, without the parameters that every request gets."""
        names = {name for name, _ in self.query}
        if not names or not query:
            return query
        return "&".join(part for part in query.split("&") if part.partition("=")[0] not in names)

    def masked(self, data: bytes) -> bytes:
        """The same number of bytes, with every secret that the target repeats covered up."""
        for value in self._values:
            if value in data:
                data = data.replace(value, b"*" * len(value))
        return data

    def masked_text(self, text: str) -> str:
        return self.masked(text.encode("latin-1", "replace")).decode("latin-1")

    def _with_query(self, url: str, value_of: Callable[[str], str]) -> str:
        if not self.query:
            return url
        added = "&".join(f"{quote(name, safe='')}={value_of(value)}" for name, value in self.query)
        return f"{url}{'&' if '?' in url else '?'}{added}"


def split_query(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A URL without the parameters that sound like secrets, and those parameters."""
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    secret = tuple((n, v) for n, v in pairs if v and _SOUNDS_SECRET.search(n))
    if not secret:
        return url, ()
    names = {name for name, _ in secret}
    kept = "&".join(p for p in parts.query.split("&") if p.partition("=")[0] not in names)
    return parts._replace(query=kept).geturl(), secret
