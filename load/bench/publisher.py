"""Posts events to nchan: `python -m load.bench.publisher HOST PORT PATH EVENTS BURST INTERVAL_US`.

A burst is pipelined on one connection and its answers are read before the next one is due, which
is as cheap as publishing over HTTP gets.
"""

from __future__ import annotations

import socket
import sys
import time
from datetime import UTC, datetime
from typing import Final

#: With nchan's own id line a frame of 4,096 octets.
_TEXT: Final = "x" * 3966
_READ_BYTES: Final = 65_536


def post(path: str, number: int) -> bytes:
    """A request that publishes one event, dated now."""
    stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    body = (
        f'{{"id":{number},"type":"agent_chunk","timestamp":"{stamp}","data":{{"text":"{_TEXT}"}}}}'
    )
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def main(arguments: list[str]) -> int:
    """Returns the exit code: 1 where nchan refused something."""
    host, port, path, *numbers = arguments
    events, burst, interval_us = map(int, numbers)
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for first in range(1, events + 1, burst):
            count = min(burst, events + 1 - first)
            connection.sendall(b"".join(post(path, first + n) for n in range(count)))
            answers = b""
            while answers.count(b"HTTP/1.1 20") < count:
                received = connection.recv(_READ_BYTES)
                if not received or b"HTTP/1.1 4" in answers or b"HTTP/1.1 5" in answers:
                    return 1
                answers += received
            time.sleep(interval_us / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
