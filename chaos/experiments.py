"""The catalogue of experiments: every kind of fault, on both deployments that it can befall.

What is drawn from the seed is which instance is hit, when and for how long; which experiments there
are never is. An experiment has one fault as a rule, so that whatever is found has one cause; those
of a randomised run have several.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streamgauge.profile import Hooks

from .cuts import POINTS
from .schedule import Fault
from .topology import Plan
from .toxics import NAMES, toxics

LEASE_S: Final = 2
INSTANCES: Final = 3
SQLITE: Final = "sqlite"
POSTGRES: Final = "postgres+redis"
OWN: Final = "target"
"""The user's own deployment."""
ENV: Final = {
    "HEARTBEAT_SECONDS": "2",
    "POSTGRES_STATEMENT_TIMEOUT_SECONDS": "1",
    "LOG_LEVEL": "warning",
}
EARLIEST: Final = 0.2
LATEST: Final = 0.35
"""A fault of a few seconds has to be over before the jobs of six seconds are."""
SLOWLY: Final = "slow_close"
ORDERLY: Final = frozenset({"terminate", "roll"})
"""Faults that a server is told of: it has to end its streams whole."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Jobs, readers, and what is done to them."""

    name: str
    """Unique on its deployment: the fault and where it strikes."""
    deployment: str
    """A key of `plans`."""
    faults: tuple[Fault, ...] = ()
    cut: str = ""
    """Where every reader's first connection is cut: a name of `cuts.POINTS`."""

    @property
    def key(self) -> str:
        return f"{self.deployment}/{self.name}"

    @property
    def orderly(self) -> bool:
        return bool(self.faults) and all(fault.kind in ORDERLY for fault in self.faults)


def plans(*, small_disk: bool, program: tuple[str, ...] = ("reference_server",)) -> dict[str, Plan]:
    """The deployments: both have three instances behind nginx, and links that can be broken."""
    return {
        SQLITE: Plan(
            INSTANCES,
            "sqlite",
            "local",
            lease_s=LEASE_S,
            env=ENV,
            program=program,
            linked=True,
            small_disk=small_disk,
        ),
        POSTGRES: Plan(
            INSTANCES,
            "postgres",
            "redis",
            lease_s=LEASE_S,
            env=ENV,
            program=program,
            linked=True,
        ),
    }


def drawn(
    seed: int, *, whole: bool, small_disk: bool, clocks: bool
) -> dict[str, tuple[Experiment, ...]]:
    """The experiments of each deployment, in the order in which they are played.

    Args:
        seed: the same seed gives the same faults.
        whole: every fault on every link; else every kind of fault on each deployment once.
        small_disk: there is a disk that can be filled.
        clocks: instances can be shown another time.
    """
    found: dict[str, tuple[Experiment, ...]] = {}
    for deployment in (SQLITE, POSTGRES):
        chance = random.Random(f"{seed} {deployment}")
        links = _links(deployment, whole=whole)
        faults = {
            **_processes(chance),
            **(_clocks(chance, whole=whole) if clocks else {}),
            **_toxics(chance, links),
        }
        if deployment == POSTGRES:
            for service in ("store", "broker"):
                faults[f"{service}-stop"] = _fault(chance, "stop", service, 1.0, 2.5)
        elif small_disk:
            faults["disk-full"] = _fault(chance, "fill", "disk", 1.5, 3.0)
        played = [Experiment(name, deployment, (fault,)) for name, fault in faults.items()]
        if whole or deployment == SQLITE:
            played += [Experiment(f"cut-{point}", deployment, cut=point) for point in POINTS]
        found[deployment] = tuple(played)
    return found


