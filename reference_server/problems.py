"""Every error as `application/problem+json` (RFC 9457, protocol §1 "Errors").

Views raise Problem; the handlers here also translate what Quart, werkzeug and the store raise. The
text of an answer is written in this package only: an exception's own text never reaches a client.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from quart import Quart, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from .cursors import ParameterError
from .store.base import StoreUnavailable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_S: Final = 2
_LOG: Final = logging.getLogger(__name__)

#: What is said where the error itself carries no sentence of ours.
_DETAILS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood.",
    404: "There is nothing here.",
    405: "This resource does not support that method.",
    406: "The Accept header excludes what this resource offers.",
    408: "The request body took too long to arrive.",
    413: "The request body is larger than 1 MiB.",
    415: "The request body must be JSON in UTF-8.",
    417: "Only the expectation 100-continue can be met.",
    431: "The request header section is too large.",
    500: "The server failed to handle the request.",
}


class Problem(Exception):
    """An error answer. `detail` and `errors` are shown to the client."""

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail if detail is not None else _DETAILS.get(status, "")
        self.errors = errors
        self.headers = {"Cache-Control": "no-store", **(headers or {})}

    def body(self) -> bytes:
        """The problem document."""
        document: dict[str, object] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [
                {"detail": detail, "pointer": pointer} for pointer, detail in self.errors
            ]
        return json.dumps(document).encode()


def unavailable(detail: str) -> Problem:
    """503 that says when to come back."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def problem_response(problem: Problem) -> Response:
    """The problem as an answer."""
    return Response(
        problem.body(),
        status=problem.status,
        headers=problem.headers,
        content_type=MEDIA_TYPE,
    )


def install_error_handlers(app: Quart) -> None:
    """Make every error of this app a problem document."""
    app.register_error_handler(Problem, _on_problem)
    app.register_error_handler(ParameterError, _on_parameter_error)
    app.register_error_handler(StoreUnavailable, _on_store_unavailable)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(Exception, _on_exception)


async def _on_problem(problem: Problem) -> Response:
    return problem_response(problem)


async def _on_parameter_error(error: ParameterError) -> Response:
    return problem_response(Problem(400, str(error)))


async def _on_store_unavailable(error: StoreUnavailable) -> Response:
    _LOG.warning("store unavailable", extra={"error": type(error).__name__})
    return problem_response(unavailable("The store cannot be reached at the moment."))


async def _on_http_exception(error: HTTPException) -> Response:
    """Routing errors and what Quart raises while it reads a body."""
    headers = {}
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(sorted({*(error.valid_methods or ()), "OPTIONS"}))
    return problem_response(Problem(error.code or 500, headers=headers))


async def _on_exception(error: Exception) -> Response:
    _LOG.error("request failed", exc_info=error)
    return problem_response(Problem(500))
