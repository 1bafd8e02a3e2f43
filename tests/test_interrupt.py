"""The rules of `interrupt`: both signals end a run in order, whatever it is just doing."""

from __future__ import annotations

import asyncio
import signal

import pytest

from streamgauge.interrupt import run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_raises_in_nobodys_midst(number: signal.Signals) -> None:
    """If a signal comes while some task runs, then that task goes on to its next wait."""
    said: list[str] = []

    async def busy() -> None:
        signal.raise_signal(number)
        said.append("went on")
        try:
            await asyncio.sleep(10.0)
        finally:
            said.append("cleaned up")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(busy())

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert said == ["went on", "cleaned up"]


def test_what_stood_before_stands_after() -> None:
    """When the loop is over, SIGTERM means again what it meant before."""
    before = signal.getsignal(signal.SIGTERM)

    async def work() -> int:
        assert signal.getsignal(signal.SIGTERM) is not before
        return 3

    assert run(work()) == 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cancellation_of_its_own_is_none_of_ours() -> None:
    """If the work cancels itself, then nobody has interrupted it."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(work())
