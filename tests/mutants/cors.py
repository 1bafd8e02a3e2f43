"""Servers whose answers a page cannot read, or that every page can."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .model import Mutant


def _answers(change: Callable[[str | None, dict[str, str]], None]) -> None:
    """Change the CORS headers of every answer: `change(origin, headers)`."""
    from reference_server.cors import CorsPolicy

    original = CorsPolicy.answer_headers

    def changed(self: CorsPolicy, origin: str | None) -> dict[str, str]:
        headers = original(self, origin)
        change(origin, headers)
        return headers

    CorsPolicy.answer_headers = changed  # type: ignore[method-assign]


def _preflights(change: Callable[[dict[str, str]], None]) -> None:
    from reference_server.cors import CorsPolicy

    original = CorsPolicy.preflight_headers

    def changed(self: CorsPolicy, origin: str | None) -> dict[str, str]:
        headers = original(self, origin)
        change(headers)
        return headers

    CorsPolicy.preflight_headers = changed  # type: ignore[method-assign]


def _on_options(answer: Callable[[Any], Any]) -> None:
    """Answer OPTIONS before the server does; None lets it go on."""
    from quart import request

    from reference_server import app

    add = app._add_cors

    def first(quart: Any, policy: Any) -> None:
        async def options() -> Any:
            found = answer(request) if request.method == "OPTIONS" else None
            return await found if hasattr(found, "__await__") else found

        quart.before_request(options)
        add(quart, policy)

    app._add_cors = first


def _options_status(status: int) -> None:
    from quart import Response

    _on_options(
        lambda request: None if request.headers.get("X-Client-Id") else Response(b"", status=status)
    )


def _options_charged() -> None:
    """A preflight that names a client's id is counted as a start of that client."""
    from reference_server.api.start import StartApi

    from . import seams

    stores: list[Any] = []
    made = StartApi.__init__

    def noting(self: StartApi, store: Any, *parts: Any, **more: Any) -> None:
        stores.append(store)
        made(self, store, *parts, **more)

    async def count(client: str) -> None:
        await seams.charge(stores[0], client, 1)

    def charged(request: Any) -> Any:
        client = request.headers.get("X-Client-Id")
        return count(client) if client and stores else None

    StartApi.__init__ = noting  # type: ignore[assignment, method-assign]
    _on_options(charged)


def _without(headers: dict[str, str], name: str, *words: str) -> None:
    """Take words out of a header's list."""
    if name in headers:
        kept = [word for word in headers[name].split(", ") if word not in words]
        headers[name] = ", ".join(kept)


def _wildcard_with_credentials(headers: dict[str, str]) -> None:
    if headers:
        headers["Access-Control-Allow-Headers"] = "*"


def _credentials(origin: str | None, headers: dict[str, str]) -> None:
    headers["Access-Control-Allow-Credentials"] = "true"


def _star_with_credentials(origin: str | None, headers: dict[str, str]) -> None:
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Allow-Credentials"] = "true"


def _allowed_then_wildcard() -> None:
    _answers(_credentials)
    _preflights(_wildcard_with_credentials)


def _doubled(origin: str | None, headers: dict[str, str]) -> None:
    """What two layers that both add the header make of it."""
    if (allowed := headers.get("Access-Control-Allow-Origin")) is not None:
        headers["Access-Control-Allow-Origin"] = f"{allowed}, {allowed}"


def _reflects(origin: str | None, headers: dict[str, str]) -> None:
    if origin is not None:
        headers["Access-Control-Allow-Origin"] = origin


def _reflects_matching(matches: Callable[[str], bool]) -> None:
    def change(origin: str | None, headers: dict[str, str]) -> None:
        if origin is not None and matches(origin):
            headers["Access-Control-Allow-Origin"] = origin

    _answers(change)


def _star(origin: str | None, headers: dict[str, str]) -> None:
    headers["Access-Control-Allow-Origin"] = "*"


def _no_vary_origin(origin: str | None, headers: dict[str, str]) -> None:
    headers["Vary"] = "Accept"


def _bare(wanted: Callable[[Any], bool]) -> None:
    """Some answers carry no CORS headers, as those of a layer further out."""
    from reference_server import app

    add = app._add_cors

    def last(quart: Any, policy: Any) -> None:
        async def strip(response: Any) -> Any:
            if wanted(response):
                response.headers.pop("Access-Control-Allow-Origin", None)
            return response

        # What is registered first runs last.
        quart.after_request(strip)
        add(quart, policy)

    app._add_cors = last


def _hides(*words: str) -> None:
    _answers(lambda origin, headers: _without(headers, "Access-Control-Expose-Headers", *words))