def possible(seed: int, hooks: Hooks, instances: int) -> tuple[Experiment, ...]:
    """What can be done to a deployment that is not ours: by its hooks, and on the way to it."""
    chance = random.Random(seed)
    number = str(chance.randint(1, instances))
    faults = {
        "kill": (hooks.kill and hooks.restart, _fault(chance, "kill", number, 2.0, 4.0)),
        "terminate": (
            hooks.terminate and hooks.restart,
            _fault(chance, "terminate", number, 1.0, 2.0),
        ),
        "pause": (hooks.pause and hooks.unpause, _fault(chance, "pause", number, 2.0, 4.0)),
        "rolling-restart": (hooks.restart, _fault(chance, "roll", "all", 0.0, 0.0)),
        "store-stop": (
            hooks.stop_store and hooks.start_store,
            _fault(chance, "stop", "store", 1.0, 2.5),
        ),
        "broker-stop": (
            hooks.stop_broker and hooks.start_broker,
            _fault(chance, "stop", "broker", 1.0, 2.5),
        ),
    }
    return (
        *(Experiment(name, OWN, (fault,)) for name, (able, fault) in faults.items() if able),
        *(Experiment(f"cut-{point}", OWN, cut=point) for point in POINTS),
    )


def randomised(seed: int, deployment: str, pool: Sequence[Experiment]) -> Experiment:
    """Three or four faults of the pool, one after the other, at other times."""
    chance = random.Random(f"{seed} {deployment} randomised")
    faults = [fault for experiment in pool for fault in experiment.faults]
    chosen = chance.sample(faults, chance.randint(3, 4))
    width = 0.6 / len(chosen)
    at = [EARLIEST / 2 + n * width + chance.uniform(0, width / 2) for n in range(len(chosen))]
    return Experiment(
        f"random-{seed}",
        deployment,
        tuple(
            Fault(f.kind, f.target, round(share, 3), f.lasts_s, f.also)
            for f, share in zip(chosen, at, strict=True)
        ),
    )


def _fault(
    chance: random.Random, kind: str, target: str, low_s: float, high_s: float, also: str = ""
) -> Fault:
    share = round(chance.uniform(EARLIEST, LATEST), 3)
    return Fault(kind, target, share, round(chance.uniform(low_s, high_s), 2), also)


def _any(chance: random.Random) -> str:
    return str(chance.randint(1, INSTANCES))


def _processes(chance: random.Random) -> dict[str, Fault]:
    return {
        "kill": _fault(chance, "kill", _any(chance), 1.5 * LEASE_S, 2.0 * LEASE_S),
        "terminate": _fault(chance, "terminate", _any(chance), 1.0, 2.0),
        "pause": _fault(chance, "pause", _any(chance), 1.5 * LEASE_S, 2.0 * LEASE_S),
        "rolling-restart": _fault(chance, "roll", "all", 0.0, 0.0),
        "kill-all": _fault(chance, "kill", "all", 0.2, 1.0),
    }


def _clocks(chance: random.Random, *, whole: bool) -> dict[str, Fault]:
    kinds = ("ahead", "behind") if whole else (chance.choice(("ahead", "behind")),)
    return {f"clock-{kind}": _fault(chance, kind, _any(chance), 1.5, 2.5) for kind in kinds}


def _links(deployment: str, *, whole: bool) -> Mapping[str, Sequence[str]]:
    """Toxic -> the links that get it: all of them, or one, in turn."""
    groups = {SQLITE: ("edge", "backend"), POSTGRES: ("store", "broker")}[deployment]
    every = ("edge", "backend", *groups) if whole else groups
    able = {toxic: [g for g in every if toxic in toxics(g)] or ["backend"] for toxic in NAMES}
    unique = {toxic: tuple(dict.fromkeys(found)) for toxic, found in able.items()}
    if whole:
        return unique
    return {toxic: (found[n % len(found)],) for n, (toxic, found) in enumerate(unique.items())}


def _toxics(chance: random.Random, links: Mapping[str, Sequence[str]]) -> dict[str, Fault]:
    """On all links of a group, but `down`: that is one instance which is cut off."""
    faults = {}
    for toxic, groups in links.items():
        for group in groups:
            number = _any(chance)
            target = f"{group}-{number}" if toxic == "down" and group != "edge" else group
            # A late close shows only where something is closed.
            also = f"restart {number}" if toxic == SLOWLY else ""
            faults[f"{group}-{toxic}"] = _fault(chance, toxic, target, 1.8, 2.6, also)
    return faults
