"""A run's recordings in one file, from which every judgement can be made again without the target.

The file is gzip over lines of JSON: a header with the version, a line for each bundle followed by a
line for each of its recordings, and a last line that tells how many there were, so that a file that
was cut off is never taken for a shorter run. Bodies that are UTF-8 are kept as text, so that
`zcat trace | grep` works on them; others as base64; bodies that the run itself kept packed go in
as they are, so that saving a run costs little of its time. Lossless either way.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from .recording import Bundle, End, PackedReads, Read, Recording, Request

FORMAT = "streamgauge-trace"
VERSION = 1

#: Uncompressed. A few kilobytes of gzip can stand for any amount of memory.
TRACE_BYTES_MAX = 2 << 30

#: The fastest level: bodies are mostly runs of padding, which it folds nearly as well as any.
_GZIP_LEVEL = 1


class TraceError(Exception):
    """A file that is no usable trace; the message says why in one sentence."""


def save(path: Path, meta: Mapping[str, Any], bundles: Iterable[Bundle]) -> None:
    """Write a trace; the file appears whole or not at all.

    Args:
        meta: JSON-able facts about the run (target, profile, start).
        bundles: JSON turns tuples in their facts into lists; all else comes back equal.

    Raises:
        TraceError: it would be larger than what `load` accepts.
        OSError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with (
            partial.open("wb") as raw,
            gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as file,
        ):
            written = 0
            for line in _lines(meta, bundles):
                written += len(line)
                if written > TRACE_BYTES_MAX:
                    raise TraceError(f"{path}: a trace holds at most {TRACE_BYTES_MAX} bytes")
                file.write(line)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Any], list[Bundle]]:
    """Read a trace.

    Raises:
        TraceError: it cannot be read, is no trace, is cut off, too large or of a newer version.
    """
    try:
        with gzip.open(path, "rb") as file:
            return _load(path, file)
    except (EOFError, zlib.error) as error:
        raise TraceError(f"{path}: the trace is cut off or damaged ({error})") from error
    except gzip.BadGzipFile as error:
        raise TraceError(f"{path}: not a trace ({error})") from error
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror or error})") from error


