"""What all scenarios of a run share: the target, what was found of it, who waits for what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from .client import Client, LiveExchange
from .job import Given, Job
from .limits import Jobs
from .profile import Profile
from .recording import Recording
from .relay import Passage


@dataclass(slots=True)
class Shared:
    """What all scenarios of a run have in common."""

    client: Client
    profile: Profile
    long: bool
    deadline: float
    """On the run's clock: nothing is waited for beyond it."""
    instances: tuple[Client, ...] = ()
    browser: bool = False
    """A real browser may be started."""
    shaped: bool = False
    """Jobs can be scripted; otherwise all work is done on natural jobs."""
    found: dict[str, str] = field(default_factory=dict)
    """Optional part -> "" where it was found, else what was seen instead."""
    natural: Job | None = None
    """The job that unshaped scenarios share, and its reader from the first moment."""
    natural_reader: LiveExchange | None = None
    heavy: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by a scenario while it moves so much that others' timing would suffer beside it."""
    calm: bool = False
    """Only patient scenarios are left."""
    given: Given | None = None
    """The job that the user named, where none may be started."""
    gatekeeper: asyncio.Task[None] | None = None
    """Answers what the natural job asks for, so that it goes on."""
    gate_answers: list[Recording] = field(default_factory=list)
    jobs: Jobs = field(default_factory=Jobs)
    """The starts that are left."""
    silent: str = ""
    """Why nothing more is expected of the target's own jobs: the first showed no event."""
    gone: str = ""
    """What was seen when the target had gone away."""
    waiting: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Scenario -> what it waits for, until when: the progress line."""
    passage: Passage | None = None
    """The way through the relay, once a scenario has asked for it."""

    def has(self, part: str) -> bool:
        """Whether an optional part may be used: not declared absent, and found."""
        if part == "cancel" and not self.profile.api.cancel:
            return False
        return getattr(self.profile.capabilities, part) is not False and not self.found.get(
            part, ""
        )

    def one_reader(self) -> str:
        """Why a job can have one reader only, once and from its start; "" where it can have more.

        Where nobody gets the log again, further readers may even take events from the first.
        """
        if self.profile.capabilities.join is False:
            return self.profile.says("capabilities.join")
        replay, resume = self.found.get("replay", ""), self.found.get("resume", "")
        return replay if replay and resume else ""
