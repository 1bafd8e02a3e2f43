"""A whole run: what is played, written down before it begins, and everything that came of it.

The experiments of each deployment are a lane of their own. Beside them a third lane shows the ways
that buffer, the platforms, and the broken servers that have to be caught.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from . import controls, delivery, outcome, platforms
from .campaign import FAILURES, TRIES, Lane, Start, Tell, conclude, said
from .controls import CONTROLS, Control
from .delivery import Delivery
from .deployment import Deployment, Running
from .experiments import OWN, SQLITE, Experiment, drawn, plans, possible, randomised
from .faults import faketime
from .outcome import FAIL, INCONCLUSIVE, PASS, Outcome
from .platforms import Row
from .schedule import Fault, ScheduleError
from .shrink import shrunk
from .topology import started
from .toxiproxy import ToxiproxyServer

SCHEMA: Final = 1
CORPUS: Final = Path(__file__).parent / "corpus"
SHRINK_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user wants of a run."""

    seed: int
    whole: bool = False
    """Every fault on every link, and every way and platform; else every kind of fault once."""
    budget_s: float = 0.0
    """So long random combinations are played after the rest."""
    only: tuple[str, ...] = ()
    """Parts of names; empty: everything."""

    def wants(self, name: str) -> bool:
        return not self.only or any(part in name for part in self.only)


@dataclass(slots=True)
class Programme:
    """What is played, and what came of it."""

    choice: Choice
    experiments: Mapping[str, tuple[Experiment, ...]]
    """By deployment."""
    controls: tuple[Control, ...]
    beside: bool
    """Buffering ways and platforms as well."""
    small_disk: bool
    own: Running | None = None
    """The user's deployment, where that is the target."""
    lanes: dict[str, Lane] = field(default_factory=dict)
    caught: dict[str, Outcome] = field(default_factory=dict)
    """By the name of the control."""
    deliveries: list[Delivery] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    """What could not be played at all."""
    toxiproxy: str = ""
    """The version that was driven."""
    started: str = ""
    lasted_s: float = 0.0
    interrupted: bool = False

    @classmethod
    def chosen(
        cls, choice: Choice, schedule: Path | None = None, own: Running | None = None
    ) -> Programme:
        """Draw it from the seed, or read what was once drawn.

        Args:
            choice: what is wanted.
            schedule: what another run wrote down.
            own: the deployment that is broken instead of our own ones.

        Raises:
            ScheduleError: the file is no schedule.
            MissingProgram: something has to be installed first.
        """
        if own is not None:
            every = (
                _loaded(schedule, {OWN}).get(OWN, ())
                if schedule
                else possible(choice.seed, own.hooks, len(own.urls))
            )
            some = tuple(each for each in every if choice.wants(each.key))
            return cls(choice, {OWN: some}, (), choice.wants("platforms"), False, own)
        faketime()
        small_disk = os.geteuid() == 0
        experiments = (
            _loaded(schedule, set(plans(small_disk=False)))
            if schedule
            else drawn(choice.seed, whole=choice.whole, small_disk=small_disk, clocks=True)
        )
        wanted = {
            name: tuple(each for each in some if choice.wants(each.key))
            for name, some in experiments.items()
        }
        return cls(
            choice,
            wanted,
            tuple(each for each in CONTROLS if choice.wants(each.name)),
            choice.wants("delivery") or choice.wants("platforms"),
            small_disk,
        )

    def save(self, path: Path) -> None:
        """Write the schedule down, before anything of it is played."""
        every = [each for some in self.experiments.values() for each in some]
        _write(path, self.choice.seed, every)

    async def play(self, tell: Tell) -> None:
        """All of it. Raises MissingProgram, ServiceFailed: there is no Toxiproxy."""
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        began = time.monotonic()
        with ExitStack() as stack:
            starts = {OWN: self._ours} if self.own else await self._topologies(stack)
            self.lanes = {
                name: Lane(name, starts[name], some, self.choice.seed, tell)
                for name, some in self.experiments.items()
                if some
            }
            try:
                await self._all(tell)
                if self.choice.budget_s:
                    await self._random(tell)
            except asyncio.CancelledError:
                self.interrupted = True
                raise
            finally:
                self.lasted_s = time.monotonic() - began

    async def _topologies(self, stack: ExitStack) -> dict[str, Start]:
        toxiproxy = await asyncio.to_thread(stack.enter_context, ToxiproxyServer())
        self.toxiproxy = toxiproxy.version
        return {
            name: partial(started, plan, toxiproxy)
            for name, plan in plans(small_disk=self.small_disk).items()
        }

    async def _ours(self) -> Deployment:
        assert self.own is not None
        return self.own

    async def _all(self, tell: Tell) -> None:
        all_there = asyncio.Barrier(max(1, len(self.lanes)))
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes.values():
                group.create_task(lane.play(all_there))
            if self.own is None:
                group.create_task(self._beside(tell))
        if self.own is not None:
            # It is the same deployment: one thing after the other.
            await self._beside(tell)

    async def _beside(self, tell: Tell) -> None:
        """What is about the way, then the broken servers."""
        if self.beside:
            try:
                await self._ways(tell)
            except FAILURES as error:
                self.troubles.append(f"ways and platforms: {said(error)}")
        for control in self.controls:
            self.caught[control.name] = found = await self._control(control)
            word = "caught" if controls.caught(found) else "NOT CAUGHT"
            tell(f"{word:12} control/{control.name}")

    async def _ways(self, tell: Tell) -> None:
        """Both matrices; what is late once may be this machine's doing, so it is played again."""
        for _ in range(TRIES if self.own is None else 0):
            self.deliveries = await delivery.play(self.choice.seed)
            if all(way.verdict == PASS for way in self.deliveries):
                break
        for way in self.deliveries:
            tell(f"{way.verdict:12} delivery/{way.way}")
        for _ in range(TRIES):
            self.rows = await self._on_platforms()
            if all(row.passes for row in self.rows):
                break
        for row in self.rows:
            tell(f"{_word(row.passes):12} platform/{row.platform.id}")

    async def _control(self, control: Control) -> Outcome:
        try:
            return await controls.play(control, self.choice.seed)
        except FAILURES as error:
            experiment = Experiment(control.name, control.deployment, control.faults)
            return outcome.unplayed(experiment, said(error))

    async def _on_platforms(self) -> list[Row]:
        plan = replace(plans(small_disk=False)[SQLITE], linked=False)
        target: Deployment = self.own or await started(plan)
        try:
            return await platforms.play(target, self.choice.seed)
        finally:
            await target.aclose()

    async def _random(self, tell: Tell) -> None:
        """What once failed, then new combinations until the time is over."""
        until = time.monotonic() + self.choice.budget_s
        waiting = corpus()
        seed = self.choice.seed
        for name, lane in self.lanes.items():
            pool = self.experiments[name]
            again = replace(lane, experiments=(), outcomes=[], control=None)
            left = len(self.lanes) - list(self.lanes).index(name)
            ends = time.monotonic() + (until - time.monotonic()) / left
            number = 0
            try:
                for known in (each for each in waiting if each.deployment == name):
                    lane.outcomes.append(await conclude(again, known))
                while time.monotonic() < ends:
                    number += 1
                    experiment = randomised(seed * 1000 + number, name, pool)
                    found = await conclude(again, experiment)
                    lane.outcomes.append(found)
                    if found.verdict == FAIL:
                        await _shrink(again, found, tell)
            finally:
                await again.end()

    @property
    def outcomes(self) -> list[Outcome]:
        return [found for lane in self.lanes.values() for found in lane.outcomes]

    @property
    def uncaught(self) -> list[Control]:
        """Controls that were not seen to be broken."""
        return [c for c in self.controls if not controls.caught(self.outcome_of(c))]

    def outcome_of(self, control: Control) -> Outcome:
        """What a control came to."""
        experiment = Experiment(control.name, control.deployment, control.faults)
        return self.caught.get(control.name) or outcome.unplayed(experiment, "it was not played")

    @property
    def verdict(self) -> str:
        """Of everything but the controls; nothing played proves nothing."""
        found = [each.verdict for each in self.outcomes]
        found += [lane.control.verdict for lane in self.lanes.values() if lane.control]
        found += [way.verdict for way in self.deliveries]
        found += [_word(row.passes) for row in self.rows]
        wanted = sum(len(some) for some in self.experiments.values())
        if FAIL in found:
            return FAIL
        if INCONCLUSIVE in found or not found or self.troubles or len(self.outcomes) < wanted:
            return INCONCLUSIVE
        return PASS


