"""Why a delivery or a lifetime went wrong: buffering, an idle cut, an age cap, a broken resume.

It exists because sixty failures often have one cause, which stands between the server and its users
and which no single check can name. Everything here is a pure function of what a run recorded; where
the recordings do not suffice, no cause is named.
"""

from __future__ import annotations

from .diagnosis import explain
from .model import Cause, Explanation, Family, PlatformHint, Sureness

__all__ = ["Cause", "Explanation", "Family", "PlatformHint", "Sureness", "explain"]
