"""Cursors and query parameters, content negotiation: what is understood and what is refused."""

from __future__ import annotations

import pytest

from reference_server.cursors import (
    ParameterError,
    page_limit,
    parse_cursor,
    polling_cursor,
    stream_cursor,
    wait_seconds,
)
from reference_server.jsonbody import MalformedJson, fingerprint, lone_surrogates, parse_object
from reference_server.negotiation import accepts, is_json


@pytest.mark.parametrize("raw", ["0", "1", "17", str(2**63 - 1)])
def test_cursor_that_is_one(raw: str) -> None:
    """0 and decimal integers up to 2^63-1 are cursors."""
    assert parse_cursor(raw) == int(raw)


@pytest.mark.parametrize(
    "raw",
    [
        "01",
        "+1",
        "-1",
        "1e3",
        "1.0",
        " 1",
        "1 ",
        "0x1",
        "٣",
        "",
        "a",
        str(2**63),
        "9" * 5000,
        "1\n",
    ],
)
def test_cursor_that_is_none(raw: str) -> None:
    """Signs, blanks, leading zeros, other digits and numbers over the bound are refused."""
    with pytest.raises(ParameterError):
        parse_cursor(raw)


def test_header_wins_and_the_loser_is_not_examined() -> None:
    """A non-empty Last-Event-ID decides, whatever the query says (§4)."""
    assert stream_cursor(["5"], ["nonsense"]) == 5
    assert stream_cursor(["5"], ["1", "2"]) == 5
    assert stream_cursor([""], ["7"]) == 7
    assert stream_cursor([], []) == 0
    assert stream_cursor([""], [""]) == 0


@pytest.mark.parametrize(("header", "query"), [(["1", "1"], []), (["", "1"], []), ([], ["1", "1"])])
def test_repeated_cursor_is_refused(header: list[str], query: list[str]) -> None:
    """A header or parameter that comes twice says nothing certain."""
    with pytest.raises(ParameterError):
        stream_cursor(header, query)


def test_polling_parameters() -> None:
    """Defaults, bounds and the difference between empty and absent."""
    assert polling_cursor([]) == polling_cursor([""]) == 0
    assert page_limit([]) == 500
    assert page_limit(["1000"]) == 1000
    assert wait_seconds([]) == 0
    assert wait_seconds(["0.25"]) == 0.25
    assert wait_seconds(["30"]) == 30


@pytest.mark.parametrize("raw", ["", "0", "1001", "-1", "1.5", "01", "x"])
def test_bad_limit(raw: str) -> None:
    """limit is an integer from 1 to 1000, and an empty one is an error."""
    with pytest.raises(ParameterError):
        page_limit([raw])


@pytest.mark.parametrize("raw", ["", "-1", "30.1", "31", "1e1", "inf", ".5", "1.", "x"])
def test_bad_wait(raw: str) -> None:
    """wait is 0 to 30 seconds, and an empty one is an error."""
    with pytest.raises(ParameterError):
        wait_seconds([raw])


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ([], True),
        ([""], True),
        (["text/event-stream"], True),
        (["TEXT/Event-Stream; charset=utf-8"], True),
        (["text/*"], True),
        (["*/*;q=0.1"], True),
        (["application/json"], False),
        (["text/event-stream;q=0, */*"], False),
        (["text/*;q=0"], False),
        (["application/json", "text/event-stream"], True),
        (["application/json;q=1, */*;q=0"], False),
        (["nonsense"], True),
    ],
)
def test_accept(header: list[str], expected: bool) -> None:
    """The most specific range decides; a header that cannot be read excludes nothing."""
    assert accepts(header, "text/event-stream") is expected


def test_json_media_types() -> None:
    """JSON is UTF-8 and says so by its type."""
    assert is_json("application/json; charset=UTF-8")
    assert is_json("application/problem+json")
    assert not is_json("application/json; charset=utf-16")
    assert not is_json("text/json")
    assert not is_json("")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b'"x"',
        b"{",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"a":' + b"[" * 300_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_json(body: bytes) -> None:
    """NaN, overflow, invalid UTF-8, a mark at the start, and depth are all malformed (400)."""
    with pytest.raises(MalformedJson):
        parse_object(body)


def test_equal_as_json_is_equal() -> None:
    """Order, spacing, escapes and the form of a number do not change a fingerprint."""
    one = parse_object(b'{"a": 1.0, "b": "\\u00e9"}')
    other = parse_object('{"b":"é","a":1}'.encode())
    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(parse_object(b'{"a":true,"b":"\\u00e9"}'))


def test_lone_surrogates_are_pointed_at() -> None:
    """Half of a pair is legal JSON and no text; the pointer says where it stands."""
    body = b'{"a": ["x", "\\ud800"], "b": "\\ud83d\\ude00"}'
    assert lone_surrogates(body, parse_object(body)) == ["#/a/1"]
