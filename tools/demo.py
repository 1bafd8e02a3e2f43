"""`make demo`: a reference server on a free port, the suite against it, a verdict and a report."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

STOP_WITHIN_S = 15.0


def main() -> int:
    """Serve, judge, stop. Returns the verdict's exit code."""
    with tempfile.TemporaryDirectory(prefix="streamgauge-demo-") as folder:
        server = _serve(Path(folder))
        try:
            url = _address(server)
            print(f"reference server {url.removeprefix('listening on ')}", flush=True)
            command = [sys.executable, "-m", "streamgauge", "check", url]
            print(f"$ streamgauge check {url}\n", flush=True)
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 2
        finally:
            _stop(server)


def _serve(folder: Path) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PORT": "0",
        "STREAM_STORE_BACKEND": "sqlite",
        "SQLITE_PATH": str(folder / "demo.db"),
        "SCRIPTED_PIPELINES": "1",
        # The suite makes jobs crash on purpose; their log would stand between the lines below.
        "LOG_LEVEL": "critical",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "reference_server"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def _address(server: subprocess.Popen[str]) -> str:
    """The address that the server prints once it accepts connections."""
    assert server.stdout is not None
    line = server.stdout.readline().strip()
    if not line.startswith("listening on "):
        raise SystemExit(f"the reference server did not start: {line or server.poll()}")
    return line.removeprefix("listening on ")


def _stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
