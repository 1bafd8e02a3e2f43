"""Servers that take, or break on, what nobody should send."""

from __future__ import annotations

import asyncio
import codecs
import json
import uuid
from collections.abc import Callable
from typing import Any

from .model import Mutant, put


def _unguarded_json() -> None:
    """What is no JSON is an exception that nobody expects."""
    from reference_server import startrequest

    def parse(body: bytes) -> dict[str, object]:
        members = json.loads(body)
        return dict(members)

    put(startrequest, "parse_object", parse)


def _lenient_json() -> None:
    """Python's parser as it comes, behind a decoder that replaces what it cannot read."""
    from reference_server import startrequest

    def parse(body: bytes) -> dict[str, object]:
        try:
            members = json.loads(body.decode("utf-8", "replace"))
        except (ValueError, RecursionError) as error:
            raise startrequest.MalformedJson("The body is not valid JSON.") from error
        if not isinstance(members, dict):
            raise startrequest.MalformedJson("The body must be a JSON object.")
        members.pop("streamgauge", None)
        return members

    put(startrequest, "parse_object", parse)


def _non_objects_are_422() -> None:
    from reference_server import startrequest
    from reference_server.problems import Problem

    parse = startrequest.parse_object

    def validated(body: bytes) -> dict[str, object]:
        try:
            return parse(body)
        except startrequest.MalformedJson as error:
            try:
                json.loads(body)
            except (ValueError, RecursionError):
                raise error from None
            raise Problem(422, "Input should be a valid dictionary.") from error

    put(startrequest, "parse_object", validated)


def _any_media_type() -> None:
    from reference_server.api import start

    put(start, "require_json", lambda types, codings: None)


def _unlimited_bodies() -> None:
    from reference_server import guard

    put(guard, "BODY_MAX_BYTES", 2**40)


def _measured_afterwards() -> None:
    """A body is read to its end before anybody looks how large it is."""
    from quart import request

    from reference_server.api.start import StartApi
    from reference_server.problems import Problem

    _unlimited_bodies()
    original = StartApi.start

    async def start(self: StartApi) -> Any:
        body = await request.get_data(cache=True, as_text=False, parse_form_data=False)
        if len(body) > 1_048_576:
            raise Problem(413)
        return await original(self)

    StartApi.start = start  # type: ignore[method-assign]


def _unlimited_heads() -> None:
    from reference_server import guard, serving

    put(guard, "HEADER_SECTION_MAX_BYTES", 2**40)
    put(serving, "_HEAD_MAX_BYTES", 2**26)


def _unguarded_uuid() -> None:
    from reference_server.api import requests

    put(requests, "require_job_id", lambda raw: str(uuid.UUID(raw)))


def _long_ids_hang() -> None:
    """Ids of more than 255 octets never get an answer (a file name that is too long, retried)."""
    from reference_server.api import jobs

    original = jobs.JobsApi._run

    async def run(self: jobs.JobsApi, job_id: str) -> Any:
        if len(job_id) > 255:
            await asyncio.sleep(30)
        return await original(self, job_id)

    jobs.JobsApi._run = run  # type: ignore[method-assign]


def _ids_as_names() -> None:
    """A snapshot is looked for in a file of the id's name."""
    from quart import Response

    from reference_server.api import jobs

    original = jobs.JobsApi.snapshot

    async def snapshot(self: jobs.JobsApi, job_id: str) -> Any:
        if job_id.startswith("..\\"):
            return Response(b"root:x:0:0:root:/root:/bin/sh\n", content_type="text/plain")
        return await original(self, job_id)

    jobs.JobsApi.snapshot = snapshot  # type: ignore[method-assign]


def _unguarded_wait() -> None:
    from reference_server.api import jobs

    put(jobs, "wait_seconds", lambda values: min(float(values[0]), 1.0) if values else 0.0)


def _unguarded_charset() -> None:
    """The charset of a body is looked up as if every name existed."""
    from quart import request

    from reference_server.api import start

    original = start.require_json

    def looked_up(types: Any, codings: Any) -> None:
        name = request.mimetype_params.get("charset", "utf-8")
        codecs.lookup(name)
        original(types, codings)

    put(start, "require_json", looked_up)


def _both_framings() -> None:
    """Length and chunks at once are read as chunks, and the connection lives on."""
    from reference_server import guard

    header = guard._header

    def without_length(scope: Any, name: bytes) -> bytes | None:
        both = header(scope, b"transfer-encoding") is not None
        return None if both and name == b"content-length" else header(scope, name)

    put(guard, "_header", without_length)


def _first_length_wins() -> None:
    from h11 import _events

    original = _events.normalize_and_validate

    def first_only(headers: Any, _parsed: bool = False) -> Any:
        seen, kept = False, []
        for pair in headers:
            if bytes(pair[0]).lower() == b"content-length" and _parsed:
                if seen:
                    continue
                seen = True
            kept.append(pair)
        return original(kept, _parsed=_parsed)

    put(_events, "normalize_and_validate", first_only)


