"""The Fetch standard's word on whether a page may read an answer, as pure functions.

A browser does not look whether a header "is there": it runs an algorithm. These are its two parts
that concern servers (WHATWG Fetch, "CORS check" and "CORS-preflight fetch"), step by step, so that
every spelling which a browser accepts is accepted here, and none which it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from streamgauge.recording import Recording

SIMPLE_METHODS = frozenset({"GET", "HEAD", "POST"})
"""CORS-safelisted: no preflight has to name them."""
NO_WILDCARD = frozenset({"authorization"})
"""CORS non-wildcard request-header names: `*` does not cover them."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def allows_credentials(answer: Recording) -> bool:
    """Whether the answer may be read by a page that sent credentials (the value is `true`)."""
    return answer.header("access-control-allow-credentials") == "true"


def refusal(answer: Recording, origin: str, *, credentials: bool = False) -> str:
    """The CORS check: why a page of this origin may not read the answer, "" where it may."""
    allowed = answer.header("access-control-allow-origin")
    if allowed is None:
        return "there is no Access-Control-Allow-Origin"
    if allowed == "*" and not credentials:
        return ""
    if allowed != origin:
        also = ", which is no wildcard where credentials are sent" if allowed == "*" else ""
        return f"Access-Control-Allow-Origin is {allowed!r}{also}"
    if credentials and not allows_credentials(answer):
        return "Access-Control-Allow-Credentials is not `true`"
    return ""


def preflight_refusal(
    answer: Recording,
    origin: str,
    method: str,
    names: Iterable[str],
    *,
    credentials: bool = False,
) -> str:
    """The CORS-preflight fetch: why the request would not be sent, "" where it would.

    Args:
        answer: what OPTIONS was answered.
        origin: the page's.
        method: of the request that the page wants to make.
        names: headers of that request which are not CORS-safelisted.
        credentials: the request's credentials mode is "include".
    """
    if why := refusal(answer, origin, credentials=credentials):
        return why
    if answer.status is None or not 200 <= answer.status <= 299:
        return f"the status is {answer.status}, not 200 to 299"
    methods = listed(answer, "access-control-allow-methods")
    headers = listed(answer, "access-control-allow-headers")
    if methods is None:
        return "Access-Control-Allow-Methods is no list of methods"
    if headers is None:
        return "Access-Control-Allow-Headers is no list of names"
    any_method = "*" in methods and not credentials
    if method not in methods and method not in SIMPLE_METHODS and not any_method:
        return f"Access-Control-Allow-Methods does not name {method}"
    known = {name.lower() for name in headers}
    any_name = "*" in headers and not credentials
    for name in names:
        covered = any_name and name.lower() not in NO_WILDCARD
        if name.lower() not in known and not covered:
            told = answer.header("access-control-allow-headers")
            return f"Access-Control-Allow-Headers ({told!r}) does not name {name}"
    return ""


def exposes(answer: Recording, name: str) -> bool:
    """Whether a page that may read the answer sees this header of it."""
    names = listed(answer, "access-control-expose-headers") or ()
    wild = "*" in names and not allows_credentials(answer)
    return wild or name.lower() in {each.lower() for each in names}


def listed(answer: Recording, name: str) -> tuple[str, ...] | None:
    """A header's list of tokens, () where it is absent, None where it is no such list."""
    value = answer.header(name)
    if value is None:
        return ()
    parts = [part.strip(" \t") for part in value.split(",")]
    tokens = tuple(part for part in parts if part)
    return tokens if all(map(_TOKEN.fullmatch, tokens)) else None


def varies_by_origin(answer: Recording) -> bool:
    """Whether Vary tells caches that the answer depends on Origin."""
    names = {part.strip().lower() for part in (answer.header("vary") or "").split(",")}
    return bool(names & {"origin", "*"})
