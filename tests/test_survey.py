"""`streamgauge probe`: what it writes loads, says how it knows, and fits what is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.profile_file import load_profile
from streamgauge.recording import End, Read, Recording, Request
from streamgauge.survey.look import Survey
from streamgauge.survey.stream import look_at
from streamgauge.survey.write import profile_text
from tests.suite_process import ROOT, listening
from tests.test_cli import command

BOUND_S = 60.0


def stream(*pieces: tuple[float, str], end: End = End.COMPLETE) -> Recording:
    reads = tuple(Read(at, text.encode()) for at, text in pieces)
    return Recording(
        "s",
        Request("GET", "http://t/s"),
        0.0,
        status=200,
        headers=(("Content-Type", "text/event-stream"),),
        head_at=0.1,
        reads=reads,
        end=end,
        ended_at=reads[-1].at + 0.1,
    )


def test_names_ids_and_the_end_are_told() -> None:
    """If events have ids and names, then their order, the opening and the last one are seen."""
    seen = look_at(
        stream(
            (0.2, "retry: 3000\nevent: connected\ndata: {}\n\n"),
            (1.0, 'id: 5\nevent: a\ndata: {"ts":"2026-01-01T00:00:00Z"}\n\n'),
            (2.0, 'id: 7\nevent: b\ndata: {"ts":"2026-01-01T00:00:01Z"}\n\n'),
            (3.0, 'id: 8\nevent: over\ndata: {"ts":"2026-01-01T00:00:02Z"}\n\n'),
        )
    )
    assert (seen.opening, seen.order, seen.first_id) == ("connected", "increasing", 5)
    assert (seen.last, seen.ended, seen.retry_ms) == ("over", True, 3000)
    assert seen.stamps == ("ts",) and not seen.envelope and not seen.padded


def test_what_stands_inside_the_json_is_found() -> None:
    """If there are `data:` lines alone, then the member that holds the type is told."""
    seen = look_at(
        stream(
            (0.2, 'data: {"type":"connection"}\n\n'),
            (1.0, 'data: {"type":"question","seq":1}\n\n'),
            (9.0, 'data: {"type":"heartbeat"}\n\n'),
            (9.5, 'data: {"type":"question","seq":2}\n\n'),
            (9.9, 'data: {"type":"question","seq":3}\n\n'),
            (10.0, 'data: {"type":"finis","seq":4}\n\n'),
        )
    )
    assert (seen.type_member, seen.id_member) == ("type", "seq")
    assert (seen.opening, seen.heartbeat, seen.heartbeat_s) == ("connection", "heartbeat", 8.0)
    assert seen.last == "finis"


def test_hostile_names_cannot_leave_their_line(tmp_path: Path) -> None:
    """If a target's names hold quotes and line ends, then the profile still says what was seen."""
    name = 'x"] \\ é # 🚀'
    seen = look_at(stream((1.0, f"id: 1\nevent: {name}\ndata: {{}}\n\nid: 2\ndata: {{}}\n\n")))
    seen.last, seen.ended = name, True
    path = tmp_path / "p.toml"
    path.write_text(profile_text(Survey("http://h", stream=seen, notes=["a\nb = 1"])))
    assert load_profile(str(path)).events.terminal == (name,)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("probed")
    env = {
        "SQLITE_PATH": str(folder / "x.db"),
        "DIALECTS": "all",
        "HEARTBEAT_SECONDS": "1",
        "PIPELINE_TIME_SCALE": "0.2",
    }
    with listening("reference_server", env=env) as (url, _):
        yield url


def test_a_deployment_is_recognised_without_starting_anything(server: str) -> None:
    """If nothing may be started, then the addresses alone tell which API this is."""
    ended = command("probe", server)
    assert ended.returncode == 0, ended.stderr
    assert 'extends = "resume-optimizer"  # seen:' in ended.stdout
    assert "nothing was started" in ended.stdout


def test_each_dialect_is_written_down_as_it_is(server: str, tmp_path: Path) -> None:
    """If one job may be started, then the profile that is written has what its stream showed."""
    names = ("resume-optimizer", "resume-agent", "quiz", "article-summarizer")
    probes = {
        name: subprocess.Popen(
            [
                *(sys.executable, "-m", "streamgauge", "probe", server, "--start"),
                *("--profile", name, "--watch", "25", "-o", str(tmp_path / f"{name}.toml")),
            ],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        for name in names
    }
    for name, probe in probes.items():
        _, said = probe.communicate(timeout=BOUND_S)
        assert probe.returncode == 0, f"{name}: {said.decode()}"
    found = {name: load_profile(str(tmp_path / f"{name}.toml")) for name in names}
    optimizer = found["resume-optimizer"]
    assert (optimizer.ids.order, optimizer.declared.quota_runs) == ("contiguous", 5)
    assert optimizer.declared.terminal_resume_status == 204
    assert optimizer.capabilities.snapshot is True and optimizer.events.opening == "connection"
    quiz = found["quiz"]
    assert quiz.events.type_member == "type" and quiz.capabilities.resume is False
    assert quiz.declared.heartbeat_s == pytest.approx(2.0, abs=0.5)
    assert found["resume-agent"].events.opening == "connected"
    assert found["article-summarizer"].capabilities.resume is True
    assert found["article-summarizer"].events.terminal == ("complete",)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://127.0.0.1:9",), "no answer"),
        (("nonsense",), "URL: expected http://"),
        (("http://127.0.0.1:9", "--watch", "0"), "--watch: expected 1 to 300 seconds"),
        (("http://127.0.0.1:9", "-o", "x.json"), "-o: expected a file name that ends in .toml"),
        (("http://127.0.0.1:9", "--profile", "nobody"), "no profile is called 'nobody'"),
    ],
)
def test_mistakes_get_one_clear_line(arguments: tuple[str, ...], said: str) -> None:
    """If a probe cannot be made, then one line says why, and the exit code is 2."""
    ended = command("probe", *arguments)
    assert ended.returncode == 2
    assert said in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["ok-to-everything", "echo", "html", "empty-stream", "not-http"])
def test_a_target_that_is_none_is_said_to_be_none(name: str) -> None:
    """If nothing known answers, then the probe ends in time and claims nothing it has not seen."""
    with listening("tests.null_targets", name) as (url, _):
        ended = command("probe", url, "--watch", "3")
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (0, 2)
    assert "seen: GET" not in ended.stdout
