"""The report says what the run found, to every reader, whatever the target put into its answers.

Runs are made by hand: none, a few and many failures, and targets that try to break the report.
"""

from __future__ import annotations

import fcntl
import json
import re
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from streamgauge.catalogue import Level, Requirement
from streamgauge.explain import Cause, Explanation, Family, PlatformHint, Sureness
from streamgauge.recording import End, Read, Recording, Request
from streamgauge.report import files, terminal_summary, write_report
from streamgauge.report.data import evidence, singular
from streamgauge.report.drawing import Mark, Scale, draw
from streamgauge.report.frames import LINES_MAX, SHOWN_BYTES_MAX, Excerpt, excerpt
from streamgauge.report.timeline import EVENTS_MAX, timeline
from streamgauge.results import (
    CheckResult,
    Evidence,
    Exhibit,
    RunResult,
    RunVerdict,
    Verdict,
    judge_run,
)

OWN_FILES = {"index.html", "summary.md", "junit.xml", "results.json"}
STARTED = "2026-01-31T12:00:00.000000Z"
HOSTILE = "<script>alert(1)</script>\x1b[31m\x00\x07‮`|</td>]]>&\ud800 ${{ x }} {{ 7*7 }}"


def requirement(number: int, level: Level = Level.MUST, text: str = "") -> Requirement:
    section = ("WIRE", "RT", "PAD")[number % 3]
    return Requirement(
        id=f"{section}-{number:02}",
        section=section,
        section_title=f"Family {section}",
        level=level,
        needs="U",
        long=False,
        title=f"rule number {number}{text}",
        rule=f"the target keeps rule {number}{text}",
        source="HTML .5",
        cure=f"repair `part {number}`{text}",
        mutant="a broken one",
    )


def frame(number: int, emitted: float, text: str = "x") -> bytes:
    data = {"id": number, "timestamp": f"2026-01-31T12:00:{emitted:09.6f}Z", "data": text}
    fields = f"id: {number}\nevent: step_progress\ndata: {json.dumps(data)}\n\n".encode()
    return fields + b":" + b" " * (4096 - len(fields) - 2) + b"\n"


def stream(reads: tuple[Read, ...], sent_at: float = 1.0) -> Recording:
    return Recording(
        label="reader-1",
        request=Request("GET", "https://target.example/stream"),
        sent_at=sent_at,
        status=200,
        http_version="HTTP/1.1",
        headers=(("Content-Type", "text/event-stream"),),
        reads=reads,
        end=End.COMPLETE,
        ended_at=reads[-1].at + 0.1 if reads else sent_at + 5,
    )


def live(count: int = 6, held: int = 4, lag_s: float = 3.0) -> Recording:
    """Events half a second apart, one of them held back, and those behind it with it."""
    moments = [1.5 + 0.5 * n for n in range(1, count + 1)]
    release = moments[held - 1] + lag_s
    reads = tuple(
        Read(max(at + 0.02, release) if n >= held else at + 0.02, frame(n, at))
        for n, at in enumerate(moments, 1)
    )
    return stream(reads)


def check(
    number: int,
    verdict: Verdict,
    message: str = "event 4 came 3.00 s late",
    exhibits: tuple[Exhibit, ...] = (),
    text: str = "",
) -> CheckResult:
    level = Level.SHOULD if verdict is Verdict.WARN else Level.MUST
    return CheckResult(
        requirement=requirement(number, level, text),
        verdict=verdict,
        message=message,
        evidence=Evidence(12, "events compared"),
        reproduce=f"curl -N https://target.example/stream/{number}",
        exhibits=exhibits,
        duration_s=0.25,
    )


def run_with(failures: int, text: str = "", exhibits: tuple[Exhibit, ...] = ()) -> RunResult:
    """So many failures, and one check of every other verdict."""
    message = f"event 4 came 3.00 s late{text}"
    shown = exhibits or (Exhibit(live(), "event 4 waits", (12288, 12400)),)
    checks = [check(n, Verdict.FAIL, message, shown, text) for n in range(1, failures + 1)]
    others = [verdict for verdict in Verdict if verdict not in (Verdict.FAIL, Verdict.ERROR)]
    checks += [check(70 + n, verdict, message, text=text) for n, verdict in enumerate(others)]
    verdict, reason = judge_run(checks)
    return RunResult(
        target=f"https://target.example{text}",
        profile="default",
        started=STARTED,
        duration_s=31.25,
        verdict=verdict,
        reason=reason + text,
        checks=tuple(checks),
        notes=(f"HTTP/2 is absent{text}",),
        environment={"python": f"3.11{text}"},
        trace="traces/run.jsonl",
    )


