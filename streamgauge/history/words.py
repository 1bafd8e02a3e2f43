"""One plain word for each anomaly, for ledgers that count streams by what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .model import AnomalyKind

WORD_OF: Final[Mapping[AnomalyKind, str]] = {
    AnomalyKind.GAP: "lost",
    AnomalyKind.GAP_INSIDE: "lost",
    AnomalyKind.LOST_ACKNOWLEDGED: "lost",
    AnomalyKind.PHANTOM: "lost",
    AnomalyKind.DUPLICATE: "duplicate",
    AnomalyKind.TWO_TERMINALS: "duplicate",
    AnomalyKind.AFTER_TERMINAL: "duplicate",
    AnomalyKind.REORDER: "reordered",
    AnomalyKind.CURSOR_REGRESSION: "reordered",
    AnomalyKind.LAG: "reordered",
    AnomalyKind.PAYLOAD_DIVERGENCE: "diverged",
    AnomalyKind.VIEW_DIVERGENCE: "diverged",
    AnomalyKind.CROSS_JOB: "diverged",
    AnomalyKind.UNSIGNALLED_GAP: "unsignalled_gap",
    AnomalyKind.NEVER_TERMINATED: "never_terminated",
}
