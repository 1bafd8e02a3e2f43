"""What a run is waiting for, on the screen, so that no long run looks like one that hangs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


class Progress:
    """One line that says what is being waited for and for how long; plain lines in a log file."""

    PLAIN_EVERY_S = 10.0

    def __init__(self, *, quiet: bool) -> None:
        self._live = sys.stderr.isatty()
        self._quiet = quiet
        self._next = self.PLAIN_EVERY_S
        self._shown = False

    def show(self, waiting: Mapping[str, tuple[str, float]], now: float) -> None:
        if self._quiet or not waiting:
            return
        longest = max(waiting.values(), key=lambda item: item[1])
        left = max(0.0, longest[1] - now)
        also = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        for_ = f", {left:.0f} s to go" if left else ""
        line = f"{now:4.0f} s  waiting for: {longest[0]}{for_}{also}"
        if self._live:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            sys.stderr.write("\r\x1b[K" + line[: columns - 1])
            sys.stderr.flush()
            self._shown = True
        elif now >= self._next:
            self._next = now + self.PLAIN_EVERY_S
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