def explained_run(failures: int, explained: int, text: str = "") -> RunResult:
    """A run of which so many failures have one cause."""
    run = run_with(failures)
    hint = PlatformHint(
        f"nginx{text}", "Server: nginx", f"Set `x off`{text}", "2026-08", "told", "z"
    )
    found = Explanation(
        family=Family.BUFFERING,
        kind="until_end",
        what=f"events are held back until the stream ends{text}",
        measured=f"40 events on 5 streams were held{text}",
        advice=f"Turn `buffering` off{text}",
        sureness=Sureness.SURE,
        observations=5,
        bytes_low=9000,
        platforms=(hint,),
    )
    ids = [c.requirement.id for c in run.checks if c.verdict is Verdict.FAIL][:explained]
    checks = tuple(
        replace(c, explanation=found if c.requirement.id in ids else None) for c in run.checks
    )
    return replace(run, checks=checks, causes=(Cause(found, tuple(ids)),))


def hostile_run() -> RunResult:
    body = b"data: \xff\xfe" + HOSTILE.encode("utf-8", "replace") + b"\n\n"
    small = stream((Read(1.2, body),))
    large = stream((Read(1.2, b"data: " + b"<img src=http://evil.example/x>" * 34_000 + b"\n\n"),))
    control = stream((Read(1.2, bytes(range(256)) * 4096),))
    exhibits = tuple(Exhibit(r, HOSTILE, (3, 9)) for r in (small, large, control))
    return run_with(3, HOSTILE, exhibits)


class Elements(HTMLParser):
    """Collects the elements of a page, and the text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("style", "script"):
            self.text += data


def shown(lines: Excerpt) -> str:
    return "\n".join("".join(piece.text for piece in line.pieces) for line in lines.lines)


def written(run: RunResult, folder: Path) -> dict[str, str]:
    write_report(run, folder)
    return {name: (folder / name).read_text("utf-8") for name in OWN_FILES}


@pytest.mark.parametrize("failures", [0, 3, 60])
def test_every_file_tells_the_same_counts(failures: int, tmp_path: Path) -> None:
    """If a run has n failures, then each output names exactly these n."""
    run = run_with(failures)
    texts = written(run, tmp_path)
    ids = {c.requirement.id for c in run.checks if c.verdict is Verdict.FAIL}
    record = json.loads(texts["results.json"])
    assert {c["id"] for c in record["checks"] if c["verdict"] == "fail"} == ids
    assert len(ET.fromstring(texts["junit.xml"]).findall(".//failure")) == failures
    articles = {a["id"] for tag, a in Elements(texts["index.html"]).found if tag == "article"}
    warned = {c.requirement.id for c in run.checks if c.verdict is Verdict.WARN}
    assert articles == ids | warned
    assert all(f"### {name} ·" in texts["summary.md"] for name in ids)


def test_results_json_is_the_public_format(tmp_path: Path) -> None:
    """`results.json` has the members of schema 1, one entry per check, in the run's order."""
    run = run_with(3)
    record = json.loads(written(run, tmp_path)["results.json"])
    assert set(record) == {
        "schema", "target", "profile", "started", "duration_s", "verdict", "checks",
        "reason", "notes", "known_failures", "witnesses", "causes",
    }  # fmt: skip
    assert record["schema"] == 1
    assert record["verdict"] == "nonconformant"
    assert [c["id"] for c in record["checks"]] == [c.requirement.id for c in run.checks]
    for entry in record["checks"]:
        assert set(entry) == {
            "id", "level", "section", "title", "verdict", "evidence", "message", "reproduce",
            "duration_s", "known_failure", "explanation",
        }  # fmt: skip
        assert set(entry["evidence"]) == {"count", "what"}
        assert isinstance(entry["evidence"]["count"], int)
        assert entry["level"] in {"MUST", "SHOULD", "INFO"}
        assert entry["verdict"] in {verdict.value for verdict in Verdict}


