"""The diagnosis names what was built into a path, by measurement, and stays silent where it cannot.

Paths are simulated: a few lines of arithmetic between what a good server writes and what a reader
records. So each test knows the truth that the diagnosis has to find.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.catalogue import catalogue
from streamgauge.check import Run
from streamgauge.client import Client
from streamgauge.clock import RunClock
from streamgauge.collect import Evidence
from streamgauge.explain import Family, Sureness, explain, finders
from streamgauge.explain.buffering import Buffering, Kind, find_buffering
from streamgauge.explain.cuts import Cuts, Life, find_cuts, life_of
from streamgauge.explain.diagnosis import CAN_EXPLAIN
from streamgauge.explain.flow import clock_bounds, flow_of
from streamgauge.explain.found import buffer_lines, silence_lines
from streamgauge.explain.platforms import GRADES, fitting, platforms
from streamgauge.explain.resume import Resume, Way, find_resumes, log_order, resume_of
from streamgauge.explain.wording import of_buffering, of_cuts, of_resumes
from streamgauge.profile_file import load_profile
from streamgauge.recording import Bundle, End, Recording, Request
from streamgauge.results import CheckResult, Verdict
from streamgauge.results import Evidence as Counted
from tests import paths
from tests.forwarder import forwarding
from tests.server.server_process import ServerProcess, running_server

LIVE = [2 + 0.08 * n for n in range(225)]
GAPS = [4.37 + n for n in range(6)]
QUIET = [2.0] * 4 + [20.0] * 4
USUAL = (LIVE, GAPS, QUIET)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("server"), SCRIPTED_PIPELINES="1") as process:
        yield process


def at_odd_times(seed: int, count: int = 40) -> list[float]:
    chance = random.Random(seed)
    moments = [2.0]
    while len(moments) < count:
        moments.append(moments[-1] + chance.expovariate(2))
    return moments


def through(
    path: paths.Path, *jobs: Sequence[float], size: int = 4096, late_s: float = 0.0
) -> Buffering | None:
    recordings = [
        paths.recorded(paths.source(job, size, job[0] - 1.0), path, opened=job[0] - 1.0)
        for job in jobs
    ]
    offset = clock_bounds(recordings, paths.ZERO)
    flows = [flow for r in recordings if (flow := flow_of(r, offset, paths.ZERO)) is not None]
    return find_buffering(flows, late_s)


class TestBuffering:
    def test_a_straight_path_is_no_buffer(self) -> None:
        assert through(paths.straight, *USUAL) is None

    def test_a_long_way_is_no_buffer(self) -> None:
        """If every event is two seconds late, each on its own, then nothing collects them."""
        assert through(paths.later(2.0), *USUAL) is None

    def test_what_passes_at_once_is_no_fault_of_a_buffer(self) -> None:
        """If frames are as large as the buffer's blocks, then it holds nothing that matters."""
        assert through(paths.blocks(4096), *USUAL) is None

    @pytest.mark.parametrize("size", [8192, 16384, 30000, 65536])
    def test_a_buffer_of_a_certain_size_is_measured(self, size: int) -> None:
        found = through(paths.holds(size), *USUAL, at_odd_times(1))
        assert found is not None
        assert found.kind is Kind.HOLDS_BYTES
        assert found.low is not None and found.high is not None
        assert found.low < size <= found.high
        assert found.high - found.low <= 2 * 4096  # frames cannot tell it much closer

    @pytest.mark.parametrize("size", [5000, 10000, 20000])
    def test_full_blocks_are_told_from_a_mere_threshold(self, size: int) -> None:
        found = through(paths.blocks(size), at_odd_times(1), at_odd_times(2), GAPS, size=1300)
        assert found is not None
        assert found.kind is Kind.FULL_BLOCKS
        assert found.high == pytest.approx(size, rel=0.03)

    def test_all_at_the_end(self) -> None:
        found = through(paths.until_end, *USUAL)
        assert found is not None
        assert found.kind is Kind.UNTIL_END
        assert found.streams == 3
        assert found.low is not None and found.low > 200 * 4096  # or a larger buffer: it is said

    @pytest.mark.parametrize("period", [0.7, 1.0, 2.0])
    def test_a_timer_is_told_from_a_size(self, period: float) -> None:
        found = through(paths.ticks(period), at_odd_times(1), LIVE)
        assert found is not None
        assert found.kind is Kind.TIMER
        assert found.seconds == pytest.approx(period, rel=0.1)

    def test_one_event_behind(self) -> None:
        found = through(paths.one_behind, at_odd_times(1), GAPS)
        assert found is not None
        assert found.kind is Kind.ONE_BEHIND

    def test_a_steady_rate_alone_cannot_tell_a_size_from_a_timer(self) -> None:
        """If bytes come evenly, then both rules let go at the same moments: none is named."""
        found = through(paths.holds(65536), LIVE, LIVE)
        assert found is not None
        assert found.kind is Kind.UNKNOWN
        assert "timer" in found.why_open

    def test_two_releases_name_no_size(self) -> None:
        found = through(paths.holds(16384), GAPS, GAPS)
        assert found is not None
        assert found.kind is Kind.UNKNOWN

    def test_a_late_instrument_blames_nobody(self) -> None:
        """If the suite itself was late by as much, then what it saw together proves nothing."""
        assert through(paths.ticks(0.7), at_odd_times(1), late_s=0.5) is None

    def test_a_busy_moment_is_no_buffer(self) -> None:
        """If a machine stood still for a second, then what came together then proves nothing."""

        def busy(writes: Sequence[paths.Write], ended: float) -> list[paths.Write]:
            return [(max(at, 9.0) if 7.8 < at < 9.0 else at, data) for at, data in writes]

        assert through(busy, LIVE, GAPS, at_odd_times(1)) is None

    def test_replayed_history_is_not_held(self) -> None:
        """If events were emitted before the stream was asked for, then they come together."""
        writes = paths.source([1.0 * n for n in range(1, 10)])
        late = paths.recorded([(20.0, data) for _, data in writes], opened=19.9)
        offset = clock_bounds([late, paths.recorded(paths.source(GAPS))], paths.ZERO)
        flow = flow_of(late, offset, paths.ZERO)
        assert flow is not None
        assert find_buffering([flow]) is None

    def test_an_empty_stream_is_no_evidence(self) -> None:
        empty = replace(paths.recorded(paths.source(GAPS)), reads=())
        flow = flow_of(empty, clock_bounds([empty], paths.ZERO), paths.ZERO)
        assert flow is not None
        assert find_buffering([flow]) is None

    @settings(max_examples=40, deadline=None)
    @given(
        size=st.integers(3000, 60000),
        frame=st.integers(300, 5000),
        seed=st.integers(0, 10_000),
        kind=st.sampled_from(["holds", "blocks", "ticks", "until_end", "straight", "later"]),
    )
    def test_a_wrong_number_is_never_named(
        self, size: int, frame: int, seed: int, kind: str
    ) -> None:
        """Whatever the path: a kind that is named is the right one, and so is its number."""
        period = 0.5 + size / 20000
        path = {
            "holds": paths.holds(size),
            "blocks": paths.blocks(size),
            "ticks": paths.ticks(period),
            "until_end": paths.until_end,
            "straight": paths.straight,
            "later": paths.later(period),
        }[kind]
        found = through(path, at_odd_times(seed), at_odd_times(seed + 1, 60), GAPS, size=frame)
        if kind in ("straight", "later"):
            assert found is None
        elif found is not None and found.kind is Kind.HOLDS_BYTES:
            assert kind in ("holds", "blocks")
            assert found.low is not None and found.high is not None
            assert found.low <= size * 1.03 and size <= found.high * 1.03 + 64
        elif found is not None and found.kind is Kind.FULL_BLOCKS:
            assert kind == "blocks"
        elif found is not None and found.kind is Kind.TIMER:
            assert kind == "ticks"
            assert found.seconds == pytest.approx(period, rel=0.15)


