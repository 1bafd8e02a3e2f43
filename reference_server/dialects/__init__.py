"""The shapes of three other systems, served over the same jobs and the same log (protocol §12).

They exist so that each bundled profile of streamgauge has something real to run against. Each is
one small module that says how its starts, streams and events look; jobs, ids, leases and replay are
those of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .article import article_routes
from .quiz import quiz_routes
from .sessions import session_routes

if TYPE_CHECKING:
    from ..app import Parts
    from ..settings import Settings

__all__ = ["dialect_routes"]

Route = tuple[str, str, Callable[..., object]]


def dialect_routes(settings: Settings, parts: Parts) -> list[Route]:
    """Method, path and view of everything that the chosen dialects answer."""
    known = {
        "resume-agent": session_routes,
        "quiz": quiz_routes,
        "article-summarizer": article_routes,
    }
    return [route for name in settings.dialects for route in known[name](settings, parts)]