def test_junit_separates_failures_errors_and_skips(tmp_path: Path) -> None:
    """A warning is a passed case with output; what was not judged is skipped, with the reason."""
    root = ET.fromstring(written(run_with(3), tmp_path)["junit.xml"])
    assert {suite.get("name") for suite in root} == {
        "WIRE Family WIRE", "RT Family RT", "PAD Family PAD"
    }  # fmt: skip
    assert (root.get("failures"), root.get("errors"), root.get("skipped")) == ("3", "0", "3")
    assert len(root.findall(".//skipped")) == 3
    (output,) = root.findall(".//system-out")
    assert (output.text or "").startswith("warning: event 4 came")
    case = root.find(".//testcase[@name='RT-01 rule number 1']")
    assert case is not None
    assert case.get("classname") == "conformance.RT"
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "event 4 came 3.00 s late"


def test_page_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    """Verdict and reason lead; a failure has message, cure, command, bytes and a picture."""
    page = written(run_with(3), tmp_path)["index.html"]
    text = Elements(page).text
    order = ("Not conformant", "3 checks failed", "3 failures", "What to change", "All 8 checks")
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    for words in ("Repair part 1", "stream/1", "4,096", "HTML .5", "3,9", "spaces", "3.00 s"):
        assert words in text or words in page
    assert page.count('class="timeline"') == 3
    assert "largest lag 3.0" in text