def life(
    age: float, silence: float, *, opened: float = 0.0, cut: bool = True, longest: float = 0.1
) -> Life:
    return Life("reader", opened, age, silence, longest, cut, clean=False)


class TestCuts:
    def test_the_same_silence_at_different_ages_is_an_idle_cut(self) -> None:
        found = find_cuts([life(10.1, 10.0), life(34.0, 10.1, opened=3.0), life(22.0, 10.0)])
        assert found is not None
        assert (found.family, found.seconds) == (Family.IDLE_CUT, 10.0)
        assert found.sureness is Sureness.SURE

    def test_the_same_age_whatever_flowed_is_a_cap(self) -> None:
        found = find_cuts([life(30.0, 0.1), life(30.2, 14.0, opened=5.0), life(30.1, 3.0)])
        assert found is not None
        assert (found.family, found.seconds) == (Family.ABSOLUTE_CAP, 30.1)

    def test_silent_streams_alone_tell_neither(self) -> None:
        """If all were silent from the beginning, then age and silence are the same."""
        assert find_cuts([life(10.0, 10.0), life(10.0, 10.0, opened=5.0)]) is None

    def test_a_stream_that_flowed_and_lived_on_decides_for_silence(self) -> None:
        busy = life(18.0, 0.1, cut=False)
        found = find_cuts([life(10.0, 10.0), life(10.0, 10.0, opened=5.0), busy])
        assert found is not None
        assert found.family is Family.IDLE_CUT

    def test_a_silence_that_was_survived_refutes_an_idle_cut(self) -> None:
        patient = life(40.0, 0.1, cut=False, longest=25.0)
        assert find_cuts([life(10.1, 10.0), life(34.0, 10.1, opened=3.0), patient]) is None

    def test_an_older_stream_refutes_a_cap(self) -> None:
        older = life(60.0, 0.1, cut=False)
        assert find_cuts([life(30.0, 0.1), life(30.2, 3.0, opened=5.0), older]) is None

    def test_streams_that_die_together_prove_no_cap(self) -> None:
        """If a server restarts, then all its streams end at one moment."""
        assert find_cuts([life(30.0, 0.1, opened=0.01 * n) for n in range(5)]) is None

    def test_ends_without_a_pattern_name_nothing(self) -> None:
        assert find_cuts([life(3.0, 0.1), life(11.0, 2.0, opened=4.0), life(7.0, 1.0)]) is None

    def test_no_cut_no_cause(self) -> None:
        assert find_cuts([life(30.0, 0.1, cut=False)]) is None

    def test_recordings_become_lives(self) -> None:
        """Five streams of one path that cuts after 10 s of silence, opened at different times."""
        jobs = [[2.0, 3.0], [5.0, 9.5, 12.0], [20.0, 21.0]]
        lives = []
        for job in jobs:
            opened = job[0] - 1.0
            cut = paths.silent(job, job[-1] + 10.0, opened=opened)
            lives.append(life_of(cut, over=False))
        found = find_cuts([each for each in lives if each is not None])
        assert found is not None
        assert (found.family, found.seconds) == (Family.IDLE_CUT, 10.0)

    def test_our_own_leaving_is_no_cut(self) -> None:
        left = replace(paths.silent([2.0], 12.0, opened=1.0), end=End.LEFT)
        seen = life_of(left, over=False)
        assert seen is not None
        assert not seen.cut

    @settings(max_examples=200, deadline=None)
    @given(
        limit=st.floats(2.0, 300.0),
        ages=st.lists(st.floats(0.0, 400.0), min_size=3, max_size=8),
        noise=st.floats(0.0, 0.2),
    )
    def test_an_idle_limit_is_never_taken_for_a_cap(
        self, limit: float, ages: list[float], noise: float
    ) -> None:
        lives = [life(limit + a, limit + noise, opened=13.0 * n) for n, a in enumerate(ages)]
        found = find_cuts(lives)
        assert found is None or found.family is Family.IDLE_CUT