def other_spelling() -> None:
    """Nothing is wrong: one origin for all, wildcards, lower case, preflights answered 200."""
    from reference_server import app
    from reference_server.cors import CorsPolicy

    def answers(self: CorsPolicy, origin: str | None) -> dict[str, str]:
        return {
            "access-control-allow-origin": "http://localhost:3000",
            "access-control-expose-headers": "*",
            "vary": "accept",
        }

    def preflights(self: CorsPolicy, origin: str | None) -> dict[str, str]:
        return {"access-control-allow-headers": "*"}

    def last(quart: Any, policy: Any) -> None:
        async def plain(response: Any) -> Any:
            if response.status_code == 204 and "Access-Control-Allow-Headers" in response.headers:
                response.status_code = 200
            return response

        quart.after_request(plain)
        add(quart, policy)

    add = app._add_cors
    app._add_cors = last
    CorsPolicy.answer_headers = answers  # type: ignore[method-assign]
    CorsPolicy.preflight_headers = preflights  # type: ignore[method-assign]


MUTANTS: list[Mutant] = [
    Mutant(
        name="cors-options-401",
        breaks=("CORS-01", "CORS-02"),
        patch=partial(_options_status, 401),
        about="OPTIONS without a client id is answered 401, and no preflight carries one.",
    ),
    Mutant(
        name="cors-options-redirected",
        breaks=("CORS-01", "CORS-02"),
        patch=partial(_options_status, 307),
        about="OPTIONS is redirected, which a preflight does not follow.",
    ),
    Mutant(
        name="cors-no-client-id",
        breaks=("CORS-01",),
        patch=partial(
            _preflights,
            lambda headers: _without(headers, "Access-Control-Allow-Headers", "X-Client-Id"),
        ),
        about="Preflights do not allow X-Client-Id.",
    ),
    Mutant(
        name="cors-options-charged",
        breaks=("CORS-01",),
        patch=_options_charged,
        about="A preflight that carries a client id uses up a start of that client.",
    ),
    Mutant(
        name="cors-no-last-event-id",
        breaks=("CORS-02",),
        patch=partial(
            _preflights,
            lambda headers: _without(headers, "Access-Control-Allow-Headers", "Last-Event-ID"),
        ),
        about="Preflights do not allow Last-Event-ID.",
    ),
    Mutant(
        name="cors-only-on-200",
        breaks=("CORS-03",),
        follows=("QUOTA-03", "CORS-04"),
        patch=partial(_bare, lambda answer: answer.status_code >= 300),
        about="Errors carry no Access-Control-Allow-Origin, the refusal by the quota included.",
    ),
    Mutant(
        name="cors-not-on-429",
        breaks=("CORS-03",),
        follows=("QUOTA-03",),
        patch=partial(_bare, lambda answer: answer.status_code == 429),
        about="Only the refusal by the quota carries no Access-Control-Allow-Origin.",
    ),
    Mutant(
        name="cors-not-on-streams",
        breaks=("CORS-03",),
        follows=("CORS-05",),
        patch=partial(_bare, lambda answer: answer.mimetype == "text/event-stream"),
        about="Streams carry no Access-Control-Allow-Origin, so that a browser cannot read them.",
    ),
    Mutant(
        name="cors-doubled",
        breaks=("CORS-01", "CORS-02", "CORS-03"),
        follows=("QUOTA-03",),
        patch=partial(_answers, _doubled),
        about="Two layers add the allowed origin, so that every check of a browser fails.",
    ),
    Mutant(
        name="cors-reflects",
        breaks=("CORS-04",),
        patch=partial(_answers, _reflects),
        about="Any origin is echoed.",
    ),
    Mutant(
        name="cors-prefix",
        breaks=("CORS-04",),
        patch=partial(
            _reflects_matching, lambda origin: origin.startswith("http://localhost:3000")
        ),
        about="Origins are compared by how they begin.",
    ),
    Mutant(
        name="cors-suffix",
        breaks=("CORS-04",),
        patch=partial(_reflects_matching, lambda origin: origin.endswith("localhost:3000")),
        about="Origins are compared by how they end.",
    ),
    Mutant(
        name="cors-null",
        breaks=("CORS-04",),
        patch=partial(_reflects_matching, lambda origin: origin == "null"),
        about="The origin `null`, which every sandboxed frame has, is allowed.",
    ),
    Mutant(
        name="cors-star",
        breaks=("CORS-04",),
        patch=partial(_answers, _star),
        about="Every origin is allowed.",
    ),
    Mutant(
        name="cors-star-with-credentials",
        breaks=("CORS-04",),
        patch=partial(_answers, _star_with_credentials),
        about="Credentials are allowed together with every origin.",
    ),
    Mutant(
        name="cors-wildcard-with-credentials",
        breaks=("CORS-04",),
        patch=_allowed_then_wildcard,
        about="Credentials are allowed, and preflights allow `*`, which is no wildcard then.",
    ),
    Mutant(
        name="cors-no-vary",
        breaks=("CORS-04",),
        follows=("HDR-05",),
        patch=partial(_answers, _no_vary_origin),
        about="Vary does not name Origin, which the answers depend on.",
    ),
    Mutant(
        name="cors-nothing-exposed",
        breaks=("CORS-05",),
        patch=partial(_hides, "Location", "Retry-After", "ETag"),
        about="No header is exposed.",
    ),
    Mutant(
        name="cors-retry-after-hidden",
        breaks=("CORS-05",),
        patch=partial(_hides, "Retry-After"),
        about="Retry-After is not exposed.",
    ),
]