def test_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    """No element of the page loads anything, and its policy forbids it to."""
    page = written(hostile_run(), tmp_path)["index.html"]
    for tag, attributes in Elements(page).found:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form", "image"}
        assert "src" not in attributes and "srcset" not in attributes
        for name in ("href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith("#") or target == "traces/run.jsonl"
    style = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
    assert "url(" not in style and "@import" not in style
    assert "default-src &#39;none&#39;" in page


def test_hostile_text_stays_text_everywhere(tmp_path: Path) -> None:
    """Markup, controls, templates and half characters of a target are shown, never obeyed."""
    run = hostile_run()
    texts = written(run, tmp_path)
    allowed = {"\n"}
    for name, text in texts.items():
        controls = {c for c in text if not c.isprintable()} - allowed
        # JSON carries text whole, as escapes; U+202E is a character there like any other.
        assert controls <= ({"‮"} if name == "results.json" else set()), name
    elements = Elements(texts["index.html"])
    assert [tag for tag, _ in elements.found].count("script") == 1
    assert "{{ 7*7 }}" in elements.text
    assert "<script" not in texts["summary.md"].replace("\\<script", "")
    assert "alert(1)" in "".join(ET.fromstring(texts["junit.xml"]).itertext())
    assert json.loads(texts["results.json"])["checks"][0]["message"].endswith("{{ 7*7 }}")
    assert len(texts["index.html"]) < 1_000_000
    screen = "\n".join(terminal_summary(run, 100, False))
    assert "\x1b" not in screen and "\x00" not in screen


def test_markdown_keeps_code_and_nothing_else(tmp_path: Path) -> None:
    """Between paired backticks text is code; elsewhere, and with an odd one, all is plain text."""
    run = run_with(1, " `a_b` <b>*c*</b>")
    summary = written(run, tmp_path)["summary.md"]
    assert "`a_b` \\<b\\>\\*c\\*\\</b\\>" in summary
    odd = written(run_with(1, " `<img src=x>"), tmp_path)["summary.md"]
    assert "\\`\\<img src=x\\>" in odd


@pytest.mark.parametrize("verdict", list(RunVerdict))
def test_a_run_without_checks_has_a_whole_report(verdict: RunVerdict, tmp_path: Path) -> None:
    """If the target was unreachable, then the report still says so in every file."""
    run = RunResult("https://x", "default", STARTED, 0.1, verdict, "connection refused", ())
    texts = written(run, tmp_path)
    assert json.loads(texts["results.json"])["checks"] == []
    assert list(ET.fromstring(texts["junit.xml"])) == []
    assert "Connection refused." in Elements(texts["index.html"]).text
    assert "Connection refused." in texts["summary.md"]
    assert "connection refused" in terminal_summary(run, 80, False)[0]


def test_foreign_files_are_not_touched(tmp_path: Path) -> None:
    """Only our own names and our own left-over temporary files are replaced or removed."""
    foreign = {"notes.txt": b"mine", "old.html": b"<p>", ".gitignore": b"*", "x.tmp": b"?"}
    for name, content in foreign.items():
        (tmp_path / name).write_bytes(content)
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_bytes(b"not yours")
    (tmp_path / "index.html").symlink_to(outside)
    (tmp_path / ".streamgauge-index.html-00.tmp").write_bytes(b"left by a killed run")
    write_report(run_with(0), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in foreign} == foreign
    assert outside.read_bytes() == b"not yours"
    assert {path.name for path in tmp_path.iterdir()} == OWN_FILES | set(foreign) | {".lock"}


def test_two_writers_leave_one_consistent_set(tmp_path: Path) -> None:
    """If runs finish at once, then all files that stay are of the same run."""
    folder = tmp_path / "deep" / "report"
    runs = [run_with(0, f" run-{n}") for n in range(8)]
    start = threading.Barrier(len(runs))

    def write(run: RunResult) -> None:
        start.wait(timeout=20)
        write_report(run, folder)

    threads = [threading.Thread(target=write, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert {path.name for path in folder.iterdir()} == OWN_FILES | {".lock"}
    winners = {
        frozenset(re.findall(r"run\\?-(\d)", (folder / name).read_text("utf-8")))
        for name in OWN_FILES
    }
    assert len(winners) == 1 and all(len(winner) == 1 for winner in winners)


def test_a_stuck_writer_is_named_not_awaited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the lock is not given up in time, then writing fails and says which file is held."""
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.05)
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match=r"\.lock"):
            write_report(run_with(0), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_a_failed_write_leaves_the_previous_report(tmp_path: Path) -> None:
    """If a file cannot be written, then no file is replaced and nothing temporary stays."""
    before = written(run_with(0, " first"), tmp_path)
    (tmp_path / "blocked").mkdir()
    contents = {"results.json": b"new", "blocked/../missing/index.html": b"new"}
    with pytest.raises(OSError, match="missing"):
        files._replace(tmp_path, contents)
    assert {name: (tmp_path / name).read_text("utf-8") for name in OWN_FILES} == before
    assert not list(tmp_path.glob("*.tmp")) and not list(tmp_path.glob(".streamgauge-*"))


def test_frames_fold_padding_and_show_what_cannot_be_seen() -> None:
    """Runs become their length, unprintable bytes escapes; offsets and arrivals stay true."""
    body = b"id: 1\r\ndata: a\tb\x00\xff\xe2\x80\xae" + b" " * 3804 + b"z\n\n"
    body += b":\n" * 31 + b"id: 2"
    recording = stream((Read(1.25, body[:7]), Read(1.5, body[7:])))
    found = excerpt(recording, None)
    text = shown(found)
    assert "· 3,804 spaces ·" in text
    assert "a\\tb\\x00\\xff\\u202e" in text
    assert "id: 1\\r\\n" in text
    assert "· 31 comment lines of padding, 62 bytes ·" in text
    assert "no line end" in text
    assert [line.offset for line in found.lines][:2] == [0, 7]
    assert [line.at for line in found.lines][:3] == [0.25, 0.5, None]


@pytest.mark.parametrize("span", [None, (0, 0), (500_000, 500_003), (1_048_570, 9_999_999), (5, 2)])
@pytest.mark.parametrize("line", [b"x" * 1_048_576, b"\n" * 1_048_576, b"data: y\n" * 131_072])
def test_frames_are_bounded_whatever_the_body(line: bytes, span: tuple[int, int] | None) -> None:
    """At most LINES_MAX lines and a few thousand characters show the fault in any body."""
    found = excerpt(stream((Read(1.5, line),)), span)
    assert len(found.lines) <= LINES_MAX
    assert len(shown(found)) < 8_000
    assert found.end - found.start <= SHOWN_BYTES_MAX
    if span is not None and span[0] <= span[1] < len(line):
        assert any(line.hit for line in found.lines)


def test_the_faulty_bytes_are_marked() -> None:
    """If the fault is part of a line, then exactly these bytes are marked, deep in it too."""
    body = b"data: " + b"ab" * 9_000 + b"\xfe" + b"cd" * 9_000 + b"\n\n"
    at = body.index(b"\xfe")
    found = excerpt(stream((Read(1.5, body),)), (at, at + 1))
    marked = [piece.text for line in found.lines for piece in line.pieces if piece.hit]
    assert marked == ["\\xfe"]


def test_timeline_measures_lag_silence_and_control_frames() -> None:
    """The picture's caption states the largest lag and the longest silence of the stream."""
    beat = b'event: heartbeat\ndata: {"latest": 2}\n\n'
    reads = (Read(1.5, frame(1, 1.4)), Read(4.5, beat), Read(6.5, frame(2, 2.5)))
    picture = timeline(stream(reads), [], STARTED)
    assert picture is not None
    assert "2 events" in picture.caption
    assert "1 control frame" in picture.caption
    assert "largest lag 4.00 s" in picture.caption
    assert "longest silence 3.0 s" in picture.caption
    assert "t-held" in picture.svg
    ET.fromstring(str(picture.svg))


def test_timeline_admits_clocks_that_do_not_agree() -> None:
    """If an event arrives before it was emitted, then only differences of lag are drawn."""
    picture = timeline(stream((Read(1.5, frame(1, 31)), Read(3.5, frame(2, 32)))), [], STARTED)
    assert picture is not None
    assert "could not be tied together" in picture.caption
    assert "largest lag 1.00 s" in picture.caption


def test_timeline_draws_at_most_its_bound_around_the_fault() -> None:
    """A long stream is drawn around its fault, and the caption says so."""
    events = b"".join(b"id: %d\ndata: {}\n\n" % n for n in range(10_000))
    place = events.index(b"id: 9000\n")
    picture = timeline(stream((Read(1.5, events),)), [(place, place + 5)], STARTED)
    assert picture is not None
    assert f"10,000 events ({EVENTS_MAX} around the fault are drawn)" in picture.caption
    assert picture.svg.count("h0") == EVENTS_MAX
    assert "t-hit" in picture.svg


def test_timeline_survives_absurd_times() -> None:
    """Timestamps far off, without zone or not of this calendar never break the picture."""
    stamps = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-31T12:00:00", "x", 7]
    reads = tuple(
        Read(1.5 + n, f"data: {json.dumps({'timestamp': stamp})}\n\n".encode())
        for n, stamp in enumerate(stamps)
    )
    for started in (STARTED, "not a time"):
        picture = timeline(stream(reads), [], started)
        assert picture is not None
        ET.fromstring(str(picture.svg))
        assert "nan" not in picture.svg and "inf" not in picture.svg


def test_no_picture_of_what_is_no_stream() -> None:
    """An answer that is neither a stream nor holds events has bytes to show but no timeline."""
    page = Recording("start", Request("POST", "https://x"), 1.0, 500, reads=(Read(1.1, b"oops"),))
    assert timeline(page, [], STARTED) is None
    silent = timeline(stream(()), [], STARTED)
    assert silent is not None and "longest silence 5.0 s" in silent.caption


def test_a_drawing_holds_one_dot_per_event() -> None:
    """Each event is one dot on the rail of arrivals, and one on that of emissions if known."""
    marks = [Mark(1.0, 0.5, False), Mark(2.0, None, False)]
    svg = draw(stream(()), marks, [], [], Scale(0, 3), "two events")
    assert svg.count("h0") == 3


def test_few_exhibits_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    """If a check brings more than five exhibits, then five are shown and the others counted."""
    recording = live()
    exhibits = tuple(Exhibit(recording, f"place {n}", (n, n + 1)) for n in range(9))
    page = written(run_with(1, exhibits=exhibits), tmp_path)["index.html"]
    assert page.count("<figure>") == 5
    assert page.count('class="timeline"') == 1
    assert "4 more like these" in page


@pytest.mark.parametrize("width", [20, 60, 80, 200])
def test_terminal_summary_fits_and_ends_with_the_verdict(width: int) -> None:
    """Except for commands, no line exceeds the width; the verdict and the report come last."""
    lines = terminal_summary(run_with(3), width, False, report="reports/conformance/index.html")
    prose = [line for line in lines if "$ " not in line and "Report:" not in line]
    assert max(map(len, prose)) <= max(width, 60)
    verdict = next(n for n, line in enumerate(lines) if line.startswith("NOT CONFORMANT: 3 checks"))
    assert verdict > next(n for n, line in enumerate(lines) if "Could not test" in line)
    assert lines[-1] == "  Report: reports/conformance/index.html"
    assert sum("To change: Repair" in line for line in lines) == 4


def test_terminal_colour_only_repeats_what_is_written() -> None:
    """Without its colours, the coloured summary is the plain one."""
    plain = terminal_summary(run_with(3), 100, False)
    coloured = terminal_summary(run_with(3), 100, True)
    assert coloured != plain
    assert [re.sub(r"\x1b\[[\d;]*m", "", line) for line in coloured] == plain


def test_a_cause_stands_before_what_it_explains(tmp_path: Path) -> None:
    """If forty failures have one cause, then a reader sees it, and its cure, before any of them."""
    run = explained_run(60, 40)
    texts = written(run, tmp_path)
    headline = "40 checks fail for one reason: events are held back until the stream ends."
    page = Elements(texts["index.html"]).text
    assert page.index(headline) < page.index("60 failures")
    assert texts["summary.md"].index(headline) < texts["summary.md"].index("## Failures")
    lines = terminal_summary(run, 100, colour=False)
    heading = next(n for n, line in enumerate(lines) if line.startswith("Failures"))
    assert headline in " ".join(" ".join(lines[:heading]).split())
    for text in (page, texts["summary.md"], "\n".join(lines)):
        assert "nginx" in text


def test_what_a_cause_explains_is_folded_and_what_is_left_is_not(tmp_path: Path) -> None:
    run = explained_run(6, 4)
    page = written(run, tmp_path)["index.html"]
    classes = [
        attributes["class"] or "" for tag, attributes in Elements(page).found if tag == "article"
    ]
    failed = [names for names in classes if "c-fail" in names]
    assert ["row" in names for names in failed] == [False, False, True, True, True, True]


def test_sixty_failures_fit_on_a_screen_or_three() -> None:
    """If a run has sixty failures, then the screen shows a few, names more, and counts the rest."""
    lines = terminal_summary(explained_run(60, 40), 100, colour=False)
    assert len(lines) < 120
    assert "  and 34 more in the report" in lines


def test_causes_are_part_of_the_public_record(tmp_path: Path) -> None:
    record = json.loads(written(explained_run(3, 2), tmp_path)["results.json"])
    (cause,) = record["causes"]
    assert cause["family"] == "buffering"
    assert len(cause["checks"]) == 2
    assert cause["bytes"] == [9000, None]
    told = [entry["explanation"] for entry in record["checks"]]
    assert [each["kind"] for each in told if each] == ["until_end"] * 2


def test_hostile_text_in_a_cause_stays_text(tmp_path: Path) -> None:
    texts = written(explained_run(3, 2, HOSTILE), tmp_path)
    tags = [tag for tag, _ in Elements(texts["index.html"]).found]
    assert tags.count("script") == 1
    assert not any("\x1b" in text for text in texts.values())
    assert not any(
        "\x1b" in line for line in terminal_summary(explained_run(3, 2, HOSTILE), 80, False)
    )


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("frames measured", "frame measured"),
        ("non-ASCII frames measured", "non-ASCII frame measured"),
        ("streams that were reset", "stream that was reset"),
        ("replies", "reply"),
        ("events and answers", "events and answers"),
        ("octets decoded", "octet decoded"),
    ],
)
def test_one_is_counted_in_the_singular(many: str, one: str) -> None:
    result = replace(check(1, Verdict.PASS), evidence=Evidence(1, many))
    assert singular(many) == one
    assert evidence(result) == f"1 {one}"
    assert evidence(replace(result, evidence=Evidence(2, many))) == f"2 {many}"
