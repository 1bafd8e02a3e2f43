"""Where logs live. `base.py` says what a store must do; each backend is a module with its helpers.

The PostgreSQL store is not named here: it needs a package that only its users install.
"""

from __future__ import annotations

from .base import (
    Claim,
    Created,
    Fenced,
    HeadMoved,
    KeyReused,
    NewRun,
    QuotaExceeded,
    Repeated,
    Run,
    SchemaTooNew,
    StartOutcome,
    Store,
    StoreUnavailable,
)
from .memory import MemoryStore
from .sqlite import SqliteStore

__all__ = [
    "Claim",
    "Created",
    "Fenced",
    "HeadMoved",
    "KeyReused",
    "MemoryStore",
    "NewRun",
    "QuotaExceeded",
    "Repeated",
    "Run",
    "SchemaTooNew",
    "SqliteStore",
    "StartOutcome",
    "Store",
    "StoreUnavailable",
]
