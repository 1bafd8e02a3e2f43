"""The event streams of a `.har` file, as browsers save what they have loaded.

A browser saves the text that it decoded, not the bytes, and says nothing of when each part came.
What can be told from such a text is judged, and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from .dumps import Answer, DumpError

STREAM = "text/event-stream"


def har_streams(data: bytes) -> list[tuple[Mapping[str, Any], Answer, bool]]:
    """The event streams: the request as the file has it, the answer, and whether it holds bytes.

    Raises:
        DumpError: it is no HAR, holds no event stream, or none with a body.
    """
    entries = _entries(data)
    streams = list(_streams(entries))
    if not streams:
        raise DumpError(f"no event stream is among its {len(entries)} entries")
    found = [stream for stream in streams if stream[1].body]
    if not found:
        raise DumpError(
            f"it holds {len(streams)} event streams, and the body of "
            "none: let the stream end before the file is saved, or use curl -i -N -s URL > FILE"
        )
    return found


def _entries(data: bytes) -> list[Any]:
    try:
        file = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DumpError(f"not UTF-8 text (offset {error.start:,})") from error
    except json.JSONDecodeError as error:
        raise DumpError(
            f"line {error.lineno}, column {error.colno} (offset {error.pos:,}): not JSON "
            f"({error.msg}); is the file cut off?"
        ) from error
    except RecursionError as error:
        raise DumpError("not JSON that can be read (too deep)") from error
    log = file.get("log") if isinstance(file, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise DumpError("no .har file: it has no log.entries")
    return entries


def _streams(entries: list[Any]) -> Iterator[tuple[Mapping[str, Any], Answer, bool]]:
    for number, entry in enumerate(entries):
        where = f"log.entries[{number}]"
        try:
            request, response = entry["request"], entry["response"]
            content = response.get("content") or {}
            headers = tuple((str(h["name"]), str(h["value"])) for h in response["headers"])
            status = int(response["status"])
            str(request["url"]), str(request["method"])
            _headers_of(request)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DumpError(f"{where} is not as HAR 1.2 describes it ({error!r})") from error
        kind = next((v for n, v in headers if n.lower() == "content-type"), "")
        kind = kind or str(content.get("mimeType") or "")
        if kind.partition(";")[0].strip().lower() != STREAM:
            continue
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers = (*headers, ("content-type", kind))
        body, is_bytes = _body(content, where)
        # What is here is decoded, whatever coding it was sent in.
        headers = tuple((n, v) for n, v in headers if n.lower() != "content-encoding")
        yield request, Answer(_version(response), status, headers, body), is_bytes


def _headers_of(request: Mapping[str, Any]) -> None:
    for header in request["headers"]:
        str(header["name"]), str(header["value"])


def _body(content: Mapping[str, Any], where: str) -> tuple[bytes, bool]:
    text = content.get("text")
    if text is None:
        return b"", False
    if not isinstance(text, str):
        raise DumpError(f"{where}.response.content.text: expected a string")
    if content.get("encoding") != "base64":
        return text.encode("utf-8", "replace"), False
    try:
        return base64.b64decode(text, validate=True), True
    except (binascii.Error, ValueError) as error:
        raise DumpError(f"{where}.response.content.text: not base64 ({error})") from error


def _version(response: Mapping[str, Any]) -> str:
    told = str(response.get("httpVersion") or "").lower()
    known = {"h2": "HTTP/2", "http/2.0": "HTTP/2", "h3": "HTTP/3", "http/3.0": "HTTP/3"}
    return known.get(told, told.upper())
