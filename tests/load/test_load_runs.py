"""Whole runs of Locust, as users call it: verdict, exit code and report, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from locust_process import Outcome, broken_server, headless, locust
from server_process import ServerProcess, running_server

from load.tally import WORDS


def test_a_good_server_passes_and_every_kind_is_judged(
    target: ServerProcess, tmp_path: Path
) -> None:
    outcome = headless(tmp_path, target.url, 30, 7)
    assert outcome.code == 0, outcome.said
    told = outcome.results
    assert list(told) == [
        "schema", "verdict", "reasons", "streams", "thresholds", "ledger", "percentiles",
    ]  # fmt: skip
    assert (told["schema"], told["verdict"]) == (1, "pass")
    assert list(told["ledger"]) == list(WORDS)
    assert [t["name"] for t in told["thresholds"]] == ["anomalies", "event_age.p95"]
    assert all(t["met"] for t in told["thresholds"])
    age = told["percentiles"]["event_age"]
    assert 0 < age["p50"] <= age["p95"] <= age["p99"] <= age["max"] < 5
    with locust(tmp_path, "--version") as process:
        records = process.records()
    assert len(records) == told["streams"]
    judged = [record for record in records if record["word"] == "ok"]
    assert len(judged) == told["ledger"]["ok"]
    for member, kinds in {
        "pace": {"paced", "burst"},
        "outcome": {"completed", "failed", "cancelled"},
        "joined": {"before", "during", "after"},
    }.items():
        counted = Counter(record[member] for record in judged)
        assert set(counted) == kinds
        assert min(counted.values()) >= 3, counted
    roles = {record["role"] for record in judged}
    assert {"starter", "late joiner", "flaky reader", "kept log", "quota abuser"} <= roles
    assert any(record["connections"] > 1 for record in judged)
    assert "SSE      event age" in outcome.said


BROKEN = {
    "life-done-twice": "duplicate",
    "replay-new-timestamps": "diverged",
    "late-live-only": "lost",
    "poll-edge-skipped": "lost",
}


def test_broken_servers_fail_with_their_counter_examples(tmp_path: Path) -> None:
    def run(name: str) -> Outcome:
        folder = tmp_path / name
        folder.mkdir()
        with broken_server(name, folder) as url:
            return headless(folder, url, 24, 5)

    with ThreadPoolExecutor() as together:
        outcomes = dict(zip(BROKEN, together.map(run, BROKEN), strict=True))
    for name, word in BROKEN.items():
        outcome = outcomes[name]
        assert outcome.code == 1, outcome.said
        assert outcome.results["verdict"] == "fail"
        assert outcome.results["ledger"][word] > 0, outcome.reasons
        assert re.search(r"'\d+'.*\(job [0-9a-f-]{36}\)", outcome.reasons)


def test_a_threshold_that_is_missed_fails(target: ServerProcess, tmp_path: Path) -> None:
    outcome = headless(
        tmp_path, target.url, 6, 3, "--threshold", "event_age.p50<0.000002",
        "--threshold", "connect.p99<9",
    )  # fmt: skip
    assert outcome.code == 1, outcome.said
    assert [t["met"] for t in outcome.results["thresholds"]] == [True, False, True]


def test_a_run_that_judged_nothing_is_inconclusive(target: ServerProcess, tmp_path: Path) -> None:
    outcome = headless(tmp_path, target.url, 1, 1, "Herd")
    assert outcome.code == 3, outcome.said
    assert outcome.results["ledger"]["stopped"] == 1


def refusing_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "more", "said"),
    [
        ("http://127.0.0.1:{port}", (), "no connection to 127.0.0.1"),
        ("http://no-such-host.invalid", (), "the host no-such-host.invalid is not known"),
        ("127.0.0.1:8000", (), "expected an address that begins with http://"),
        ("{target}/elsewhere", (), "answered with status 404; is this the service"),
        ("{target}", ("--profile", "no-such"), "no profile is called 'no-such'"),
        ("{target}", ("--threshold", "age<1"), "expected PHASE.PERCENTILE<SECONDS"),
    ],
    ids=["refused", "unknown", "no-url", "other-service", "profile", "threshold"],
)
def test_what_cannot_be_run_exits_2_with_one_line_and_a_report(
    host: str, more: tuple[str, ...], said: str, target: ServerProcess, tmp_path: Path
) -> None:
    url = host.format(port=refusing_port(), target=target.url)
    outcome = headless(tmp_path, url, 3, 3, *more)
    assert outcome.code == 2, outcome.said
    assert outcome.results["verdict"] == "inconclusive"
    assert said in outcome.reasons
    assert said in outcome.said
    assert "Traceback" not in outcome.said


def test_a_target_that_dies_mid_run_ends_the_run(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, SCRIPTED_PIPELINES="1", LOG_LEVEL="error") as server,
        locust(tmp_path, "--headless", "--host", server.url, "-u", "8", "-r", "8") as process,
    ):
        process.wait_until(lambda: len(process.records()) > 5, "some streams are judged")
        server.kill()
        outcome = process.outcome()
    assert outcome.code == 2, outcome.said
    assert outcome.results["verdict"] == "inconclusive"
    assert "the target went away" in outcome.reasons
    assert outcome.results["ledger"]["stopped"] > 0


@pytest.mark.parametrize("signal_sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
def test_an_interrupted_run_gives_its_verdict(
    signal_sent: signal.Signals, target: ServerProcess, tmp_path: Path
) -> None:
    with locust(tmp_path, "--headless", "--host", target.url, "-u", "8", "-r", "8") as process:
        process.wait_until(lambda: len(process.records()) > 5, "some streams are judged")
        process.process.send_signal(signal_sent)
        outcome = process.outcome()
    assert outcome.code == 0, outcome.said
    assert outcome.results["verdict"] == "pass"
    assert outcome.results["ledger"]["ok"] > 5


def test_several_processes_count_as_one(target: ServerProcess, tmp_path: Path) -> None:
    outcome = headless(tmp_path, target.url, 12, 5, "--processes", "2", *free_bus())
    assert outcome.code == 0, outcome.said
    with locust(tmp_path, "--version") as process:
        records = process.records()
    assert outcome.results["streams"] == len(records)
    assert sum(r["events"] for r in records if r["role"] not in ("kept log", "poller")) <= int(
        re.search(r"(\d+) events", outcome.said)[1]
    )


def free_bus() -> tuple[str, ...]:
    """A port for master and workers of their own: other runs may be on this machine."""
    port = str(refusing_port())
    return "--master-bind-port", port, "--master-port", port


def test_a_worker_that_dies_is_told_of(target: ServerProcess, tmp_path: Path) -> None:
    with locust(
        tmp_path, "--headless", "--host", target.url, "-u", "8", "-r", "8", "-t", "7s",
        "--processes", "2", *free_bus(),
    ) as process:  # fmt: skip
        process.wait_until(lambda: len(process.records()) > 5, "some streams are judged")
        workers = psutil.Process(process.process.pid).children()
        assert len(workers) == 2
        os.kill(workers[0].pid, signal.SIGKILL)
        outcome = process.outcome()
    assert outcome.code == 2, outcome.said
    assert "died" in outcome.reasons
    assert outcome.results["ledger"]["ok"] > 5


def test_other_shapes_of_api_can_be_loaded(tmp_path: Path) -> None:
    profiles = ("quiz", "resume-agent", "article-summarizer")

    def run(profile: str) -> Outcome:
        folder = tmp_path / profile
        folder.mkdir()
        return headless(folder, server.url, 5, 5, "--profile", profile)

    with (
        running_server(
            tmp_path, DIALECTS="all", PIPELINE_TIME_SCALE="0.1", HEARTBEAT_SECONDS="0.3",
            LOG_LEVEL="error",
        ) as server,
        ThreadPoolExecutor() as together,
    ):  # fmt: skip
        outcomes = list(together.map(run, profiles))
    for outcome in outcomes:
        assert outcome.results["ledger"]["ok"] > 0, outcome.said
        assert outcome.code == 0, outcome.said


def test_a_server_that_never_answers_does_not_hang_the_run(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        held: list[socket.socket] = []
        accepting = threading.Thread(target=lambda: held.append(silent.accept()[0]), daemon=True)
        accepting.start()
        outcome = headless(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}", 2, 3)
        accepting.join(5)
        for each in held:
            each.close()
    assert outcome.code == 2, outcome.said
    assert "no answer" in outcome.reasons


def test_the_tab_in_locusts_page_shows_streams(target: ServerProcess, tmp_path: Path) -> None:
    port = refusing_port()
    with locust(
        tmp_path, "--host", target.url, "-u", "6", "-r", "6", "-t", "4s", "--autostart",
        "--autoquit", "0", "--web-host", "127.0.0.1", "--web-port", str(port),
    ) as process:  # fmt: skip
        base = f"http://127.0.0.1:{port}"
        process.wait_until(lambda: len(process.records()) > 5, "some streams are judged")
        with httpx.Client(base_url=base, timeout=10) as http:
            index = http.get("/").text
            assert '"key": "streams"' in index
            assert http.get("/streamgauge/tab.js").status_code == 200
            assert "/streamgauge/tab.js" in index
            process.wait_until(
                lambda: "open streams" in http.get("/streamgauge/body").text, "curves are drawn"
            )
            assert "Running" in http.get("/streamgauge/").text
        outcome = process.outcome()
    assert outcome.code == 0, outcome.said
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "Every stream was whole" in page
    assert not re.search(r"<script|https?://(?!127\.0\.0\.1|www\.w3\.org)", page)
    assert "Load test: pass" in (tmp_path / "summary.md").read_text("utf-8")
