"""What bounds a run from outside: how many jobs it may start, how long it may take, when it begins.

A limit is the user's, and never held against the target: what it leaves out is *not run*, what it
cuts off in the middle could not be tested, and both say which limit it was.
"""

from __future__ import annotations

import asyncio

from .client import Client
from .recording import End, Recording
from .verdict import Unable

CUT_SHORT = "cut short"
"""Begins the reason of a bundle whose scenario was ended by the run, not by the target."""
NOT_BEGUN = "not begun"
"""Begins the reason of a bundle whose scenario a limit of the user's left out."""
LEFT_OUT = "left out"
"""Begins what is known of an optional part that a limit kept from being looked for."""
READY_EVERY_S = 0.5
READY_ASK_S = 5.0
_STARTING = (502, 503, 504)
"""What a gateway answers while there is nothing behind it yet."""


class Jobs:
    """The starts that a run still has. A start counts from the moment in which it is sent."""

    def __init__(self, most: int = 0) -> None:
        """`most`: 0 for no limit."""
        self.most = most
        self._taken = 0
        self._known: set[str] = set()

    @property
    def left(self) -> int:
        return self.most - self._taken

    @property
    def limited(self) -> bool:
        return self.most > 0

    def take(self) -> None:
        """Use one start up.

        Raises:
            Unable: there is none left.
        """
        if self.limited and self.left <= 0:
            raise Unable(f"{CUT_SHORT}: --max-jobs {self.most} is used up")
        self._taken += 1

    def settle(self, answer: Recording) -> None:
        """Take a start back that made no job: it was refused, or answered with a known one."""
        body = answer.json
        job = str(body.get("job_id", "")) if isinstance(body, dict) else ""
        refused = answer.status is not None and 400 <= answer.status < 500
        if refused or answer.end is End.REFUSED or job in self._known:
            self._taken -= 1
        elif job:
            self._known.add(job)


class Limits:
    """Decides which scenarios may begin, those that serve most checks first."""

    def __init__(self, jobs: Jobs, budget_s: float) -> None:
        self._jobs = jobs
        self._budget_s = budget_s
        self._left: int | None = None
        """Starts that are promised to nobody, counted when the first scenario asks."""

    @property
    def any(self) -> bool:
        return self._jobs.limited or self._budget_s > 0

    def refuse(self, jobs: int, lasts_s: float, left_s: float) -> str:
        """Why a scenario is not begun, "" where it may; its jobs are then promised to it.

        Args:
            jobs: how many it starts at most.
            lasts_s: how long it takes.
            left_s: what is left of the run.
        """
        if self._budget_s and lasts_s > left_s:
            return (
                f"{NOT_BEGUN}: it takes about {lasts_s:.0f} s, and --budget {self._budget_s:g} "
                f"leaves {left_s:.0f} s"
            )
        left = self._jobs.left if self._left is None else self._left
        if self._jobs.limited and jobs > left:
            return (
                f"{NOT_BEGUN}: it starts up to {jobs} job{'s' if jobs != 1 else ''}, and "
                f"--max-jobs {self._jobs.most} leaves {max(left, 0)}"
            )
        self._left = left - jobs
        return ""


async def until_ready(client: Client, within_s: float) -> str:
    """Ask the target's address until it answers HTTP.

    Returns:
        What was seen instead, "" where it answered. A gateway's 502 to 504 is no answer.
    """
    deadline = client.clock.now() + within_s
    while True:
        left = deadline - client.clock.now()
        answer = await client.ask(
            "GET", "/", label="ready", bound_s=max(0.1, min(READY_ASK_S, left))
        )
        if answer.answered and answer.status not in _STARTING:
            return ""
        seen = f"it answers {answer.status}" if answer.answered else answer.error or "no answer"
        if client.clock.now() + READY_EVERY_S >= deadline:
            return f"{client.base_url}: not ready within {within_s:g} s ({seen})"
        await asyncio.sleep(READY_EVERY_S)
