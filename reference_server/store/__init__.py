"""Where logs live. `base.py` says what a store must do; each backend is one module or package."""

from __future__ import annotations

from .base import (
    Claim,
    Created,
    Fenced,
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
