"""What reading an event costs a load generator: this project's client against Locust's own.

    python -m load.bench.generator

Both read the same streams of 4,096-byte frames inside Locust, alternating, the sender on one
processor and the client on another: 50 streams as fast as they come, and 200 streams of 20 events a
second. The figure is events per second of the client's processor. Exit code 0: both budgets are
met; 1: one is not; 2: there are no figures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import select
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

REPORT: Final = Path("reports") / "bench" / "generator.json"
CLIENTS: Final = ("documented", "own", "shared")
FRAME_BYTES: Final = 4096
JOB_EVENTS: Final = 4000
"""Of a job that comes as fast as it can; then the reader opens the next."""
SECONDS: Final = 4.0
BOUND_S: Final = 40.0
SEND_BYTES: Final = 262_144
LISTEN: Final = 512
HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Mode:
    """A way in which events come."""

    name: str
    streams: int
    per_second: float
    """Of one stream; 0: as fast as they are taken."""
    bound: float
    """So many times as many events per processor second as the documented client, at least."""


MODES: Final = (Mode("saturated", 50, 0, 2.5), Mode("200 streams x 20/s", 200, 20, 1.8))


class NoFigure(Exception):
    """A measurement failed; the message says how."""


def frame(number: int, kind: str, stamp: str) -> bytes:
    """An event as the reference server writes it, in a chunk of its own."""
    data = {"agent": "writer", "text": "x" * 200}
    body = json.dumps({"id": number, "type": kind, "timestamp": stamp, "data": data})
    text = f"id: {number}\nevent: {kind}\ndata: {body}\n\n".encode()
    padded = text + b":" + b" " * (FRAME_BYTES - len(text) - 2) + b"\n"
    return b"%x\r\n%s\r\n" % (len(padded), padded)


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def send(per_second: float, streams: int) -> None:
    """The sender, in a process of its own: serve until killed, after one line with the port."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(LISTEN)
    print(server.getsockname()[1], flush=True)
    if per_second:
        _send_paced(server, 1 / per_second, streams)
    else:
        _send_saturated(server)


def _send_saturated(server: socket.socket) -> None:
    """To each connection a whole job, as fast as it is taken."""
    stamp = now_text()
    kinds = ["agent_chunk"] * (JOB_EVENTS - 1) + ["done"]
    frames = (frame(number, kind, stamp) for number, kind in enumerate(kinds, 1))
    whole = memoryview(HEAD + b"".join(frames) + b"0\r\n\r\n")
    poll = select.epoll()
    server.setblocking(False)
    poll.register(server, select.EPOLLIN)
    sockets: dict[int, socket.socket] = {}
    sent: dict[int, int] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == server.fileno():
                sock = _accepted(server)
                sock.setblocking(False)
                sockets[sock.fileno()], sent[sock.fileno()] = sock, 0
                poll.register(sock, select.EPOLLOUT)
                continue
            at = sent[fd]
            try:
                sent[fd] = at = at + sockets[fd].send(whole[at : at + SEND_BYTES])
            except OSError:
                at = len(whole)
            if at >= len(whole):
                poll.unregister(fd)
                sockets.pop(fd).close()


def _send_paced(server: socket.socket, interval_s: float, streams: int) -> None:
    """To all connections the same event at the same moment, once all are there."""
    sockets: list[socket.socket] = []
    while len(sockets) < streams:
        sockets.append(_accepted(server))
        sockets[-1].sendall(HEAD)
    due = time.monotonic()
    for number in itertools.count(1):
        due += interval_s
        time.sleep(max(0.0, due - time.monotonic()))
        event = frame(number, "agent_chunk", now_text())
        for sock in sockets[:]:
            try:
                sock.sendall(event)
            except OSError:
                sockets.remove(sock)


