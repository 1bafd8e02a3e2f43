"""Turn a recorded exchange into shell lines that show the same thing without this tool."""

from __future__ import annotations

import shlex

from .client import REDACTED
from .recording import Recording, Request

BODY_SHOWN_MAX = 600
_NOISE = frozenset({"user-agent", "accept-encoding", "connection", "host", "content-length"})


def curl(recording: Recording, *, fresh_job: Recording | None = None) -> str:
    """Shell lines for the exchange; with `fresh_job`, preceded by a start that makes such a job.

    Secrets are already redacted in recordings: they appear as shell variables to be filled in.
    """
    through = _through(recording)
    if fresh_job is None or fresh_job is recording:
        return through + _line(recording.request, stream=_streams(recording))
    start = _line(fresh_job.request, stream=False, quiet=True)
    line = _line(recording.request, stream=_streams(recording))
    job = str(recording.info.get("job", ""))
    if job and job in line:
        # The URL is the line's last word, quoted where it needs to be.
        head, _, url = line.rpartition(" ")
        line = f'{head} "{url.strip(chr(39)).replace(job, "$JOB")}"'
    return f"JOB=$({start} |\n  {_JOB_ID})\n{through}{line}"


_JOB_ID = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"job_id\"])'"


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
    parts.append(shlex.quote(request.url))
    return " ".join(parts)
