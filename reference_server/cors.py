"""Cross-origin headers (protocol §9).

An own module because every answer needs them, those included that never reach a view: a browser
hides an error without them from the page that has to show it. No credentials, no wildcard.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

ALLOWED_METHODS: Final = "GET, POST, OPTIONS"
ALLOWED_HEADERS: Final = (
    "Content-Type, X-Client-Id, Last-Event-ID, Idempotency-Key, Authorization, Cache-Control"
)
EXPOSED_HEADERS: Final = "Location, Retry-After, ETag"
VARY: Final = "Origin, Accept"
PREFLIGHT_MAX_AGE_S: Final = 600


class CorsPolicy:
    """Knows which origins may read answers, and which headers say so."""

    def __init__(self, allowed_origins: Collection[str]) -> None:
        self._allowed = frozenset(allowed_origins)

    def answer_headers(self, origin: str | None) -> dict[str, str]:
        """Headers for any answer. A foreign origin gets none that allows it anything."""
        headers = {"Vary": VARY}
        if origin in self._allowed and origin is not None:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        return headers

    def preflight_headers(self, origin: str | None) -> dict[str, str]:
        """Headers for the answer to an OPTIONS request, beside those of any answer."""
        if origin not in self._allowed:
            return {}
        return {
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
        }
