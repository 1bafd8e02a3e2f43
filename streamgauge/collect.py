"""Run the scenarios that the selected checks need, all at once, within one deadline.

Collecting comes before judging: first every scenario plays against the target, side by side, so
that a run takes about as long as its longest wait; those that harm the deployment come last, one by
one. Then the checks judge what was recorded. The collector also watches itself: when its own event
loop was late, it says by how much.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .client import Client
from .clock import RunClock, starved
from .job import Given
from .lab import Lab
from .limits import CUT_SHORT, LEFT_OUT, Jobs, Limits, until_ready
from .presence import until_gone
from .profile import Capabilities, Profile
from .recording import Bundle, End
from .scenario import Means, Scenario
from .shared import Shared
from .timing import percentile
from .verdict import Unable

DEFAULT_RUN_S = 120.0
"""A default run is judged within 150 s, whatever the target does."""
LONG_RUN_S = 440.0
"""The same for --long, within 480 s."""
PROBE_NAME = "probe"
LAG_PROBE_S = 0.05
STAGGER_S = 0.1
"""Scenarios begin so far apart, or the first steps of each would wait for those of all others."""
PROGRESS_S = 1.0
READ_ONLY = "--read-only: nothing is started or changed"


class Unreachable(Exception):
    """There is nothing to test at this address; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to test, and how."""

    base_url: str
    profile: Profile
    headers: tuple[tuple[str, str], ...] = ()
    instances: tuple[str, ...] = ()
    long: bool = False
    query: tuple[tuple[str, str], ...] = ()
    """Parameters that every URL gets: tokens."""
    read_only: bool = False
    """Nothing is started or changed: the job of `given` is read, and nothing else is done."""
    given: Given | None = None
    max_jobs: int = 0
    """At most so many jobs are started; 0: no limit."""
    budget_s: float = 0.0
    """Collecting takes at most so long; 0: no limit but the run's own."""
    wait_ready_s: float = 0.0
    """The target has so long to answer at all before the run begins."""
    browser: bool = False

    @property
    def reads_only(self) -> str:
        """Why nothing may be started, "" where it may."""
        if self.read_only:
            return READ_ONLY
        return "" if self.profile.api.start else self.profile.says("api.start")


@dataclass(slots=True)
class Evidence:
    """All that a run recorded, and what happened to the run itself."""

    bundles: dict[str, Bundle] = field(default_factory=dict)
    shaped: bool = False
    found: dict[str, str] = field(default_factory=dict)
    long: bool = False
    stopped: str = ""
    """Why collecting ended early: unreachable, vanished, interrupted. One line."""
    vanished_at: float | None = None
    """When the target was last known to answer, where it went away during the run."""
    loop_lag_s: float = 0.0
    """The instrument's own lateness, 99th percentile."""
    loop_lag_max_s: float = 0.0
    """The same, the worst."""
    starved: float = 0.0
    """The share of its time that the instrument had work and waited for a core, 0 to 1."""
    wall_at_zero: float = 0.0
    left_out: str = ""
    """Why scenarios that start jobs, or read a job again, were not played."""
    by_profile: bool = False
    """It is the profile that says so, not the user's call."""
    saved_as: str = ""
    """What lone streams were read from, empty for a run: no scenario stands around them."""

    @property
    def reads_only(self) -> bool:
        """The user asked for a run that starts nothing."""
        return bool(self.left_out) and not self.by_profile

    def note_lags(self, lags: Sequence[float]) -> None:
        """Sum up how late the instrument's own loop was, and whether it got its share of cores."""
        self.loop_lag_s = percentile(lags, 0.99)
        self.loop_lag_max_s = max(lags, default=0.0)
        self.starved = starved()