ORDER = {str(n): n - 1 for n in range(1, 31)}


def resumed(
    after: int, first: int | None, *, query: bool = False, status: int = 200
) -> Resume | None:
    info = {"query": str(after)} if query else {"after": str(after)}
    recording = Recording(
        label="resumed",
        request=Request("GET", "http://target.example/stream"),
        sent_at=1.0,
        status=status,
        headers=(("Content-Type", "text/event-stream"),),
        end=End.TIMEOUT if first is None else End.COMPLETE,
        ended_at=9.0,
        info=info,
    )
    shown = [] if first is None else [str(n) for n in range(first, 31)]
    return resume_of(recording, ORDER, shown)


def resumes(*pairs: tuple[int, int | None], **how: object) -> list[Resume]:
    found = [resumed(after, first, **how) for after, first in pairs]  # type: ignore[arg-type]
    return [resume for resume in found if resume is not None]


class TestResume:
    @pytest.mark.parametrize(
        ("way", "pairs"),
        [
            (Way.IGNORED, [(4, 1), (9, 1), (20, 1)]),
            (Way.LIVE_ONLY, [(4, 15), (9, 22), (12, 25)]),
            (Way.REPEATS_ONE, [(4, 4), (9, 9), (20, 20)]),
            (Way.SKIPS_ONE, [(4, 6), (9, 11), (20, 22)]),
            (Way.SILENT, [(4, None), (9, None)]),
        ],
    )
    def test_each_way_has_its_name(self, way: Way, pairs: list[tuple[int, int | None]]) -> None:
        found = find_resumes(resumes(*pairs))
        assert found is not None
        assert found.way is way

    def test_right_resumes_have_no_cause(self) -> None:
        assert find_resumes(resumes((4, 5), (9, 10), (20, 21))) is None

    def test_one_slip_is_no_pattern(self) -> None:
        assert find_resumes(resumes((4, 5), (9, 9), (20, 21))) is None

    def test_ways_that_differ_name_nothing(self) -> None:
        assert find_resumes(resumes((4, 1), (9, 9), (12, 14), (20, 25))) is None

    def test_a_cursor_that_works_in_the_query_shows_a_lost_header(self) -> None:
        made = resumes((4, 1), (9, 1)) + resumes((4, 5), (9, 10), query=True)
        found = find_resumes(made)
        assert found is not None
        assert found.way is Way.HEADER_LOST

    def test_an_instance_that_knows_nothing(self) -> None:
        found = find_resumes(resumes((4, None), (9, None), status=404))
        assert found is not None
        assert found.way is Way.UNKNOWN_JOB

    def test_the_log_is_the_longest_view(self) -> None:
        a, b = (paths.recorded(paths.source(GAPS), label=name) for name in "ab")
        views = {a: ["1", "2", "3"], b: ["2", "3"]}
        assert log_order([b, a], views.__getitem__) == {"1": 0, "2": 1, "3": 2}


