"""What the two searches say to a person, and how the command runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from .. import interrupt
from ..client import Client
from ..clock import RunClock
from ..profile import Profile
from ..verdict import Unable
from .buffering import Kind
from .finders import BufferFound, SilenceFound, find_buffer, find_silence
from .model import Family
from .wording import of_buffering, of_cuts

_Found = TypeVar("_Found")


def search_buffer(url: str, headers: tuple[tuple[str, str], ...], profile: Profile) -> list[str]:
    """Search for the smallest frame that passes at once; the lines to print.

    Raises:
        Unable: the search could not be made; the message says why.
    """
    return buffer_lines(_run(url, headers, lambda client: find_buffer(client, profile)))


def search_silence(
    url: str, headers: tuple[tuple[str, str], ...], profile: Profile, longest_s: float
) -> list[str]:
    """Search for the longest silence that a stream outlives; the lines to print.

    Raises:
        Unable: the search could not be made; the message says why.
    """
    found = _run(url, headers, lambda client: find_silence(client, profile, longest_s))
    return silence_lines(found, profile.declared.heartbeat_s)


def _run(
    url: str,
    headers: tuple[tuple[str, str], ...],
    search: Callable[[Client], Awaitable[_Found]],
) -> _Found:
    async def searching() -> _Found:
        client = Client(url, RunClock(), headers)
        try:
            return await search(client)
        finally:
            await client.aclose()

    return interrupt.run(searching())


def buffer_lines(found: BufferFound) -> list[str]:
    """What the search for the smallest frame found."""
    made = (
        f"({found.jobs} jobs; the smallest frame that was sent had {found.smallest_frame:,} bytes)"
    )
    buffering = found.buffering
    if not found.smallest_frame:
        raise Unable("no event with a timestamp arrived on a stream while it was open")
    if buffering is None:
        return [
            "Every event came at once, whatever its size: this path needs no padding beyond "
            f"{found.smallest_frame:,} bytes a frame.",
            f"Smaller frames could not be tried, because the target sends none {made}.",
        ]
    said = of_buffering(buffering, ())
    lines = [f"{said.what[0].upper()}{said.what[1:]} {made}.", f"Measured: {said.measured}."]
    if buffering.kind is Kind.HOLDS_BYTES:
        lines.insert(0, f"An event needs a frame of {buffering.high:,} bytes to pass at once.")
    elif buffering.kind is Kind.FULL_BLOCKS:
        lines.insert(
            0,
            f"An event passes at once in a frame that is a multiple of about {buffering.high:,} "
            "bytes, with its padding behind it.",
        )
    else:
        lines.insert(0, "No size of a frame, of those tried, gets an event through at once.")
    return [*lines, f"To change: {said.advice}"]


def silence_lines(found: SilenceFound, heartbeat_s: float) -> list[str]:
    """What the search for the longest silence found."""
    lines = []
    cuts = found.cuts
    if cuts is not None and cuts.family is Family.IDLE_CUT:
        said = of_cuts(cuts, ())
        lines.append(f"Streams are cut after {cuts.seconds:g} s without a byte. {said.advice}")
    elif cuts is not None:
        said = of_cuts(cuts, ())
        lines.append(
            f"Streams are cut at the age of {cuts.seconds:g} s, silent or not. {said.advice}"
        )
    elif found.cut:
        lines.append(
            f"{found.cut} of the streams were cut in a silence, but not after the same time: no "
            "limit can be told from that."
        )
    else:
        lines.append(f"No stream was cut: this path bears a silence of {found.survived_s:.1f} s.")
        if found.survived_s < 0.9 * found.wanted_s:
            lines.append(
                f"Longer ones (up to {found.wanted_s:g} s) could not be tried: the target's own "
                f"heartbeats, declared every {heartbeat_s:g} s, break them. To find the path's "
                "limit, set the target's heartbeat interval higher for the search."
            )
    if found.held_poll_s is not None:
        lines.append(f"A held answer came after {found.held_poll_s:.1f} s without a byte.")
    if found.idle_connection_s is not None:
        lines.append(
            "A connection on which nothing was asked was closed after "
            f"{found.idle_connection_s:.1f} s. That is the keep-alive timer, not a stream's limit."
        )
    return lines