async def collect(
    target: Target,
    scenarios: Sequence[Scenario],
    evidence: Evidence,
    progress: Callable[[Mapping[str, tuple[str, float]], float], None],
    played: Callable[[], None],
    serves: Mapping[str, int] | None = None,
) -> None:
    """Fill `evidence`; what was recorded so far is in it also when this is cancelled.

    Args:
        target: where to test, and how.
        scenarios: what to play, the probe among them.
        evidence: what to fill.
        progress: told once a second what is being waited for.
        played: called in a thread of its own each time a scenario is over and only patient ones
            are left, never twice at once: judging early fills the time in which these wait.
        serves: how many checks look at each scenario; where not all may be played, those that
            serve most come first.

    Raises:
        Unreachable: before anything could be tested.
    """
    await _wait_until_ready(target)
    clock = RunClock()
    evidence.wall_at_zero = clock.wall
    evidence.long = target.long
    client, *others = (
        Client(
            url.rstrip("/") + target.profile.api.prefix,
            clock,
            target.headers,
            query=target.query,
            members=target.profile.members,
            reads_only=target.reads_only,
        )
        for url in (target.base_url, *target.instances)
    )
    most_s = LONG_RUN_S if target.long else DEFAULT_RUN_S
    shared = Shared(
        client=client,
        profile=target.profile,
        long=target.long,
        deadline=min(most_s, target.budget_s or most_s),
        instances=tuple(others),
        given=target.given,
        jobs=Jobs(target.max_jobs),
        browser=target.browser,
    )
    scenarios = _playable(target, scenarios, evidence)
    limits = Limits(shared.jobs, target.budget_s)
    order = serves or {}
    ordered = sorted(scenarios, key=lambda s: -order.get(s.name, 0)) if limits.any else scenarios
    lags: list[float] = []
    watchers = [
        asyncio.create_task(_watch_loop(shared, lags)),
        asyncio.create_task(_report_progress(shared, progress)),
    ]
    beside = [each for each in ordered if not each.alone]
    try:
        playing = asyncio.create_task(_play(shared, beside, evidence, lags, played, limits))
        await _while_there(shared, playing, evidence)
        if not evidence.stopped:
            await _play_alone(shared, [s for s in ordered if s.alone], evidence, limits)
        if evidence.bundles.get(PROBE_NAME) and not evidence.stopped:
            await _check_still_there(client, evidence)
    finally:
        if shared.natural_reader is not None:
            await shared.natural_reader.leave()
        if shared.gatekeeper is not None:
            watchers.append(shared.gatekeeper)
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        evidence.shaped, evidence.found = shared.shaped, shared.found
        if not shared.calm:
            evidence.note_lags(lags)
        if shared.passage is not None:
            await shared.passage.aclose()
        for each in (client, *others):
            await each.aclose()


def _playable(
    target: Target, scenarios: Sequence[Scenario], evidence: Evidence
) -> Sequence[Scenario]:
    """The scenarios that make do with what the target has, and the user allows."""
    if reason := target.reads_only:
        evidence.left_out, evidence.by_profile = reason, not target.read_only
        return [each for each in scenarios if each.makes_do_with is not Means.STARTS]
    if target.profile.capabilities.join is False:
        evidence.left_out, evidence.by_profile = target.profile.says("capabilities.join"), True
        return [each for each in scenarios if each.makes_do_with is Means.STREAM]
    return scenarios


async def _wait_until_ready(target: Target) -> None:
    """Let the target come up before the run's clock starts."""
    if not target.wait_ready_s:
        return
    client = Client(target.base_url, RunClock(), target.headers)
    try:
        seen = await until_ready(client, target.wait_ready_s)
    finally:
        await client.aclose()
    if seen:
        raise Unreachable(seen)


