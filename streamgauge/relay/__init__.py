"""The suite's own deterministic proxy, and how exchanges go through it."""

from .passage import Passage, Via
from .powers import Powers
from .relay import EXCHANGE_HEADER, MOVED, Relay

__all__ = ["EXCHANGE_HEADER", "MOVED", "Passage", "Powers", "Relay", "Via"]
