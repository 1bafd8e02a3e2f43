"""Takes e-mail addresses and phone numbers out of agent text before it is stored (protocol §2).

Works on hostile text in linear time: every pattern is possessive or bounded, and what needs
judgement (is this run of digits a date?) is decided on the run, not by backtracking. In doubt it
removes: a lost invoice number in a progress message does no harm, a leaked phone number does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

EMAIL_MARK: Final = "[email]"
PHONE_MARK: Final = "[phone]"

PHONE_DIGITS_MIN: Final = 7
PHONE_DIGITS_MAX: Final = 15
"""The longest number that E.164 allows."""

#: What parts groups of digits. Blanks include the no-break ones, hyphens the typographic ones.
_BLANK: Final = " \t\u00a0\u202f"
_SEPARATOR: Final = rf"[{_BLANK}.\-\u2010\u2011/()]"

#: Read against the direction of writing, from the character before the "@".
_LOCAL_REVERSED: Final = re.compile(r"[\w.+%'\-]*")
_DOMAIN: Final = re.compile(r"\w[\w-]*+(?:\.[\w-]++)*\.[^\W\d_][\w-]++")

#: Groups of digits with one to three separators between them. A group before ":12" is a time's.
_RUN: Final = re.compile(rf"\d(?<!\d\d)\d*+(?!:\d)(?:{_SEPARATOR}{{1,3}}+\d++(?!:\d))*+")

_YEAR: Final = r"(?:1[89]|20|21)\d\d"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_ALONE: Final = r"(?!\d)(?![./-]\d)"

#: Digits in groups that are no phone number. Each alternative has a bounded length.
_NO_PHONE: Final = re.compile(
    rf"(?<!\d)(?<!\d[./-])(?:"
    rf"{_YEAR}([-/.]){_MONTH}\1{_DAY}{_ALONE}"  # 2024-01-31
    rf"|{_DAY}([-/.]){_DAY}\2(?:{_YEAR}|\d\d){_ALONE}"  # 31.12.2024, 12/31/2024
    rf"|{_YEAR}[ ]?[-/][ ]?(?:{_YEAR}|\d\d){_ALONE}"  # 2019-2023
    rf"|{_YEAR}[-/.]{_MONTH}{_ALONE}|{_MONTH}[-/.]{_YEAR}{_ALONE}"  # 2024-01, 01/2024
    rf"|(?:{_OCTET}\.){{3}}{_OCTET}(?!\d)(?!\.\d)"  # an IPv4 address
    rf")"
)

#: In a run that is too long for one number: pieces that blanks part from the rest.
_PIECE: Final = re.compile(r"\d(?<!\d\d)\d*+(?:[.\-\u2010\u2011/()]{1,3}+\d++)++")
_SECOND_NUMBER: Final = re.compile(rf"(?<=\d)[{_BLANK}]+(?=\()")
#: What stands before digits that belong to a word or to a time: "x12", "12:30".
_FOREIGN: Final = re.compile(r"(?:.?\w|\d:)", re.DOTALL)
_NOT_DIGIT: Final = re.compile(r"\D+")


def redact(text: str) -> str:
    """`text` with every e-mail address and phone number replaced by a mark."""
    return _without_phones(_without_emails(text))


def _without_phones(text: str) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in _phones(text):
        pieces += (text[done:start], PHONE_MARK)
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def _without_emails(text: str) -> str:
    """Look at each "@": what stands before it up to the last one, and after it up to the next."""
    if "@" not in text:
        return text
    pieces: list[str] = []
    done = 0
    at = text.find("@")
    while at != -1:
        before = text[done:at]
        local = _LOCAL_REVERSED.match(before[::-1])
        domain = _DOMAIN.match(text, at + 1)
        length = len(local.group().rstrip(".'-")) if local else 0
        if length and domain:
            pieces += (before[: len(before) - length], EMAIL_MARK)
            done = domain.end()
        else:
            pieces.append(text[done : at + 1])
            done = at + 1
        at = text.find("@", done)
    pieces.append(text[done:])
    return "".join(pieces)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    """Where the phone numbers stand, from left to right, brackets and plus sign included."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if end - start < PHONE_DIGITS_MIN:
            continue
        if text[max(0, start - 2) : start].endswith(("+", "+(")):
            cut = _international_end(text, start, end)
            if cut > start:
                yield _with_brackets(text, start, cut)
                start = cut
        elif _FOREIGN.fullmatch(text, max(0, start - 2), start):
            start = _after_first_group(text, start, end)
        for low, high in _between_protected(text, start, end):
            for first, last in _national(text, low, high):
                yield _with_brackets(text, first, last)


def _international_end(text: str, start: int, end: int) -> int:
    """After a plus: as many groups as make up a number; `start` where they are none."""
    digits, cut = 0, start
    for group in re.finditer(r"\d++", text[start : min(end, start + PHONE_DIGITS_MAX * 4)]):
        low = start + group.start()
        if digits >= PHONE_DIGITS_MIN and _NO_PHONE.match(text, low):
            break
        if digits + len(group.group()) > PHONE_DIGITS_MAX:
            break
        digits += len(group.group())
        cut = start + group.end()
    return cut if digits >= PHONE_DIGITS_MIN else start


def _after_first_group(text: str, start: int, end: int) -> int:
    while start < end and text[start].isdecimal():
        start += 1
    return start


def _between_protected(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a run around dates, year ranges and addresses."""
    for protected in _NO_PHONE.finditer(text, start, end):
        yield start, protected.start()
        start = protected.end()
    yield start, end


def _national(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The numbers in one part: the whole of it, or, where it is too long, what is in it."""
    if _is_number(text, start, end):
        yield _digits_span(text, start, end)
    elif end - start > PHONE_DIGITS_MAX:
        low = start
        for border in (*_SECOND_NUMBER.finditer(text, start, end), None):
            high = border.start() if border else end
            if _is_number(text, low, high):
                yield _digits_span(text, low, high)
            else:
                pieces = _PIECE.finditer(text, low, high)
                yield from (piece.span() for piece in pieces if _is_number(text, *piece.span()))
            low = border.end() if border else end


def _is_number(text: str, start: int, end: int) -> bool:
    """7 to 15 digits in at least two groups."""
    groups = [group for group in _NOT_DIGIT.split(text[start:end]) if group]
    return len(groups) > 1 and PHONE_DIGITS_MIN <= sum(map(len, groups)) <= PHONE_DIGITS_MAX


def _digits_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The part from its first digit to its last."""
    while not text[start].isdecimal():
        start += 1
    while not text[end - 1].isdecimal():
        end -= 1
    return start, end


def _with_brackets(text: str, start: int, end: int) -> tuple[int, int]:
    """Take in the plus sign and the brackets that belong to the number."""
    for _ in range(3):
        before = text[start - 1 : start]
        if before == "+" or (before == "(" and ")" in text[start:end]):
            start -= 1
    inside = text[start:end]
    if inside.count("(") > inside.count(")") and text[end : end + 1] == ")":
        end += 1
    return start, end
