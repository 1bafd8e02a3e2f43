"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let Ctrl-C interrupt: a shell's background ignores it, and every run would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
