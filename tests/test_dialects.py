"""The other systems' profiles against the reference server's dialects, and against strangers.

Each bundled profile has to give a solid verdict on a server of its shape; on servers that share
nothing with ours it must blame nobody for what such a system never promised, and still see faults.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.suite_process import Outcome, SuiteProcess, in_background, listening

SCALED = {"quiz": 'extends = "quiz"\n[declared]\nheartbeat_s = 2.0\n'}
"""The server's heartbeats are quicker here than a deployment's: declared alike."""
PASSES_MIN = {"resume-agent": 34, "quiz": 20, "article-summarizer": 34, "sse": 20}
TOO_SMALL = {"RT-07", "ISO-01", "BP-01", "BP-03", "BP-04", "BP-05", "PROXY-06"}
"""What these jobs cannot show: they have few events, small ones, and no text of the request's."""
AT_ONCE = 3
"""Most of a run is waiting; but more of them would keep each other from a core."""
TOO_BUSY = {"RT-02"}
"""Several runs at once may leave too little of this machine to time events."""


def _post(url: str, body: object) -> dict[str, str]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, str] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    """All four profiles at once: each run mostly waits for the server's simulated work."""
    folder = tmp_path_factory.mktemp("dialects")
    env = {"SQLITE_PATH": str(folder / "x.db"), "DIALECTS": "all", "HEARTBEAT_SECONDS": "1"}
    with listening("reference_server", env=env) as (url, _):
        runs = {}
        for name in ("resume-agent", "quiz", "article-summarizer"):
            profile = name
            if name in SCALED:
                profile = str(folder / f"{name}.toml")
                Path(profile).write_text(SCALED[name], "utf-8")
            runs[name] = SuiteProcess(url, folder / name, profile=profile)
        job = _post(f"{url}/process-article-stream", {})["job_id"]
        runs["sse"] = SuiteProcess(f"{url}/status/{job}", folder / "sse", profile="sse")
        try:
            yield {name: run.finish() for name, run in runs.items()}
        finally:
            for run in runs.values():
                run.kill()


@pytest.mark.parametrize("name", PASSES_MIN)
def test_a_dialect_keeps_its_profile(judged: dict[str, Outcome], name: str) -> None:
    """If a server has the profile's shape, then nothing fails, and a good part of it is proven."""
    outcome = judged[name]
    assert outcome.ids("fail", "error", "warn") == [], outcome.output
    assert len(outcome.ids("pass")) >= PASSES_MIN[name]
    if name != "sse":  # what a stream of somebody else's job shows depends on when it is opened
        assert set(outcome.ids("could_not_test")) <= TOO_SMALL | TOO_BUSY
        assert outcome.results["verdict"] in ("conformant", "incomplete")


@pytest.mark.parametrize("name", PASSES_MIN)
def test_what_does_not_apply_says_which_line_says_so(judged: dict[str, Outcome], name: str) -> None:
    """If a check does not apply, then the reason is the profile's line, or what was looked for."""
    for check in judged[name].results["checks"]:
        if check["verdict"] == "not_applicable":
            told = check["message"]
            by_line = "the profile " in told and ".toml:" in told
            assert by_line or "the target" in told, f"{check['id']}: {told}"


@pytest.mark.parametrize(
    ("target", "profile", "broken"),
    [
        ("article", "article-summarizer", []),
        ("article-buffered", "article-summarizer", ["RT-02"]),
        ("article-untimed-buffered", "article-summarizer", ["RT-02"]),
        ("quiz", "quiz", []),
        ("quiz-renamed", "quiz", []),
        ("quiz-twice", "quiz", ["LIFE-01"]),
        ("quiz-cut", "quiz", ["LIFE-05"]),
        ("sessions", "resume-agent", []),
        ("feed", "sse", []),
        ("feed-forgetful", "sse", ["REPLAY-04"]),
        ("feed-again", "sse", ["REPLAY-04"]),
    ],
)
def test_strangers_are_judged_by_what_they_promise(
    strangers: dict[str, Outcome], target: str, profile: str, broken: list[str]
) -> None:
    """If a server of the shape is not ours, then its faults show, and nothing else does."""
    outcome = strangers[target]
    assert outcome.results["profile"] == profile
    assert outcome.ids("fail", "error") == broken, outcome.output
    assert len(outcome.ids("pass")) >= 12


@pytest.fixture(scope="module")
def strangers(
    tmp_path_factory: pytest.TempPathFactory, judged: dict[str, Outcome]
) -> Iterator[dict[str, Outcome]]:
    """A run on each foreign target, a few at a time: `judged` is over by then."""
    folder = tmp_path_factory.mktemp("strangers")
    kinds = {"article": "article-summarizer", "quiz": "quiz", "sessions": "resume-agent"}
    kinds["feed"] = "sse"
    with ExitStack() as stack:
        calls = {}
        for name in (
            *("article", "article-buffered", "article-untimed-buffered"),
            *("quiz", "quiz-renamed", "quiz-twice", "quiz-cut", "sessions"),
            *("feed", "feed-forgetful", "feed-again"),
        ):
            url, _ = stack.enter_context(listening("tests.foreign_targets", name))
            profile = kinds[name.partition("-")[0]]
            calls[name] = partial(_judge, url, folder / name, profile)
        runs = stack.enter_context(in_background(calls, AT_ONCE))
        yield {name: run.result() for name, run in runs.items()}


def _judge(url: str, folder: Path, profile: str) -> Outcome:
    run = SuiteProcess(url, folder, profile=profile)
    try:
        return run.finish()
    finally:
        run.kill()


def test_a_read_only_run_sends_nothing_but_reads(tmp_path: Path) -> None:
    """If a run is read-only, then not one request arrives that could start or change something."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                asked.append((self.command, self.path))
                self._answer()

        def _answer(self) -> None:
            stream = self.path.startswith("/api/jobs/7/stream")
            self.send_response(200 if stream else 404)
            kind = "text/event-stream" if stream else "application/json"
            self.send_header("Content-Type", kind)
            self.end_headers()
            if stream and self.command == "GET":
                for number, name in enumerate(("job_status", "done"), start=1):
                    body = json.dumps({"id": number, "type": name, "data": {}})
                    self.wfile.write(f"id: {number}\nevent: {name}\ndata: {body}\n\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        outcome = SuiteProcess(url, tmp_path, "--read-only", "--job", "7").finish()
    finally:
        server.shutdown()
        server.server_close()
    assert {method for method, _ in asked} <= {"GET", "HEAD", "OPTIONS"}
    assert any(path.startswith("/api/jobs/7/snapshot") for _, path in asked)
    assert "WIRE-01" in outcome.ids("pass")
    quota = next(c for c in outcome.results["checks"] if c["id"] == "QUOTA-01")
    assert quota["verdict"] == "not_run"
    assert "--read-only" in quota["message"]