def corpus() -> list[Experiment]:
    """Experiments that once failed."""
    return [each for path in sorted(CORPUS.glob("*.json")) for each in _read(path)]


async def _shrink(lane: Lane, found: Outcome, tell: Tell) -> None:
    """Find the fewest faults that still fail, and keep them."""

    async def fails(faults: Sequence[Fault]) -> bool:
        again = await conclude(lane, replace(found.experiment, faults=tuple(faults)))
        return again.verdict == FAIL

    tell(f"shrinking {found.experiment.key}")
    fewest = await shrunk(found.experiment.faults, fails, SHRINK_S)
    kept = replace(found.experiment, faults=tuple(fewest))
    path = CORPUS / f"{kept.deployment}-{kept.name}.json"
    _write(path, lane.seed, [kept])
    tell(f"{len(fewest)} of {len(found.experiment.faults)} faults are enough: {path}")


def _word(passes: bool) -> str:
    return PASS if passes else FAIL


def _write(path: Path, seed: int, experiments: Sequence[Experiment]) -> None:
    """What `_read` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "schema": SCHEMA,
        "seed": seed,
        "experiments": [asdict(each) for each in experiments],
    }
    path.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


def _loaded(path: Path, known: Collection[str]) -> dict[str, tuple[Experiment, ...]]:
    """By deployment, each of which is a known one. Raises ScheduleError."""
    found: dict[str, tuple[Experiment, ...]] = {}
    for each in _read(path):
        if each.deployment not in known:
            raise ScheduleError(
                f"{path}: expected experiments on {', '.join(known)} "
                f"({OWN!r}: give --base-url), got {each.deployment!r}"
            )
        found[each.deployment] = (*found.get(each.deployment, ()), each)
    return found


def _read(path: Path) -> list[Experiment]:
    """Raises ScheduleError."""
    try:
        table: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = [
            Experiment(**{**each, "faults": tuple(Fault(**fault) for fault in each["faults"])})
            for each in table["experiments"]
        ]
    except OSError as error:
        raise ScheduleError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScheduleError(f"{path}: is no schedule ({error})") from error
    return found