class TestPlatforms:
    def test_every_fact_says_when_where_and_how_well_it_is_known(self) -> None:
        assert len(platforms()) >= 25
        for platform in platforms():
            assert platform.grade in GRADES, platform.id
            assert len(platform.as_of) == 7 and platform.as_of[:2] == "20", platform.id
            assert platform.source, platform.id
            assert platform.set_idle or not platform.idle_s, platform.id
            assert platform.set_cap or not platform.cap_s, platform.id
            assert platform.set_buffering or not platform.buffers, platform.id
        assert len({platform.id for platform in platforms()}) == len(platforms())

    def test_a_number_alone_lists_a_few(self) -> None:
        hints = fitting(Family.IDLE_CUT, (), seconds=55.2)
        assert hints[0].name == "Heroku"
        assert len(hints) <= 3

    def test_a_header_comes_first(self) -> None:
        hints = fitting(Family.IDLE_CUT, (("Server", "nginx/1.26"),), seconds=60.1)
        assert hints[0].name == "nginx"
        assert "Server: nginx/1.26" in hints[0].why

    def test_a_header_whose_number_does_not_fit_is_no_fit(self) -> None:
        hints = fitting(Family.IDLE_CUT, (("Server", "nginx"),), seconds=137.0)
        assert hints == ()

    def test_a_kind_of_buffering_alone_names_nobody(self) -> None:
        assert fitting(Family.BUFFERING, (), kind="until_end") == ()

    def test_a_buffer_size_and_a_header_name_the_directive(self) -> None:
        hints = fitting(
            Family.BUFFERING, (("server", "nginx"),), kind="full_blocks", sizes=(4095, 4096)
        )
        assert "proxy_buffering off" in hints[0].advice


def run_over(recordings: Sequence[Recording]) -> Run:
    bundles = {"live": Bundle("live", tuple(recordings))}
    return Run(
        "http://target.example",
        load_profile("resume-optimizer"),
        Evidence(bundles=bundles, wall_at_zero=paths.ZERO),
    )


def failed(identifier: str) -> CheckResult:
    return CheckResult(catalogue()[identifier], Verdict.FAIL, "it failed", Counted(1, "events"))


