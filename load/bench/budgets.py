"""What the figures have to be. A budget whose other side was not measured is left out and named."""

from __future__ import annotations

from typing import Final

from . import parts, stores, whole
from .figures import Budget
from .parts import BURST, fanout_name
from .subjects import AXUM, LOOP, NCHAN, REFERENCE, REFERENCE_SQLITE, SSE_STARLETTE

_ONE = tuple(fanout_name(1, readers) for readers in (200, 1000))
_BURSTS = fanout_name(BURST, 200)

BUDGETS: Final = (
    *(Budget(one, REFERENCE, at_most=1.1, against=NCHAN) for one in _ONE),
    *(Budget(one, REFERENCE, at_most=1.1, against=AXUM) for one in _ONE),
    *(Budget(one, REFERENCE, at_most=0.25, against=SSE_STARLETTE) for one in _ONE),
    Budget(_BURSTS, REFERENCE, at_most=0.5, against=NCHAN),
    Budget(_BURSTS, REFERENCE, at_most=0.8, against=AXUM),
    Budget(_BURSTS, REFERENCE, at_most=1.6, against=LOOP),
    Budget(parts.LATENCY_P50, REFERENCE, at_most=1.1, against=NCHAN),
    Budget(parts.LATENCY_P50, REFERENCE, at_most=0.4, against=SSE_STARLETTE),
    Budget(parts.LATENCY_P99, REFERENCE, at_most=1.5, against=NCHAN),
    Budget(parts.REPLAY_HOT, REFERENCE, at_least=10, against=SSE_STARLETTE),
    Budget(parts.REPLAY_HOT, REFERENCE, at_least=12, against=NCHAN),
    Budget(parts.REPLAY_HOT, REFERENCE, at_least=0.8, against=AXUM),
    Budget(parts.REPLAY_COLD, REFERENCE_SQLITE, at_least=5, against=SSE_STARLETTE),
    Budget(parts.MEMORY, REFERENCE, at_most=0.6, against=SSE_STARLETTE),
    Budget(stores.RATE, stores.SHARED, at_least=12, against=stores.SINGLE),
    Budget(stores.WAIT_P99, stores.SHARED, at_most=10),
    Budget(stores.FANOUT_RATE, REFERENCE_SQLITE, at_least=0.85, against=REFERENCE),
    Budget(whole.CROWD_ODD, REFERENCE, at_most=0),
    Budget(whole.CROWD_P99, REFERENCE, at_most=1000),
    Budget(whole.CROWD_GROWTH, REFERENCE, at_most=whole.GROWTH_MAX_MIB),
    Budget(whole.SUITE_WAITS, REFERENCE_SQLITE, at_most=1.25),
)
