"""`python -m reference_server`: settings from the environment, one line when it listens.

Exit codes: 0 after SIGTERM or SIGINT, 2 where the environment cannot be used, 1 for anything else.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from typing import Final

from .app import build_parts
from .edge import UnsupportedHypercorn, check_hypercorn
from .logs import configure_logging
from .serving import CannotListen, open_socket, serve
from .settings import Settings, SettingsError
from .store.base import SchemaTooNew, StoreUnavailable

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_UNUSABLE: Final = 2


def main() -> int:
    """Run the server; returns the process's exit code."""
    try:
        settings = Settings.from_env(os.environ)
        configure_logging(settings.log_level)
        check_hypercorn()
        sock = open_socket(settings)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, build_parts(settings), sock))
    except SettingsError as error:
        return _unusable(error.problems)
    except (CannotListen, SchemaTooNew, StoreUnavailable, UnsupportedHypercorn) as error:
        return _unusable([str(error)])
    except Exception:
        logging.getLogger(__name__).critical("server failed", exc_info=True)
        return EXIT_FAILED
    return EXIT_OK


def _unusable(problems: list[str]) -> int:
    for problem in problems:
        sys.stderr.write(f"reference_server: {problem}\n")
    return EXIT_UNUSABLE


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed."""
    try:
        import uvloop  # noqa: PLC0415  optional
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
