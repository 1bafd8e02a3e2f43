"""The faults of a link: Toxiproxy's toxics, with the strength that experiments give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DOWN: Final = "down"
DOWNSTREAM: Final = "downstream"


@dataclass(frozen=True, slots=True)
class Toxic:
    """One fault of a link."""

    type: str
    """One of Toxiproxy's, or `down`: it takes no connections and ends those that there are."""
    attributes: Mapping[str, int]
    stream: str = DOWNSTREAM
    """`downstream`: from the server to who asked it; `upstream`: the other way."""


#: Strong enough to be seen by readers of 4 KiB events thirty times a second.
TOXICS: Final[Mapping[str, Toxic]] = {
    "latency": Toxic("latency", {"latency": 400, "jitter": 200}),
    "bandwidth": Toxic("bandwidth", {"rate": 32}),
    "slow_close": Toxic("slow_close", {"delay": 1500}),
    "timeout": Toxic("timeout", {"timeout": 0}),
    "reset_peer": Toxic("reset_peer", {"timeout": 0}),
    "slicer": Toxic("slicer", {"average_size": 256, "size_variation": 128, "delay": 3000}),
    "limit_data": Toxic("limit_data", {"bytes": 24_000}),
    DOWN: Toxic(DOWN, {}),
}
