"""What an error answer may say, and what it lets slip."""

from __future__ import annotations

import json

import pytest

from conformance.leaks import told_by
from streamgauge.recording import End, Read, Recording, Request

URL = "http://target.example/api/jobs/x"


def answer(body: bytes, *headers: tuple[str, str], url: str = URL, sent: bytes = b"") -> Recording:
    return Recording(
        label="error",
        request=Request("POST", url, (), sent),
        sent_at=0.0,
        status=500,
        headers=headers,
        head_at=0.1,
        reads=(Read(0.1, body),),
        end=End.COMPLETE,
        ended_at=0.2,
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Traceback (most recent call last):", "a stack trace"),
        ('File "/srv/app/main.py", line 7', "a stack trace"),
        ("    at Object.<anonymous> (/app/server.js:10:15)", "a stack trace"),
        ("asyncpg.exceptions.UndefinedTableError", "a stack trace"),
        ("KeyError: 'job'", "a stack trace"),
        ("goroutine 17 [running]:", "a stack trace"),
        ("cannot open /var/lib/jobs/jobs.db", "a path"),
        (r"C:\inetpub\wwwroot\app", "a path"),
        ("<center>nginx/1.25.3</center>", "a version"),
        ("Werkzeug 3.0.1", "a version"),
    ],
)
def test_what_errors_let_slip_is_found(text: str, kind: str) -> None:
    """If an error shows its inside, then it is told, as plain text and in a JSON member."""
    assert told_by(answer(text.encode())).startswith(kind)
    assert told_by(answer(json.dumps({"detail": text}).encode())).startswith(kind)


@pytest.mark.parametrize(
    "text",
    [
        "The request cannot be understood.",
        "There is no such job, or it is no longer kept.",
        "resume_text: expected 1 to 200,000 characters, got 0",
        "Try again in 30 s (retry-after: 30).",
        "https://datatracker.ietf.org/doc/html/rfc9457",
        "The value of `limit` must be between 1 and 1000.",
        "<html><body><h1>404 Not Found</h1></body></html>",
    ],
)
def test_a_plain_refusal_lets_nothing_slip(text: str) -> None:
    """If an error says only what was wrong with the request, then nothing is held against it."""
    assert told_by(answer(text.encode())) == ""
    assert told_by(answer(json.dumps({"detail": text}).encode())) == ""


def test_what_the_request_said_is_no_secret() -> None:
    """If an error repeats what it was asked, then that reveals nothing."""
    body = b'{"detail": "There is no /etc/passwd here."}'
    assert told_by(answer(body)).startswith("a path")
    assert told_by(answer(body, url="http://target.example/api/jobs/%2Fetc%2Fpasswd")) == ""


def test_headers_that_tell_are_found() -> None:
    """If a header names the framework's version, then it is told; `Server` may be a proxy's."""
    assert "x-powered-by" in told_by(answer(b"{}", ("X-Powered-By", "PHP/8.2.1")))
    assert told_by(answer(b"{}", ("Server", "nginx/1.25.3"))) == ""
