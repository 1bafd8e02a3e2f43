"""Texts whose traces can be told from everything else, and start bodies that carry them.

A canary is unique: where it turns up, it can only have come from the one place it was put. What
else stands in such a text (addresses, numbers, forged fields) is made up and belongs to nobody.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from streamgauge.job import Shape
from streamgauge.lab import Lab

#: One local part each, so that what is left of one address is not mistaken for another.
EMAILS: Final = (
    "anna.probe@example.com",
    "bert+sg@example.org",
    "carla_s@mail.eu.example.net",
    "DORA.PROBE@EXAMPLE.COM",
    "emil-7@some-host.example",
    "f.g.h@example.museum",
)
#: Numbers from ranges that are kept for fiction. Both forms of protocol §2: a plus in front, or 7
#: to 15 digits in groups.
PHONES: Final = (
    "+14155550132",
    "+49 30 23125 014",
    "+44 (0)20 7946 0958",
    "+1-202-555-0147",
    "(415) 555-0161",
    "415-555-0172",
    "415.555.0183",
    "030/23125 087",
    "0171 3920 044",
)
#: Digits in groups that are no phone number: what becomes of them is told, not judged.
NO_PHONES: Final = ("2024-01-31", "2019-2023", "192.168.10.25")

LINE_ENDS: Final = {"LF": "\n", "CRLF": "\r\n", "CR": "\r"}
FORGED_RETRY_MS: Final = 77_777


def canary(kind: str) -> str:
    """A word of letters and digits that nobody else uses."""
    return f"sg{kind}{uuid.uuid4().hex[:20]}"


def personal(mark: str) -> str:
    """A text full of addresses and numbers, between two marks by which it is known again."""
    first, second, *more = EMAILS
    mails = f"Write to {first}, <{second}> or mailto:{more[0]};\n{more[1]},{more[2]} ({more[3]})."
    calls = "; ".join(f"call {number}" for number in PHONES)
    return f"{mark} {mails}\nOr {calls}.\nSince {', '.join(NO_PHONES)}. {mark}"


def forgery(mark: str, line_end: str) -> str:
    """A text that pretends to end its event and to begin others."""
    lines = (
        f"{mark} before",
        "",
        f"event: {mark}",
        f"id: {mark}",
        "data: forged",
        "",
        f"retry: {FORGED_RETRY_MS}",
        "",
        f"id: {mark}",
        "",
        f"data: {mark} forged",
        "",
        f"{mark} after",
    )
    return line_end.join(lines)


def text_member(lab: Lab) -> str:
    """The member of a start that holds its main text: by name, else the longest string."""
    body = lab.profile.api.start_body
    texts = [name for name, value in body.items() if isinstance(value, str)]
    if "resume_text" in texts or not texts:
        return "resume_text"
    return max(texts, key=lambda name: len(body[name]))


def start_saying(lab: Lab, text: str, shape: Shape | None = None) -> bytes:
    """The body of a start whose main text is this."""
    body: dict[str, Any] = json.loads(lab.start_body(shape))
    body[text_member(lab)] = text
    return json.dumps(body, ensure_ascii=False).encode()