def _broken_bodies_accepted() -> None:
    """A body whose chunks cannot be read is answered as if all were well."""
    from reference_server import edge

    install = edge.answer_broken_bodies_with

    def accepting(answer: Callable[[Any, int], Any]) -> None:
        def well(scope: Any, status: int) -> Any:
            headers, body = answer(scope, status)
            return headers, body

        install(well)
        original = edge.H11Protocol._send_error_response

        async def send(protocol: Any, status: int) -> None:
            await original(protocol, 202 if protocol.stream is not None else status)

        edge.H11Protocol._send_error_response = send  # type: ignore[method-assign]

    edge.answer_broken_bodies_with = accepting


def _chunks_for_everybody() -> None:
    """Answers are chunked for HTTP/1.0 clients, too."""
    from h11._connection import Connection

    original = Connection._clean_up_response_headers_for_sending

    def modern(self: Connection, response: Any) -> Any:
        theirs, self.their_http_version = self.their_http_version, b"1.1"
        try:
            return original(self, response)
        finally:
            self.their_http_version = theirs

    put(Connection, "_clean_up_response_headers_for_sending", modern)


def _no_continue() -> None:
    from h11 import Connection

    put(Connection, "they_are_waiting_for_100_continue", property(lambda self: False))


def _expectation_refused() -> None:
    from reference_server import guard
    from reference_server.problems import Problem

    unreadable = guard._unreadable

    def refused(scope: Any) -> Any:
        expects = guard._header(scope, b"expect") is not None
        return Problem(417) if expects else unreadable(scope)

    put(guard, "_unreadable", refused)


MUTANTS: list[Mutant] = [
    Mutant(
        name="bad-json-is-500",
        breaks=("BAD-01", "BAD-04"),
        follows=("QUOTA-11",),
        patch=_unguarded_json,
        about="A body that is no JSON object is an exception: 500.",
    ),
    Mutant(
        name="bad-lenient-json",
        breaks=("BAD-01",),
        follows=("BAD-04",),
        patch=_lenient_json,
        about="NaN and bytes that are no UTF-8 are taken for JSON, and some break what follows.",
    ),
    Mutant(
        name="bad-arrays-are-422",
        breaks=("BAD-01",),
        patch=_non_objects_are_422,
        about="JSON that is no object gets 422 as if it were a field.",
    ),
    Mutant(
        name="bad-any-media-type",
        breaks=("BAD-01",),
        patch=_any_media_type,
        about="The media type of a body is not looked at.",
    ),
    Mutant(
        name="bad-no-body-limit",
        breaks=("BAD-02",),
        patch=_unlimited_bodies,
        about="Bodies may be of any size.",
    ),
    Mutant(
        name="bad-measures-afterwards",
        breaks=("BAD-02",),
        patch=_measured_afterwards,
        about="A body of a gigabyte is read before its size is looked at.",
    ),
    Mutant(
        name="bad-no-head-limit",
        breaks=("BAD-02",),
        patch=_unlimited_heads,
        about="Header sections may be of any size.",
    ),
    Mutant(
        name="bad-ids-are-500",
        breaks=("BAD-03", "BAD-04"),
        follows=("ISO-02",),
        patch=_unguarded_uuid,
        about="An id that is no UUID is an exception: 500.",
    ),
    Mutant(
        name="bad-long-ids-hang",
        breaks=("BAD-03",),
        follows=("BAD-04",),
        patch=_long_ids_hang,
        about="Very long ids never get an answer.",
    ),
    Mutant(
        name="bad-ids-are-file-names",
        breaks=("BAD-03",),
        patch=_ids_as_names,
        about="An id that leads out of a folder shows a file.",
    ),
    Mutant(
        name="bad-wait-is-500",
        breaks=("BAD-04",),
        follows=("POLL-04", "POLL-06", "POLL-07"),
        patch=_unguarded_wait,
        about="float() on the wait parameter: 500 for words.",
    ),
    Mutant(
        name="bad-charset-is-500",
        breaks=("BAD-04",),
        patch=_unguarded_charset,
        about="A charset that does not exist is an exception: 500.",
    ),
    Mutant(
        name="bad-both-framings",
        breaks=("BAD-05",),
        patch=_both_framings,
        about="Length and chunks at once are accepted, and the connection lives on.",
    ),
    Mutant(
        name="bad-first-length-wins",
        breaks=("BAD-05",),
        patch=_first_length_wins,
        about="Of two lengths the first is believed.",
    ),
    Mutant(
        name="bad-broken-chunks-accepted",
        breaks=("BAD-05",),
        patch=_broken_bodies_accepted,
        about="A body whose framing breaks is answered with 202.",
    ),
    Mutant(
        name="bad-chunks-for-http10",
        breaks=("BAD-06",),
        patch=_chunks_for_everybody,
        about="HTTP/1.0 clients get chunked answers.",
    ),
    Mutant(
        name="bad-no-continue",
        breaks=("BAD-06",),
        patch=_no_continue,
        about="A client that waits for 100 waits in vain.",
    ),
    Mutant(
        name="bad-expectation-refused",
        breaks=("BAD-06",),
        patch=_expectation_refused,
        about="Expect: 100-continue gets 417.",
    ),
]
