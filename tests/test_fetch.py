"""Whether a page may read an answer: the Fetch standard's steps, not how headers look."""

from __future__ import annotations

import pytest

from conformance.fetch import exposes, preflight_refusal, refusal, varies_by_origin
from conformance.scenarios.cors import foreign_origins
from streamgauge.recording import Recording, Request

ORIGIN = "http://localhost:3000"


def answer(status: int = 200, **headers: str) -> Recording:
    names = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Recording("a", Request("GET", "http://h.example/"), 0.0, status, headers=names)


def allowed(origin: str = ORIGIN, status: int = 204, **more: str) -> Recording:
    return answer(status, Access_Control_Allow_Origin=origin, **more)


@pytest.mark.parametrize(
    ("headers", "plain", "credentials"),
    [
        ({}, False, False),
        ({"Access_Control_Allow_Origin": ORIGIN}, True, False),
        ({"access_control_allow_origin": ORIGIN}, True, False),
        ({"Access_Control_Allow_Origin": "*"}, True, False),
        ({"Access_Control_Allow_Origin": ORIGIN.upper()}, False, False),
        ({"Access_Control_Allow_Origin": f"{ORIGIN}/"}, False, False),
        ({"Access_Control_Allow_Origin": f"{ORIGIN}, {ORIGIN}"}, False, False),
        (
            {"Access_Control_Allow_Origin": "*", "Access_Control_Allow_Credentials": "true"},
            True,
            False,
        ),
        (
            {"Access_Control_Allow_Origin": ORIGIN, "Access_Control_Allow_Credentials": "true"},
            True,
            True,
        ),
        (
            {"Access_Control_Allow_Origin": ORIGIN, "Access_Control_Allow_Credentials": "True"},
            True,
            False,
        ),
    ],
)
def test_the_cors_check(headers: dict[str, str], plain: bool, credentials: bool) -> None:
    """If the origin is named exactly, or `*` without credentials, then the page may read."""
    assert (refusal(answer(**headers), ORIGIN) == "") is plain
    assert (refusal(answer(**headers), ORIGIN, credentials=True) == "") is credentials


@pytest.mark.parametrize(
    ("given", "method", "names", "passes"),
    [
        (allowed(), "POST", (), True),
        (allowed(), "DELETE", (), False),
        (allowed(Access_Control_Allow_Methods="DELETE"), "DELETE", (), True),
        (allowed(Access_Control_Allow_Methods="*"), "DELETE", (), True),
        (allowed(), "POST", ("X-Client-Id",), False),
        (
            allowed(Access_Control_Allow_Headers="content-type,,x-client-id"),
            "POST",
            ("X-Client-Id",),
            True,
        ),
        (allowed(Access_Control_Allow_Headers="*"), "POST", ("X-Client-Id",), True),
        (allowed(Access_Control_Allow_Headers="*"), "POST", ("Authorization",), False),
        (
            allowed(Access_Control_Allow_Headers="*, authorization"),
            "POST",
            ("Authorization",),
            True,
        ),
        (allowed(Access_Control_Allow_Headers="X Client"), "POST", (), False),
        (allowed(status=200), "GET", (), True),
        (allowed(status=299), "GET", (), True),
        (allowed(status=301), "GET", (), False),
        (allowed(status=404), "GET", (), False),
        (allowed("http://other.example"), "GET", (), False),
    ],
)
def test_the_preflight(given: Recording, method: str, names: tuple[str, ...], passes: bool) -> None:
    """If status, origin, method and headers are allowed, then the request would be sent."""
    assert (preflight_refusal(given, ORIGIN, method, names) == "") is passes


def test_wildcards_are_none_with_credentials() -> None:
    """If credentials are sent, then `*` is a header by that name."""
    given = allowed(Access_Control_Allow_Headers="*", Access_Control_Allow_Credentials="true")
    assert preflight_refusal(given, ORIGIN, "POST", ("X-Client-Id",)) == ""
    assert preflight_refusal(given, ORIGIN, "POST", ("X-Client-Id",), credentials=True) != ""


def test_what_is_exposed() -> None:
    """If a header is listed, in any case, or all are, then the page sees it."""
    assert exposes(answer(Access_Control_Expose_Headers="etag, LOCATION"), "Location")
    assert exposes(answer(Access_Control_Expose_Headers="*"), "Location")
    assert not exposes(answer(), "Location")
    wild = answer(Access_Control_Expose_Headers="*", Access_Control_Allow_Credentials="true")
    assert not exposes(wild, "Location")


def test_vary() -> None:
    """If Vary names Origin or everything, then caches keep origins apart."""
    assert varies_by_origin(answer(Vary="Accept,origin"))
    assert varies_by_origin(answer(Vary="*"))
    assert not varies_by_origin(answer(Vary="Accept"))
    assert not varies_by_origin(answer())


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://app.example.com",
        "http://127.0.0.1:8000",
        "https://a.de:8443",
    ],
)
def test_foreign_origins_are_nobodys_own(origin: str) -> None:
    """If a deployment allows its own subdomains, ports or schemes, then no probe is one of them."""
    found = dict(foreign_origins(origin))
    assert origin not in found.values()
    host = origin.partition("://")[2].partition(":")[0]
    for foreign in found.values():
        name = foreign.partition("://")[2].partition(":")[0]
        assert name != host or foreign.startswith(origin)
        assert not name.endswith(f".{host}")
        assert not name.endswith(".example.com")
