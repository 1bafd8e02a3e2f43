"""What is broken, in which order, and when: drawn from a seed, kept in a file, played again.

A fault is anchored to progress, not to the clock: it begins when the jobs have emitted so large a
share of all their events. So it falls upon running jobs on a quick machine and on a slow one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from .faults import MENDED_BY

SCHEMA: Final = 1
FIRST_AT: Final = 0.08
LAST_AT: Final = 0.75
"""Later faults might find the jobs already over."""


class ScheduleError(Exception):
    """The file is no schedule; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is broken and mended again."""

    kind: str
    """What breaks: the first word of a command (`chaos.faults`)."""
    target: str
    """What is broken: the second one."""
    at_share: float
    """It begins when this share of all events has been emitted."""
    lasts_s: float
    """Then it is mended."""
    also: str = ""
    """A further command while it lasts, where only that shows it."""

    @property
    def breaks(self) -> str:
        """The topology's command that begins it."""
        return f"{self.kind} {self.target}"

    @property
    def mends(self) -> str:
        """The one that ends it, "" where it ends by itself."""
        after = MENDED_BY.get(self.kind)
        return f"{after} {self.target}" if after else ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Faults in the order in which they come."""

    seed: int
    faults: tuple[Fault, ...]

    @classmethod
    def drawn(cls, seed: int, instances: int, services: Sequence[str], lease_s: float) -> Self:
        """Every kind once at least: kills, a pause beyond the lease, a rolling restart, services.

        Args:
            seed: the same seed gives the same schedule.
            instances: how many there are.
            services: store and broker, as far as they can be stopped.
            lease_s: of a running job.
        """
        chance = random.Random(seed)
        numbers = [str(number) for number in range(1, instances + 1)]
        steps: list[list[tuple[str, str, float]]] = [
            [("kill", chance.choice(numbers), chance.uniform(0.5, 1.5) * lease_s)],
            [("kill", chance.choice(numbers), chance.uniform(0.5, 1.5) * lease_s)],
            [("pause", chance.choice(numbers), chance.uniform(1.5, 2.5) * lease_s)],
            # One after the other, as a deploy does it.
            [("restart", number, 0.0) for number in chance.sample(numbers, len(numbers))],
            *([("stop", service, chance.uniform(1.0, 3.0))] for service in services),
        ]
        chance.shuffle(steps)
        flat = [fault for step in steps for fault in step]
        width = (LAST_AT - FIRST_AT) / max(1, len(flat) - 1)
        return cls(
            seed,
            tuple(
                Fault(kind, target, round(FIRST_AT + n * width, 3), round(lasts_s, 2))
                for n, (kind, target, lasts_s) in enumerate(flat)
            ),
        )

    def save(self, path: Path) -> None:
        """Write it down, before anything of it is played."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read one back. Raises ScheduleError."""
        try:
            table: dict[str, Any] = json.loads(path.read_text("utf-8"))
            faults = tuple(Fault(**each) for each in table["faults"])
            return cls(int(table["seed"]), faults)
        except OSError as error:
            raise ScheduleError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ScheduleError(f"{path}: is no schedule ({error})") from error
