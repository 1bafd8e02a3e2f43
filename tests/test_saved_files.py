"""Streams from `.har` files and curl dumps are judged by their bytes, and by nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.check import Check, Run, check, judge
from streamgauge.dumps import answers
from streamgauge.profile_file import load_profile
from streamgauge.report.frames import excerpt
from streamgauge.report.timeline import timeline
from streamgauge.results import Verdict
from streamgauge.saved import evidence_from
from streamgauge.trace import TraceError
from streamgauge.untimed import NO_TIME, Untimed
from streamgauge.verdict import Found

PROFILE = load_profile("resume-optimizer")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\r\n"
EVENT = b'id: 1\nevent: job_status\ndata: {"status": "started"}\n\n'


def saved(tmp_path: Path, data: bytes, name: str = "x.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def judged(path: Path, definition: Any) -> tuple[Verdict, str]:
    run = Run("file:x", PROFILE, evidence_from(path, PROFILE))
    found: Check = definition.check
    result = judge(found, run)
    return result.verdict, result.message


@check("WIRE-09", "log")
def by_bytes(run: Run) -> Found:
    return Found(sum(len(r.blocks) for r in run.recordings() if r.is_stream), "blocks")


@check("RT-02", "live")
def by_time(run: Run) -> Found:
    first = run.recordings()[0]
    return Found(1, "openings", f"{first.blocks[0].at - first.sent_at:.1f} s")


@check("POLL-02", "log")
def by_scenario(run: Run) -> Found:
    return Found(len(run.bundle("log").recordings), "pages")


@check("LIFE-07", "endings", part="cancel")
def by_part(run: Run) -> Found:
    return Found(1, "cancels")


def test_bytes_are_judged_and_nothing_else_is(tmp_path: Path) -> None:
    """If a file holds a stream, then its bytes are judged, and neither its timing nor the rest."""
    path = saved(tmp_path, HEAD + EVENT)
    assert judged(path, by_bytes)[0] is Verdict.PASS
    assert judged(path, by_time) == (
        Verdict.COULD_NOT_TEST,
        "the file does not tell when the bytes arrived, and this is judged by time",
    )
    verdict, message = judged(path, by_scenario)
    assert verdict is Verdict.NOT_RUN
    assert message == "a dump of curl has no scenario 'log': it takes the target"
    assert judged(path, by_part)[0] is Verdict.NOT_RUN


def test_a_stream_without_an_event_proves_nothing(tmp_path: Path) -> None:
    """If no event of a job is in the file, then nothing passes."""
    path = saved(tmp_path, HEAD + b": hello\n\n")
    assert judged(path, by_bytes)[0] is Verdict.COULD_NOT_TEST


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t - 1.0,
        lambda t: 1.0 - t,
        lambda t: t + 1.0,
        lambda t: t < 1.0,
        lambda t: t <= 1.0,
        lambda t: t == 1.0,
        lambda t: max(t, 1.0),
        lambda t: min(1.0, t),
        lambda t: sum([t, t]),
        lambda t: sorted([t, 1.0]),
        lambda t: {t},
        abs,
        round,
    ],
)
def test_no_time_can_be_judged_by(use: Any) -> None:
    """If a judgement does anything with a time that is not known, then it stops there."""
    with pytest.raises(Untimed):
        use(NO_TIME)


def test_the_report_shows_untimed_streams(tmp_path: Path) -> None:
    """If a stream has no times, then its bytes are shown without them, and no timeline is drawn."""
    recording = evidence_from(saved(tmp_path, HEAD + EVENT), PROFILE).bundles["probe"].recordings[0]
    assert timeline(recording, [], "2026-01-31T12:00:00.0Z") is None
    assert {line.at for line in excerpt(recording, (0, 5)).lines} == {None}


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /y\r\nContent-Length: 5\r\n\r\nmoved",
        b"HTTP/2 302 \r\nlocation: /y\r\n\r\n<p>moved</p>",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n",
    ],
    ids=["nothing", "continue", "hints", "tunnel", "sized redirect", "redirect", "challenge"],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/2 200 "])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["crlf", "lf"])
def test_what_stands_before_the_answer_is_passed_by(
    before: bytes, version: bytes, end: bytes
) -> None:
    """If curl went on from other answers, then the last one is the stream, to its last byte."""
    head = version + end + b"content-type: text/event-stream" + end + end
    found = answers(before.replace(b"\r\n", end) + head + EVENT)[-1]
    assert (found.status, found.body) == (200, EVENT)
    assert found.http_version == version.split()[0].decode()
    assert found.header("Content-Type") == "text/event-stream"


def test_a_head_inside_a_stream_is_part_of_it() -> None:
    """If a second head is written into a stream, then it is no answer but a fault in the body."""
    body = EVENT + b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\noops"
    assert [answer.body for answer in answers(HEAD + body)] == [body]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", "line 2 (offset 17): expected 'Name: value'"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n", "line 3 (offset 23): expected 'Name: value'"),
        (b"HTTP/1.1 OK\r\n\r\n", "line 1: expected a status line"),
        (b"HTTP/1.1 100 Continue\r\n\r\nwhat", "line 3: expected a status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>", "only: 200 text/html"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "only: 204 without a type"),
        (
            HEAD.replace(b"Cache", b"Transfer-Encoding: chunked\r\nCache") + b"1f\r\nid: 1",
            "chunk sizes",
        ),
        (b"> GET /x HTTP/1.1\r\n", "not a trace, nor a .har file, nor what curl -i prints"),
        (b"", "not a trace"),
        (b'{"log": {}}', "it has no log.entries"),
        (b'{"log": \n  {"entries": [}', "line 2, column 16 (offset 24): not JSON"),
        (b'{"log": {"entries": []}}', "no event stream is among its 0 entries"),
        (b'{"log": {"entries": [{"request": {}}]}}', "log.entries[0] is not as HAR 1.2"),
        (b'{"log": "' + b"\xff" * 3, "not UTF-8 text (offset 9)"),
    ],
)
def test_a_broken_file_is_told_with_its_place(tmp_path: Path, data: bytes, said: str) -> None:
    """If a file cannot be used, then the message says why and where."""
    path = saved(tmp_path, data)
    with pytest.raises(TraceError) as caught:
        evidence_from(path, PROFILE)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def entry(text: str | None, **content: str) -> dict[str, Any]:
    body: dict[str, Any] = {"mimeType": "text/event-stream", **content}
    if text is not None:
        body["text"] = text
    return {
        "request": {
            "method": "GET",
            "url": "https://u:pw@x.example/s?access_token=SEKRET&job=7",
            "headers": [
                {"name": "X-Api-Key", "value": "SEKRET"},
                {"name": "Cookie", "value": "s=SEKRET"},
                {"name": "Last-Event-ID", "value": "3"},
            ],
        },
        "response": {
            "status": 200,
            "httpVersion": "h2",
            "headers": [
                {"name": "content-type", "value": "text/event-stream"},
                {"name": "content-encoding", "value": "gzip"},
                {"name": "set-cookie", "value": "SEKRET"},
            ],
            "content": body,
        },
    }


def har(tmp_path: Path, *entries: dict[str, Any]) -> Path:
    text = json.dumps({"log": {"version": "1.2", "entries": entries}})
    return saved(tmp_path, text.encode(), "x.har")


def test_a_har_file_gives_its_event_streams(tmp_path: Path) -> None:
    """If a .har file holds streams, then each is there, as text or from base64, no secret in it."""
    other = entry("<p>")
    other["response"]["headers"] = [{"name": "Content-Type", "value": "text/html"}]
    coded = base64.b64encode(EVENT).decode()
    path = har(tmp_path, other, entry(EVENT.decode()), entry(coded, encoding="base64"), entry(None))
    first, second = evidence_from(path, PROFILE).bundles["probe"].recordings
    assert (first.body, second.body) == (EVENT, EVENT)
    assert (first.info["decoded"], second.info["decoded"]) == (True, False)
    assert first.http_version == "HTTP/2"
    assert first.header("content-encoding") is None
    assert first.request.url == "https://x.example/s?access_token=[redacted]&job=7"
    assert first.info["after"] == "3"
    assert "SEKRET" not in repr((first.request, first.headers))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (entry(None), "the body of none"),
        (entry("*", encoding="base64"), "log.entries[0].response.content.text: not base64"),
    ],
)
def test_a_har_file_without_bodies_is_refused(
    tmp_path: Path, content: dict[str, Any], said: str
) -> None:
    """If the browser saved no body, then it is said what to do."""
    with pytest.raises(TraceError) as caught:
        evidence_from(har(tmp_path, content), PROFILE)
    assert said in str(caught.value)
