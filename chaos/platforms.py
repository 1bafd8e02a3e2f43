"""What known platforms do to streams, done to the target: which guarantee survives on which.

The facts are those that explanations are drawn from (`streamgauge/explain/platforms.toml`). Ages
are scaled down, so that a cap of minutes is met within seconds; a silence is scaled only as far as
the target's own heartbeat, because a shorter one would cut what that platform never cuts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streamgauge.explain.platforms import Platform, platforms
from streamgauge.relay import Powers, Relay

from .crowd import Seen, watch
from .deployment import Deployment
from .trial import Size

CHOSEN: Final = (
    "cloud-run",
    "gcp-alb",
    "nginx",
    "aws-alb",
    "heroku",
    "cloudflare",
    "railway",
    "vercel",
)
SCALE: Final = 100
CAP_MIN_S: Final = 2.0
HEARTBEATS: Final = 1.5
"""The shortest silence that is cut, in heartbeats of the target."""
HOLD_BYTES: Final = 4096
IN_TIME_S: Final = 1.0
RESUMED_S: Final = 3.0
GUARANTEES: Final = ("in time", "whole", "once", "to the end", "resumes")


@dataclass(frozen=True, slots=True)
class Row:
    """One platform of the matrix."""

    platform: Platform
    powers: Powers
    seen: Seen

    @property
    def kept(self) -> dict[str, bool]:
        """Guarantee -> whether it held."""
        told = self.seen.ledger.counts
        return {
            "in time": self.seen.age_p95_s < IN_TIME_S,
            "whole": not told["lost"] and not told["unsignalled_gap"],
            "once": not told["duplicate"] and not told["reordered"],
            "to the end": not told["stuck"] and not told["never_terminated"],
            "resumes": self.seen.resume_lag_s < RESUMED_S,
        }

    @property
    def passes(self) -> bool:
        return self.seen.ledger.clean and all(self.kept.values())


def powers(platform: Platform, heartbeat_s: float) -> Powers:
    """What the platform does, scaled."""
    cap_s = min(platform.cap_s, default=0.0) / SCALE
    idle_s = min(platform.idle_s, default=0.0) / SCALE
    block = min(platform.block_bytes, default=HOLD_BYTES)
    return Powers(
        cap_s=max(cap_s, CAP_MIN_S) if cap_s else 0.0,
        idle_s=max(idle_s, HEARTBEATS * heartbeat_s) if idle_s else 0.0,
        block_bytes=block if "full_blocks" in platform.buffers else 0,
        hold_bytes=HOLD_BYTES if platform.buffers == ("holds_bytes",) else 0,
    )


async def play(target: Deployment, seed: int, names: Sequence[str] = CHOSEN) -> list[Row]:
    """Three jobs, each with a silence of two heartbeats, read behind every platform at once.

    Raises httpx.HTTPError.
    """
    heartbeat_s = target.heartbeat_s
    known: Mapping[str, Platform] = {platform.id: platform for platform in platforms()}
    size = Size(readers=1, events=200, pauses=((100, 2000 * heartbeat_s),))
    async with AsyncExitStack() as stack:
        done = {name: powers(known[name], heartbeat_s) for name in names}
        parts = urlsplit(target.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        ways = {
            name: (await stack.enter_async_context(Relay(origin, power))).address + parts.path
            for name, power in done.items()
        }
        seen = await watch(target.url, ways, (size,) * 3, seed, target)
    return [Row(known[name], done[name], seen[name]) for name in names]
