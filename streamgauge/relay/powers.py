"""What the relay can do to an exchange, as plain data, and how that is said in words.

Powers compose: they act in the order in which real things stand between a target and its reader.
First what answers in the target's place, then what compresses, then what holds back, then the
network, and last what ends a connection. Nothing here does anything; `stages` and `relay` do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """All that may happen to one exchange; by default nothing does.

    Bytes are those of the answer's body as the client gets it, transfer coding removed. `None` and
    0 mean that a power is not used; for a cut, 0 is a cut before the first byte.
    """

    # In the target's place.
    answer: int = 0
    """Answer with this status, and do not ask the target."""
    retry_after: str = ""
    """The Retry-After of such an answer."""
    redirect: int = 0
    """Answer with this status and a Location on this relay, where the target is asked."""
    cache: bool = False
    """Keep and reuse answers as RFC 9111 allows a shared cache to."""

    # To the heads.
    lower_case: bool = False
    """Send the request's field names in lower case, as everything behind HTTP/2 does."""
    strip: tuple[str, ...] = ()
    """Fields of the answer's head that are taken away."""

    # To the body.
    gzip: bool = False
    """Compress what may be compressed, without ever flushing before the end."""
    honour_accel: bool = False
    """Hold all back until the end, unless the answer has `X-Accel-Buffering: no`."""
    hold_bytes: int = 0
    """Hold back until there are so many bytes, then pass all of them on."""
    block_bytes: int = 0
    """Pass on only full blocks of so many bytes."""
    hold_all: bool = False
    """Hold all back until the end."""

    # To the network.
    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more, drawn from `seed`; the order of bytes is kept."""
    seed: int = 0
    coalesce_s: float = 0.0
    """Collect for so long what comes, and write it at once."""
    slice_bytes: int = 0
    """Write at most so many bytes at a time."""
    bytes_per_s: float = 0.0
    """Limit the bandwidth."""
    stall_after: int | None = None
    """After so many bytes neither read nor write, and leave everything open."""

    # To the connection.
    cut_after: int | None = None
    """End the connection after exactly so many bytes."""
    cut_events: int | None = None
    """End it directly behind the empty line that dispatches this event, control events counted."""
    cut_before_id: bool = False
    """End it where the next byte would dispatch the first block that has an id."""
    reset: bool = False
    """A cut is a reset (RST) and not an orderly close."""
    idle_s: float = 0.0
    """End it when the target has sent nothing for so long."""
    cap_s: float = 0.0
    """End it so long after the request, whatever is being sent."""
    slow_close_s: float = 0.0
    """Wait so long before passing the target's end on."""

    @property
    def cuts(self) -> bool:
        return self.cut_before_id or (self.cut_after, self.cut_events) != (None, None)

    @property
    def words(self) -> str:
        """What stands between target and client, for reports."""
        return "a proxy that " + (", ".join(self._words()) or "changes nothing")

    def _words(self) -> Iterator[str]:
        if self.answer:
            yield f"answers {self.answer}"
        if self.redirect:
            yield f"redirects with {self.redirect}"
        if self.cache:
            yield "caches"
        if self.lower_case:
            yield "writes field names in lower case"
        if self.strip:
            yield f"takes away {', '.join(self.strip)}"
        if self.gzip:
            yield "compresses unless told not to"
        if self.honour_accel:
            yield "buffers unless X-Accel-Buffering says no"
        if self.hold_bytes:
            yield f"holds back until it has {self.hold_bytes} bytes"
        if self.block_bytes:
            yield f"passes on only full blocks of {self.block_bytes} bytes"
        if self.hold_all:
            yield "holds all back until the end"
        yield from self._network_words()

    def _network_words(self) -> Iterator[str]:
        if self.latency_s or self.jitter_s:
            yield f"delays by {self.latency_s * 1000:g} ms + up to {self.jitter_s * 1000:g} ms"
        if self.coalesce_s:
            yield f"collects for {self.coalesce_s * 1000:g} ms"
        if self.slice_bytes:
            yield f"writes slices of {self.slice_bytes} bytes"
        if self.bytes_per_s:
            yield f"passes {self.bytes_per_s:g} bytes per second"
        if self.stall_after is not None:
            yield f"stalls after {self.stall_after} bytes"
        end = "resets" if self.reset else "cuts"
        if self.cut_after is not None:
            yield f"{end} after {self.cut_after} bytes"
        if self.cut_events is not None:
            yield f"{end} after {self.cut_events} events"
        if self.cut_before_id:
            yield f"{end} before the first id"
        if self.idle_s:
            yield f"cuts after {self.idle_s:g} s without a byte"
        if self.cap_s:
            yield f"cuts {self.cap_s:g} s after the request"
        if self.slow_close_s:
            yield f"closes {self.slow_close_s:g} s late"
