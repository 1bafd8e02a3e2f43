"""Everything a run says to the outside: the report folder and the summary on the screen.

It exists apart from the instrument so that no output can influence a verdict: a report is a pure
function of a finished `RunResult`. Nothing here judges, and nothing here speaks to a network.
"""

from __future__ import annotations

from .files import write_report
from .terminal import terminal_summary

__all__ = ["terminal_summary", "write_report"]
