"""The faults of a link: Toxiproxy's toxics, with the strength that experiments give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DOWN: Final = "down"
DOWNSTREAM: Final = "downstream"
UPSTREAM: Final = "upstream"


@dataclass(frozen=True, slots=True)
class Toxic:
    """One fault of a link."""

    type: str
    """One of Toxiproxy's, or `down`: it takes no connections and ends those that there are."""
    attributes: Mapping[str, int]
    stream: str = DOWNSTREAM
    """`downstream`: from the server to who asked it; `upstream`: the other way."""


#: Strong enough to be seen by readers of 4 KiB events thirty times a second.
_OF_STREAMS: Final[Mapping[str, Toxic]] = {
    "latency": Toxic("latency", {"latency": 400, "jitter": 200}),
    "bandwidth": Toxic("bandwidth", {"rate": 32}),
    "slow_close": Toxic("slow_close", {"delay": 1500}),
    "timeout": Toxic("timeout", {"timeout": 0}),
    "reset_peer": Toxic("reset_peer", {"timeout": 0}),
    "slicer": Toxic("slicer", {"average_size": 256, "size_variation": 128, "delay": 3000}),
    "limit_data": Toxic("limit_data", {"bytes": 24_000}),
    DOWN: Toxic(DOWN, {}),
}
#: An append or a wake-up is a few hundred bytes. How slowly an unused connection of theirs closes,
#: no reader ever sees.
_OF_SERVICES: Final[Mapping[str, Toxic]] = {
    **{name: toxic for name, toxic in _OF_STREAMS.items() if name != "slow_close"},
    "bandwidth": Toxic("bandwidth", {"rate": 0}),  # a pause that loses nothing
    "slicer": Toxic("slicer", {"average_size": 16, "size_variation": 8, "delay": 20_000}, UPSTREAM),
    "limit_data": Toxic("limit_data", {"bytes": 1000}),
}
NAMES: Final = tuple(_OF_STREAMS)
SERVICES: Final = ("store", "broker")


def toxics(link: str) -> Mapping[str, Toxic]:
    """What can be done to a link, by its name or that of its group."""
    return _OF_SERVICES if link.partition("-")[0] in SERVICES else _OF_STREAMS