def _lines(meta: Mapping[str, Any], bundles: Iterable[Bundle]) -> Iterator[bytes]:
    count = 0
    yield _line({"format": FORMAT, "version": VERSION, "meta": dict(meta)})
    for bundle in bundles:
        count += 1
        yield _line(
            {
                "scenario": bundle.scenario,
                "facts": dict(bundle.facts),
                "unable": bundle.unable,
                "broken": bundle.broken,
                "finished_at": bundle.finished_at,
                "recordings": len(bundle.recordings),
            }
        )
        for recording in bundle.recordings:
            yield _line(_from_recording(recording))
    yield _line({"bundles": count})


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def _load(path: Path, file: gzip.GzipFile) -> tuple[dict[str, Any], list[Bundle]]:
    lines = _read_lines(path, file)
    header = next(lines, {})
    if header.get("format") != FORMAT:
        raise TraceError(f"{path}: not a trace (its first line does not say {FORMAT})")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise TraceError(
            f"{path}: version {version!r} of the trace format is newer than {VERSION}, "
            "which this streamgauge reads"
        )
    bundles: list[Bundle] = []
    try:
        for line in lines:
            if "bundles" in line:
                if line["bundles"] != len(bundles) or next(lines, None) is not None:
                    raise ValueError("the last line does not fit the others")
                return header["meta"], bundles
            recordings = list(islice(lines, line["recordings"]))
            if len(recordings) < line["recordings"]:
                break
            bundles.append(_to_bundle(line, recordings))
    except (KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{path}: the trace is damaged ({error!r})") from error
    raise TraceError(f"{path}: the trace is cut off after {len(bundles)} bundles")


def _read_lines(path: Path, file: gzip.GzipFile) -> Iterator[dict[str, Any]]:
    left = TRACE_BYTES_MAX
    while text := file.readline(left + 1):
        left -= len(text)
        if left < 0:
            raise TraceError(f"{path}: larger than the {TRACE_BYTES_MAX} bytes a trace may hold")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TraceError(f"{path}: not a trace (a line that is no JSON)") from error
        if not isinstance(value, dict):
            raise TraceError(f"{path}: not a trace (a line that is no JSON object)")
        yield value


def _from_bytes(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode("ascii")}


def _to_bytes(value: str | dict[str, str]) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    return b64decode(value["base64"], validate=True)


def _from_reads(reads: Sequence[Read]) -> dict[str, Any]:
    """Times, sizes and bytes; what is packed already goes in as it is."""
    if isinstance(reads, PackedReads):
        packed = b64encode(reads.packed).decode("ascii")
        return {"read_at": [*reads.times], "read_sizes": [*reads.sizes], "packed": packed}
    return {
        "read_at": [read.at for read in reads],
        "read_sizes": [len(read.data) for read in reads],
        "body": _from_bytes(b"".join(read.data for read in reads)),
    }


def _from_recording(recording: Recording) -> dict[str, Any]:
    request = recording.request
    return {
        "label": recording.label,
        "request": {
            "method": request.method,
            "url": request.url,
            "headers": request.headers,
            "body": _from_bytes(request.body),
        },
        "sent_at": recording.sent_at,
        "status": recording.status,
        "http_version": recording.http_version,
        "headers": recording.headers,
        "head_at": recording.head_at,
        **_from_reads(recording.reads),
        "end": recording.end.value,
        "ended_at": recording.ended_at,
        "error": recording.error,
        "surplus": _from_bytes(recording.surplus),
        "info": dict(recording.info),
    }


def _to_recording(row: Mapping[str, Any]) -> Recording:
    request = row["request"]
    return Recording(
        label=row["label"],
        request=Request(
            method=request["method"],
            url=request["url"],
            headers=_to_headers(request["headers"]),
            body=_to_bytes(request["body"]),
        ),
        sent_at=row["sent_at"],
        status=row["status"],
        http_version=row["http_version"],
        headers=_to_headers(row["headers"]),
        head_at=row["head_at"],
        reads=_to_reads(row),
        end=End(row["end"]),
        ended_at=row["ended_at"],
        error=row["error"],
        surplus=_to_bytes(row["surplus"]),
        info=row["info"],
    )


def _to_headers(rows: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in rows)


def _to_reads(row: Mapping[str, Any]) -> Sequence[Read]:
    times, sizes = row["read_at"], row["read_sizes"]
    packed = b64decode(row["packed"], validate=True) if "packed" in row else None
    body = _to_bytes(row["body"]) if packed is None else _inflated(packed, sum(sizes))
    if min(sizes, default=0) < 0 or sum(sizes) != len(body) or len(sizes) != len(times):
        raise ValueError("the sizes of the reads do not add up to the body")
    if packed is not None:
        return PackedReads(times, sizes, packed)
    reads: list[Read] = []
    position = 0
    for at, size in zip(times, sizes, strict=True):
        reads.append(Read(at, body[position : position + size]))
        position += size
    return tuple(reads)


def _inflated(packed: bytes, size: int) -> bytes:
    """The packed body, never more of it than its reads account for."""
    if size > TRACE_BYTES_MAX:
        raise ValueError("a body is larger than a whole trace may be")
    try:
        return zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"a packed body cannot be unpacked: {error}") from error


def _to_bundle(row: Mapping[str, Any], recordings: Iterable[Mapping[str, Any]]) -> Bundle:
    return Bundle(
        scenario=row["scenario"],
        recordings=tuple(_to_recording(recording) for recording in recordings),
        facts=row["facts"],
        unable=row["unable"],
        broken=row["broken"],
        finished_at=row["finished_at"],
    )