async def _while_there(shared: Shared, playing: asyncio.Task[None], evidence: Evidence) -> None:
    """Let the scenarios play to their end, or until the target has gone away."""
    watching = asyncio.create_task(until_gone(shared.client))
    try:
        await asyncio.wait((playing, watching), return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            shared.gone = f"the target has gone away ({watching.result()})"
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            _note_vanished(evidence, watching.result())
        else:
            await playing
    finally:
        for task in (playing, watching):
            task.cancel()
        await asyncio.gather(playing, watching, return_exceptions=True)


async def _play(
    shared: Shared,
    scenarios: Sequence[Scenario],
    evidence: Evidence,
    lags: list[float],
    played: Callable[[], None],
    limits: Limits,
) -> None:
    """The probe first, because it finds out what the target can do; then all others together."""
    one_at_a_time = asyncio.Lock()
    hurried = {s.name for s in scenarios if not s.patient and s.name != PROBE_NAME}

    async def play(scenario: Scenario) -> None:
        await _one(scenario, shared, evidence)
        hurried.discard(scenario.name)
        if not hurried and not shared.calm:
            shared.calm = True
            evidence.note_lags(lags)
        async with one_at_a_time:
            if shared.calm:
                await asyncio.to_thread(played)

    for scenario in scenarios:
        if scenario.name == PROBE_NAME:
            await _one(scenario, shared, evidence)
            _name_what_was_not_looked_for(shared, evidence.bundles[PROBE_NAME])
    evidence.shaped, evidence.found = shared.shaped, shared.found
    tasks: list[asyncio.Task[None]] = []
    try:
        for scenario in scenarios:
            if scenario.name == PROBE_NAME:
                continue
            if why := _refused(scenario, shared, limits):
                hurried.discard(scenario.name)
                evidence.bundles[scenario.name] = Bundle(scenario.name, unable=why)
            else:
                tasks.append(asyncio.create_task(play(scenario)))
                await asyncio.sleep(STAGGER_S)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _play_alone(
    shared: Shared, scenarios: Sequence[Scenario], evidence: Evidence, limits: Limits
) -> None:
    """One by one: each leaves the deployment as it found it. Nobody watches whether it is there."""
    for scenario in scenarios:
        if not limits.any:
            lasts_s = scenario.lasts(shared.profile, shared.long)
            shared.deadline = max(shared.deadline, shared.client.clock.now() + lasts_s)
        if why := _refused(scenario, shared, limits):
            evidence.bundles[scenario.name] = Bundle(scenario.name, unable=why)
        else:
            await _one(scenario, shared, evidence)


def _refused(scenario: Scenario, shared: Shared, limits: Limits) -> str:
    """Why a limit of the user's keeps a scenario from being begun."""
    now = shared.client.clock.now()
    if not shared.shaped:
        return limits.refuse(scenario.natural_jobs, 0.0, shared.deadline - now)
    lasts_s = scenario.lasts(shared.profile, shared.long)
    return limits.refuse(scenario.jobs, lasts_s, shared.deadline - now)


def _name_what_was_not_looked_for(shared: Shared, probe: Bundle) -> None:
    """A probe that was cut short must not leave parts that seem to be there."""
    if probe.unable.startswith(CUT_SHORT):
        for part in dataclasses.fields(Capabilities):
            shared.found.setdefault(part.name, f"{LEFT_OUT} ({probe.unable})")


async def _one(scenario: Scenario, shared: Shared, evidence: Evidence) -> None:
    lab = Lab(scenario.name, shared)
    lab.expect(scenario.about, 0.0)
    unable, broken = "", ""
    try:
        async with asyncio.timeout(lab.left_s()):
            await scenario.run(lab)
    except Unable as reason:
        unable = str(reason)
    except TimeoutError:
        unable = f"{CUT_SHORT}: the run's time was up after {lab.now():.0f} s"
    except asyncio.CancelledError:
        unable = f"{CUT_SHORT}: {shared.gone or 'the run was interrupted'}"
        raise
    except Unreachable:
        unable = "the target is unreachable"
        raise
    except Exception:
        broken = traceback.format_exc()
    finally:
        shared.waiting.pop(scenario.name, None)
        evidence.bundles[scenario.name] = await asyncio.shield(
            lab.bundle(unable=unable, broken=broken)
        )


async def _check_still_there(client: Client, evidence: Evidence) -> None:
    """Tell a target that went away in mid-run from one that breaks rules."""
    refused = [
        recording
        for bundle in evidence.bundles.values()
        for recording in bundle.recordings
        if recording.end is End.REFUSED
    ]
    if not refused:
        return
    for _ in range(3):
        answer = await client.ask("GET", "/", label="still there", bound_s=3.0)
        if answer.answered:
            return
        await asyncio.sleep(0.5)
    _note_vanished(evidence, answer.error or "no answer")


def _note_vanished(evidence: Evidence, said: str) -> None:
    last = max(
        (
            recording.head_at
            for bundle in evidence.bundles.values()
            for recording in bundle.recordings
            if recording.head_at is not None
        ),
        default=0.0,
    )
    evidence.vanished_at = last
    evidence.stopped = f"the target stopped answering {last:.1f} s into the run ({said})"


async def _watch_loop(shared: Shared, lags: list[float]) -> None:
    """How late this loop is, as long as anything is played whose timing is judged closely."""
    loop = asyncio.get_running_loop()
    while not shared.calm:
        due = loop.time() + LAG_PROBE_S
        await asyncio.sleep(LAG_PROBE_S)
        lags.append(loop.time() - due)


async def _report_progress(
    shared: Shared, progress: Callable[[Mapping[str, tuple[str, float]], float], None]
) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        with contextlib.suppress(OSError):  # a closed terminal must not end the run
            progress(shared.waiting, shared.client.clock.now())
