"""The anomaly checker: everything that was ever shown of one job, held against itself and its log.

Each check of the catalogue sees one connection or two. Faults such as an event that one reader saw
and no log kept only show when all observations of a job are laid side by side, so that is done
here, once, for all the suites. Pure: it opens nothing, waits for nothing and raises nothing.
"""

from .checker import check
from .model import Anomaly, AnomalyKind, Entry, Gap, Key, Rules, View, canonical
from .words import WORD_OF

__all__ = [
    "WORD_OF",
    "Anomaly",
    "AnomalyKind",
    "Entry",
    "Gap",
    "Key",
    "Rules",
    "View",
    "canonical",
    "check",
]
