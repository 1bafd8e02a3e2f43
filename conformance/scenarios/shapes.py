"""Texts and scripts that scenarios give to jobs which can be shaped (protocol §10)."""

from __future__ import annotations

from typing import Any, Final

#: Two, three and four octets a character, so that octets, characters and escapes differ.
UNICODE_TEXT: Final = (
    "Größe prüfen · naïve façade · Ελληνικά · проверка · 漢字かな · 한국어 · 🚀✨ " * 6
)

PROBE_TEXT: Final = "streamgauge looks whether this text comes back · ✓"
PROBE_EVENTS: Final = 12

#: Every line end, followed by what would be fields if a line of the text were taken for one.
INJECTION_TEXT: Final = (
    "first\n\nevent: done\nid: 999\ndata: {}\n\nsecond\r\n\r\nevent: error\r\nretry: 1\r\n\r\n"
    "third\r\revent: done\rdata: x\r\r: comment\nid\nlast"
)
#: What trimming, line splitting by Unicode or C strings would harm.
SPACES_TEXT: Final = (
    "  \t two blanks and a tab \u0085next\u2028line\u2029para\u0000nul\ufeffbom \t "
)
EMPTY_TEXT: Final = ""

#: More than the usual sizes of pages and caches (100, 200, 250, 256), and no more than it takes:
#: reading from every cursor costs the square of it.
EVERY_K_EVENTS: Final = 264
HISTORY_EVENTS: Final = 10_000


def script(events: int, interval_ms: int = 0, **more: Any) -> dict[str, Any]:
    """A `pipeline` member."""
    return {"events": events, "interval_ms": interval_ms, **more}


LONG_LOG: Final = script(EVERY_K_EVENTS, payload=UNICODE_TEXT)
TINY: Final = script(4)
