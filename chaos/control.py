"""Commands to a running topology: `python -m chaos.control FOLDER kill 1`.

    kill | terminate | pause | continue | restart   INSTANCE (1, 2, …)
    stop | start | pause | continue                 store | broker

A command returns when it has been carried out, with exit code 0, or with 2 and one line that says
why not. They are meant to be written into a profile's `[hooks]`.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .services import ServiceFailed

if TYPE_CHECKING:
    from .topology import Topology

SOCKET_NAME: Final = "control"
LINE_BYTES_MAX: Final = 256
DONE: Final = "done"
#: A command waits for a process to end or to be ready.
COMMAND_TIMEOUT_S: Final = 60.0


class _Interrupted(Exception):
    """A signal asks the topology to end."""


def serve_commands(topology: Topology) -> None:
    """Carry out commands, one after the other, until SIGINT or SIGTERM."""

    def interrupt(_number: int, _frame: object) -> None:
        raise _Interrupted

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(topology.folder / SOCKET_NAME))
        listener.listen()
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(COMMAND_TIMEOUT_S)
                    _answer(connection, topology)
        except _Interrupted:
            return


def _answer(connection: socket.socket, topology: Topology) -> None:
    try:
        command = connection.recv(LINE_BYTES_MAX).decode(errors="replace").strip()
        try:
            topology.obey(command)
            answer = DONE
        except (ValueError, ServiceFailed, subprocess.TimeoutExpired) as error:
            answer = str(error)
        connection.sendall(answer.encode())
    except OSError:
        pass  # whoever asked has left


def main() -> int:
    """Returns the exit code."""
    if len(sys.argv) != 4:
        sys.stderr.write(__doc__ or "")
        return 2
    folder, *words = sys.argv[1:]
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(COMMAND_TIMEOUT_S)
            connection.connect(str(Path(folder) / SOCKET_NAME))
            connection.sendall(" ".join(words).encode())
            answer = connection.recv(LINE_BYTES_MAX * 16).decode()
    except OSError as error:
        sys.stderr.write(f"no topology answers in {folder}: {error.strerror or error}\n")
        return 2
    if answer != DONE:
        sys.stderr.write(f"{answer}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