def _accepted(server: socket.socket) -> socket.socket:
    sock, _ = server.accept()
    sock.setblocking(True)
    request = b""
    while b"\r\n\r\n" not in request:
        request += sock.recv(4096)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def measure(client: str, mode: Mode, seconds: float) -> dict[str, Any]:
    """One client against one sender, each on a processor of its own. Raises NoFigure."""
    first, second = _processors()
    command = [
        *(sys.executable, "-m", "load.bench.generator"),
        *("--send", str(mode.per_second), "--streams", str(mode.streams)),
    ]
    sender = subprocess.Popen([*_on(first), *command], stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout is not None
        port = sender.stdout.readline().strip()
        done = subprocess.run(
            [
                *(*_on(second), sys.executable, "-m", "load.bench.generator_client", client),
                *(str(mode.streams), f"http://127.0.0.1:{port}", str(seconds)),
            ],
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoFigure(f"{client}, {mode.name}: no figure in {BOUND_S:g} s") from None
    finally:
        sender.kill()
        sender.communicate()
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise NoFigure(f"{client}, {mode.name}: {done.stderr.strip()[-300:]}")
    told: dict[str, Any] = json.loads(lines[-1])
    if told.get("broken") or not told["events"]:
        raise NoFigure(f"{client}, {mode.name}: {told}")
    return told


def _processors() -> tuple[int | None, int | None]:
    if not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        return None, None
    found = sorted(os.sched_getaffinity(0))
    return (found[0], found[1]) if len(found) > 1 else (None, None)


def _on(processor: int | None) -> tuple[str, ...]:
    """The words that bind a command to a processor."""
    return () if processor is None else ("taskset", "-c", str(processor))


Rates = dict[tuple[str, str], list[float]]


def run(rounds: int, seconds: float) -> tuple[Rates, Rates]:
    """All clients in all modes, in an order that turns: events per processor second, and ages."""
    rates: Rates = {}
    ages: Rates = {}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        turned = CLIENTS[number % len(CLIENTS) :] + CLIENTS[: number % len(CLIENTS)]
        for mode in MODES:
            for client in turned:
                told = measure(client, mode, seconds)
                rate = told["events"] / told["cpu_s"]
                rates.setdefault((mode.name, client), []).append(rate)
                if mode.per_second:
                    ages.setdefault((mode.name, client), []).append(told["age_p50_s"])
                print(f"  {mode.name:20} {client:12} {rate:10,.0f} events/s of a core", flush=True)
    return rates, ages


def report_of(rates: Rates, ages: Rates, rounds: int) -> dict[str, Any]:
    """The report: medians, ratios within each round, and budgets."""
    figures = [
        _figure(f"generator, {mode}", client, "events/s per core", values)
        for (mode, client), values in rates.items()
    ]
    figures += [
        _figure(f"generator, {mode}, age p50", client, "s", values)
        for (mode, client), values in ages.items()
    ]
    budgets = []
    for mode in MODES:
        base = rates[mode.name, "documented"]
        for client in ("own", "shared"):
            pairs = zip(rates[mode.name, client], base, strict=True)
            ratios = [mine / theirs for mine, theirs in pairs]
            name = f"generator, {mode.name}, over HttpUser + iter_lines"
            figures.append(_figure(name, client, "ratio", ratios))
            if client == "own":
                value = round(statistics.median(ratios), 2)
                met = value >= mode.bound
                budgets.append({"name": name, "value": value, "bound": mode.bound, "met": met})
    return {
        "schema": 1,
        "machine": _machine(),
        "rounds": rounds,
        "figures": figures,
        "budgets": budgets,
    }


def _figure(name: str, subject: str, unit: str, values: Sequence[float]) -> dict[str, Any]:
    told = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {
        "name": name,
        "subject": subject,
        "unit": unit,
        **{key: float(f"{value:.4g}") for key, value in told.items()},
    }


def _machine() -> dict[str, Any]:
    packages = ("locust", "gevent", "orjson", "requests")
    return {
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "taken": now_text(),
    }


def main() -> int:
    """Measure, print, write the report; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="1..20")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--send", type=float, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--streams", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send is not None:
        send(options.send, options.streams)
    try:
        rates, ages = run(options.rounds, options.seconds)
    except (NoFigure, OSError) as error:
        sys.stderr.write(f"generator: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    report = report_of(rates, ages, options.rounds)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    for figure in report["figures"]:
        if figure["unit"] == "ratio":
            print(
                f"{figure['name']}: {figure['subject']} {figure['median']:.2f} "
                f"({figure['min']:.2f} to {figure['max']:.2f})"
            )
    for budget in report["budgets"]:
        word = "met" if budget["met"] else "NOT MET"
        print(f"budget {word}: {budget['name']} {budget['value']} (at least {budget['bound']})")
    return 0 if all(budget["met"] for budget in report["budgets"]) else 1


if __name__ == "__main__":
    sys.exit(main())
