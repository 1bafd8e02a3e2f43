"""What experiments need of a deployment, and a running one that is not ours.

A deployment of the user's own is broken by the hooks of its profile, whose words no shell reads. It
has to take scripted jobs (protocol §10): nobody knows how long the log of another job should be.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from streamgauge.profile import INSTANCE, Hooks

from .faults import MENDED_BY
from .services import ServiceFailed

HOOK_S: Final = 60.0
SAID_CHARS: Final = 200
OF_A_SERVICE: Final = ("stop", "start")


class Served(Protocol):
    """What readers of a stream have to know."""

    @property
    def heartbeat_s(self) -> float:
        """A stream is never silent for longer."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request carries."""


class Deployment(Served, Protocol):
    """Something that serves jobs, and can be broken and mended."""

    @property
    def url(self) -> str:
        """Where its readers come first."""

    @property
    def entrances(self) -> Sequence[str]:
        """Where its readers come back, one or the other."""

    @property
    def urls(self) -> Sequence[str]:
        """Where each instance is found."""

    @property
    def lease_s(self) -> float:
        """After so long a job of an instance that has died may be taken over."""

    @property
    def about(self) -> str:
        """What it is made of."""

    def obey(self, command: str) -> str:
        """Carry out a command of `chaos.faults`. Raises ServiceFailed, ValueError."""

    def heal(self) -> list[str]:
        """Mend whatever is broken; returns what could not be mended."""

    async def aclose(self) -> None:
        """End what was started for it."""


@dataclass(slots=True)
class Running:
    """The user's own deployment."""

    url: str
    urls: Sequence[str]
    lease_s: float
    hooks: Hooks
    heartbeat_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    _broken: dict[str, str] = field(default_factory=dict)
    """What mends what is broken now, by what it mends."""

    @property
    def entrances(self) -> Sequence[str]:
        return self.urls

    @property
    def about(self) -> str:
        count = len(self.urls)
        return f"{count} instance{'' if count == 1 else 's'} of your own"

    def obey(self, command: str) -> str:
        what, target = command.split()
        if what == "roll":
            return "".join(self.obey(f"restart {n}") for n in range(1, len(self.urls) + 1))
        # Before it is broken: a hook that fails half-way has broken it all the same.
        if what in MENDED_BY:
            self._broken[target] = f"{MENDED_BY[what]} {target}"
        said = self._call(what, target)
        if what not in MENDED_BY:
            self._broken.pop(target, None)
        return said

    def heal(self) -> list[str]:
        troubles = []
        for command in tuple(self._broken.values()):
            try:
                self.obey(command)
            except (ServiceFailed, ValueError) as error:
                troubles.append(str(error))
        return troubles

    async def aclose(self) -> None:
        """It is not ours to end, only to mend."""
        await asyncio.shield(asyncio.create_task(asyncio.to_thread(self.heal)))

    def _call(self, what: str, target: str) -> str:
        name = f"{what}_{target}" if what in OF_A_SERVICE else what
        words: tuple[str, ...] = getattr(self.hooks, name, ())
        if not words:
            raise ValueError(f"the profile has no hook {name!r}")
        try:
            done = subprocess.run(
                [word.replace(INSTANCE, target) for word in words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=HOOK_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServiceFailed(f"the hook {name!r} cannot be run: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().rpartition("\n")[2][:SAID_CHARS]
            raise ServiceFailed(
                f"the hook {name!r} ended with exit code {done.returncode}: {said or 'no word'}"
            )
        return done.stdout.strip()
