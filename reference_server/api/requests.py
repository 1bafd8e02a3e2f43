"""What the views share: checked job ids, negotiated media types, uniform JSON answers."""

from __future__ import annotations

import re
from typing import Final

from quart import Response, request

from ..events import to_json
from ..negotiation import accepts
from ..problems import Problem

JSON: Final = "application/json"
_JOB_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UNKNOWN_JOB: Final = "There is no such job, or it is no longer kept."


def require_job_id(raw: str) -> str:
    """The job id of the path; an id that cannot be one is as unknown as any other (404)."""
    if _JOB_ID.fullmatch(raw) is None:
        raise unknown_job()
    return raw


def unknown_job() -> Problem:
    """404 for a job."""
    return Problem(404, _UNKNOWN_JOB)


def require_acceptable(media_type: str) -> None:
    """Raise Problem 406 where the client's Accept header has no room for `media_type`."""
    if not accepts(request.headers.getlist("Accept"), media_type):
        raise Problem(406, f"This resource offers {media_type} only.")


def json_answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A small JSON answer that nobody may store."""
    return Response(
        to_json(body),
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        content_type=JSON,
    )
