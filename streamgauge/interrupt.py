"""End a loop in order when the process is told to end: SIGTERM counts as Ctrl-C does.

A handler that raises does so wherever the loop just is, in the middle of a task that nobody awaits
any more; its traceback is then all that the user sees. Cancelling lets every part clean up.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """As `asyncio.run`, of the main thread.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; `work` was cancelled and has cleaned up.
    """
    before = signal.getsignal(signal.SIGTERM)
    told = False

    async def main() -> _Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def tell(*_: object) -> None:
            nonlocal told
            told = True
            loop.call_soon_threadsafe(task.cancel)

        signal.signal(signal.SIGTERM, tell)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
