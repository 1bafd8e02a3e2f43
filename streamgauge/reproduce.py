"""Turn a recorded exchange into shell lines that show the same thing without this tool."""

from __future__ import annotations

import shlex

from .client import REDACTED
from .recording import Recording, Request

BODY_SHOWN_MAX = 600
_NOISE = frozenset({"user-agent", "accept-encoding", "connection", "host", "content-length"})


def curl(recording: Recording, *, fresh_job: Recording | None = None) -> str:
    """A `curl` line for the exchange; with `fresh_job`, preceded by the start that made its job.

    Secrets are already redacted in recordings: they appear as shell variables to be filled in.
    """
    lines = []
    if fresh_job is not None and fresh_job is not recording:
        lines.append(_line(fresh_job.request, stream=False))
    lines.append(_line(recording.request, stream=_streams(recording)))
    return "\n".join(lines)


def _streams(recording: Recording) -> bool:
    return recording.is_stream or (recording.request.header("accept") or "").startswith(
        "text/event-stream"
    )


def _line(request: Request, *, stream: bool) -> str:
    parts = ["curl", "-i"]
    if stream:
        parts += ["-N", "--max-time", "60"]
    if request.method == "HEAD":
        parts.append("-I")
    elif request.method != "GET":
        parts += ["-X", shlex.quote(request.method)]
    for name, value in request.headers:
        if name.lower() in _NOISE:
            continue
        if value == REDACTED:
            variable = "$" + name.upper().replace("-", "_")
            parts.append(f'-H "{name}: {variable}"')
        else:
            # An empty value needs curl's own spelling for "send it all the same".
            parts.append("-H " + shlex.quote(f"{name}: {value}" if value else f"{name};"))
    if request.body:
        body = request.body.decode("utf-8", "replace")
        if len(body) > BODY_SHOWN_MAX:
            body = body[:BODY_SHOWN_MAX] + "…"
        parts.append("--data-raw " + shlex.quote(body))
    parts.append(shlex.quote(request.url))
    return " ".join(parts)
