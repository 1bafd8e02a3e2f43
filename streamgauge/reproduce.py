"""Turn a recorded exchange into shell lines that show the same thing without this tool."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from .recording import Recording, Request
from .secrets import REDACTED

BODY_SHOWN_MAX = 600
_NOISE = frozenset({"user-agent", "accept-encoding", "connection", "host", "content-length"})


def curl(recording: Recording, *, fresh_job: Recording | None = None) -> str:
    """Shell lines for the exchange; with `fresh_job`, preceded by a start that makes such a job.

    Secrets are already redacted in recordings: they appear as shell variables to be filled in.
    """
    through = _through(recording)
    if fresh_job is None or fresh_job is recording:
        return through + _over(recording, _line(recording.request, stream=_streams(recording)))
    start = _line(fresh_job.request, stream=False, quiet=True)
    path = "".join(f'["{step}"]' for step in str(fresh_job.info.get("at", "job_id")).split("."))
    line = _over(recording, _line(recording.request, stream=_streams(recording)))
    job = str(recording.info.get("job", ""))
    if job and job in line:
        # The URL is the line's last word, quoted where it needs to be.
        head, _, url = line.rpartition(" ")
        line = f'{head} "{url.strip(chr(39)).replace(job, "$JOB")}"'
    told = f"python3 -c 'import json, sys; print(json.load(sys.stdin){path})'"
    return f"JOB=$({start} |\n  {told})\n{through}{line}"


def _over(recording: Recording, line: str) -> str:
    """The line, for the version of HTTP by which the exchange was made."""
    if recording.http_version != "HTTP/2":
        return line
    option = "--http2" if recording.request.url.startswith("https") else "--http2-prior-knowledge"
    return line.replace("curl ", f"curl {option} ", 1)


def _through(recording: Recording) -> str:
    """A remark on what stood between the suite and the target, which these lines leave out."""
    relay = recording.info.get("relay")
    if not isinstance(relay, dict):
        return ""
    did = f" ({relay['did']})" if relay.get("did") else ""
    return f"# The suite came through {relay.get('is')}{did}; this asks the target itself:\n"


def _streams(recording: Recording) -> bool:
    return recording.is_stream or (recording.request.header("accept") or "").startswith(
        "text/event-stream"
    )


def _line(request: Request, *, stream: bool, quiet: bool = False) -> str:
    parts = ["curl", "-s"] if quiet else ["curl", "-i"]
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
        elif quiet and name.lower() == "x-client-id":
            parts.append('-H "X-Client-Id: $RANDOM-$RANDOM"')  # a client of its own: no quota
        else:
            # An empty value needs curl's own spelling for "send it all the same".
            parts.append("-H " + shlex.quote(f"{name}: {value}" if value else f"{name};"))
    if request.body:
        body = request.body.decode("utf-8", "replace")
        if len(body) > BODY_SHOWN_MAX:
            body = body[:BODY_SHOWN_MAX] + "…"
        parts.append("--data-raw " + shlex.quote(body))
    url = shlex.quote(request.url)
    if f"={REDACTED}" in request.url:
        # A token in the query: a variable to be filled in, like the secret headers.
        told = re.sub(rf"([\w-]+)={re.escape(REDACTED)}", _variable, request.url)
        url = f'"{told}"'
    parts.append(url)
    return " ".join(parts)


def _variable(found: re.Match[str]) -> str:
    return f"{found[1]}=${found[1].upper().replace('-', '_')}"


def meanwhile(hooks: Sequence[Mapping[str, Any]]) -> str:
    """A remark on the hooks that were called beside the exchange, "" where none was."""
    called = [
        str(noted["hook"]) + (f" of instance {noted['instance']}" if noted["instance"] else "")
        for noted in hooks
    ]
    return f"# meanwhile, by the profile's hooks: {', then '.join(called)}\n" if called else ""