class TestRun:
    def test_a_failure_gets_the_cause_that_can_bring_it_about(self) -> None:
        """If a path buffers, then late events are explained by it, and a wrong status is not."""
        held = [paths.recorded(paths.source(j), paths.until_end, label=str(j)) for j in USUAL]
        results, causes = explain(run_over(held), [failed("RT-02"), failed("HDR-01")])
        assert results[0].explanation is not None
        assert results[0].explanation.family is Family.BUFFERING
        assert results[1].explanation is None
        assert [cause.checks for cause in causes] == [("RT-02",)]

    def test_a_verdict_is_never_changed(self) -> None:
        held = [paths.recorded(paths.source(j), paths.until_end, label=str(j)) for j in USUAL]
        given = [failed("RT-02"), failed("HDR-01")]
        results, _ = explain(run_over(held), given)
        assert [r.verdict for r in results] == [r.verdict for r in given]

    def test_good_streams_explain_nothing(self) -> None:
        good = [paths.recorded(paths.source(job), label=str(job)) for job in USUAL]
        results, causes = explain(run_over(good), [failed("RT-02"), failed("LIFE-05")])
        assert [r.explanation for r in results] == [None, None]
        assert causes == ()

    def test_a_run_without_recordings_explains_nothing(self) -> None:
        _, causes = explain(run_over([]), [failed("RT-02")])
        assert causes == ()

    def test_what_can_be_explained_is_in_the_catalogue(self) -> None:
        for family in Family:
            assert CAN_EXPLAIN[family] <= set(catalogue())


class TestSearches:
    """On a real socket: the reference server behind a forwarder with a known power."""

    async def test_the_smallest_frame_that_passes(
        self, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(finders, "LADDER", (0, 0, 6_000))
        monkeypatch.setattr(finders, "ROUNDS_MAX", 1)
        async with forwarding(server.address, "holds:16384") as url:
            client = Client(url, RunClock())
            found = await finders.find_buffer(client, load_profile("resume-optimizer"))
            await client.aclose()
        assert found.smallest_frame == 4096
        assert found.buffering is not None
        assert found.buffering.kind is Kind.HOLDS_BYTES
        assert found.buffering.low is not None and found.buffering.high is not None
        assert found.buffering.low < 16384 <= found.buffering.high
        assert "16,384 bytes" in buffer_lines(found)[0]

    async def test_the_silence_that_is_not_survived(self, server: ServerProcess) -> None:
        async with forwarding(server.address, "idle:4") as url:
            client = Client(url, RunClock())
            found = await finders.find_silence(client, load_profile("resume-optimizer"), 8.0)
            await client.aclose()
        assert found.cuts is not None
        assert found.cuts.family is Family.IDLE_CUT
        assert found.cuts.seconds == pytest.approx(4.0, abs=0.5)
        assert "cut after 4" in silence_lines(found, 15.0)[0]
        assert found.held_poll_s is not None  # a held answer is no stream: the path lets it be

    def test_the_end_of_what_can_be_measured_is_said(self) -> None:
        found = finders.SilenceFound(None, 0, 15.0, 90.0, None, 5.0)
        said = " ".join(silence_lines(found, 15.0))
        assert "bears a silence of 15.0 s" in said
        assert "the target's own heartbeats" in said
        assert "keep-alive timer" in said


class TestWords:
    def test_an_explanation_carries_what_was_measured(self) -> None:
        found = through(paths.holds(16384), *USUAL)
        assert found is not None
        said = of_buffering(found, ())
        assert "16 KiB" in said.what
        assert "16,384 bytes" in said.measured
        assert said.sureness is Sureness.SURE

    def test_few_observations_are_called_likely(self) -> None:
        found = through(paths.holds(16384), GAPS, GAPS)
        assert found is not None
        assert of_buffering(found, ()).sureness is Sureness.LIKELY

    def test_a_cap_says_that_no_heartbeat_helps(self) -> None:
        cut = Cuts(Family.ABSOLUTE_CAP, 30.1, 3, True, Sureness.SURE, "they flowed")
        said = of_cuts(cut, ())
        assert "No heartbeat helps" in said.advice
        assert "as if they were complete" in said.measured

    def test_every_broken_resume_has_its_cure(self) -> None:
        for way in Way:
            found = find_resumes([Resume(way, query=False)] * 3)
            assert found is not None
            assert of_resumes(found).advice
