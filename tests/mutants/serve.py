"""`python -m tests.mutants.serve NAME`: one broken server, in a process of its own, on a free port.

The patch is applied before the server's modules take each other's names, so that it reaches all of
them. With MUTANT_WATCH=1 the process ends with whoever holds its standard input.
"""

from __future__ import annotations

import os
import sys
import threading

from .catalog import subject
from .model import Control, NullTarget


def main(arguments: list[str]) -> int:
    """Serve; returns the process's exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tests.mutants.serve NAME\n")
        return 2
    chosen = subject(arguments[0])
    if os.environ.get("MUTANT_WATCH"):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if isinstance(chosen, NullTarget):
        return chosen.serve()
    if not isinstance(chosen, Control):
        # A stream's task must write all there is: most patches change what it writes.
        os.environ.setdefault("DIRECT_WRITES", "0")
    chosen.patch()
    from reference_server.__main__ import main as serve

    return serve()


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
