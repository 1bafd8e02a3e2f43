"""Secrets are sent and never shown: in no record, no trace, no line to copy, no message."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from streamgauge.client import Client
from streamgauge.clock import RunClock
from streamgauge.raw import exchange
from streamgauge.recording import Bundle
from streamgauge.reproduce import curl
from streamgauge.secrets import Secrets, split_query
from streamgauge.trace import save
from tests.suite_process import SuiteProcess, listening

TOKEN = "tok-5a1fe0-secret"
COOKIE = "sid-77c2-secret"
BEARER = "bearer-19ab-secret"


def client_for(url: str) -> Client:
    return Client(
        url,
        RunClock(),
        [("Authorization", f"Bearer {BEARER}"), ("Cookie", f"sid={COOKIE}")],
        query=[("token", TOKEN)],
    )


async def test_no_record_holds_a_secret(tmp_path: Path) -> None:
    """If a target repeats what it was sent, then record, trace and curl line hold none of it."""
    with listening("tests.null_targets", "echo") as (url, _):
        client = client_for(url)
        echoed = await client.ask("GET", "/job?a=1", label="echo")
        bare = await exchange(client, "GET", "/bare", label="raw")
        await client.aclose()
    assert echoed.request.url.endswith("/job?a=1&token=[redacted]")
    assert b"/job" in echoed.body
    assert f"token={'*' * len(TOKEN)}".encode() in echoed.body + b"token=" + b"*" * len(TOKEN)
    line = curl(echoed)
    assert "token=$TOKEN" in line and "Bearer" not in line
    trace = tmp_path / "t.gz"
    save(trace, {}, [Bundle("x", (echoed, bare))])
    written = gzip.decompress(trace.read_bytes()).decode() + line
    for secret in (TOKEN, COOKIE, BEARER):
        assert secret not in written


def test_masking_keeps_the_number_of_bytes() -> None:
    """If a secret is covered up, then offsets stay true; what is no secret is left alone."""
    secrets = Secrets(
        [("Authorization", f"Bearer {BEARER}"), ("Origin", "http://localhost:3000")],
        [("token", TOKEN)],
    )
    text = f"Bearer {BEARER} {TOKEN} http://localhost:3000".encode()
    masked = secrets.masked(text)
    assert len(masked) == len(text)
    assert BEARER.encode() not in masked and TOKEN.encode() not in masked
    assert b"Bearer " in masked and b"http://localhost:3000" in masked


def test_a_target_that_answers_a_url_with_the_token_does_not_double_it() -> None:
    """If an answered URL holds the parameter already, then it is sent once."""
    client = client_for("http://127.0.0.1:9/p")
    told = client.resolve(f"/s?x=1&token={TOKEN}")
    assert told == "http://127.0.0.1:9/s?x=1"
    assert client.secrets.sent(told) == f"http://127.0.0.1:9/s?x=1&token={TOKEN}"


@pytest.mark.parametrize(
    ("url", "kept", "taken"),
    [
        ("http://h/s?stream=x", "http://h/s?stream=x", ()),
        ("http://h/s?a=1&access_token=q", "http://h/s?a=1", (("access_token", "q"),)),
        ("http://h/s?api_key=q", "http://h/s", (("api_key", "q"),)),
    ],
)
def test_parameters_that_sound_secret_are_taken_out(
    url: str, kept: str, taken: tuple[tuple[str, str], ...]
) -> None:
    """If a given URL has a token in its query, then it is sent, and not shown."""
    assert split_query(url) == (kept, taken)


def test_no_output_of_a_run_holds_a_query_token(tmp_path: Path) -> None:
    """If the address has a token, then neither the screen nor any report file shows it."""
    with listening("tests.null_targets", "ok-to-everything") as (url, _):
        run = SuiteProcess(f"{url}/s?token={TOKEN}", tmp_path, "-v", profile="sse")
        outcome = run.finish()
    assert TOKEN not in outcome.output
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        assert TOKEN.encode() not in data, path
    assert outcome.ids("pass") == []
