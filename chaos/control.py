"""Commands to a running topology: `python -m chaos.control FOLDER kill 1`.

    kill | terminate | pause | unpause | restart | memory   INSTANCE (1, 2, …)
    stop | start | pause | unpause                          store | broker

A command returns when it has been carried out, with exit code 0, or with 2 and one line that says
why not. `hooks.toml` in the folder is a profile whose `[hooks]` are these commands.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from .services import MissingProgram, ServiceFailed

if TYPE_CHECKING:
    from .topology import Topology

SOCKET_NAME: Final = "control"
LINE_BYTES_MAX: Final = 256
DONE: Final = "done"
#: A command waits for a process to end or to be ready.
COMMAND_TIMEOUT_S: Final = 60.0


class Commands:
    """Carries out commands, one after the other, in a thread of its own while the block runs."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, name="commands", daemon=True)
        self._ending = False

    def __enter__(self) -> Self:
        self._listener.bind(str(self._topology.folder / SOCKET_NAME))
        self._listener.listen()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ending = True
        with socket.socket(socket.AF_UNIX) as last, contextlib.suppress(OSError):
            last.connect(str(self._topology.folder / SOCKET_NAME))
        self._thread.join(COMMAND_TIMEOUT_S)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._ending:
                    return
                connection.settimeout(COMMAND_TIMEOUT_S)
                _answer(connection, self._topology)


def _answer(connection: socket.socket, topology: Topology) -> None:
    try:
        command = connection.recv(LINE_BYTES_MAX).decode(errors="replace").strip()
        try:
            answer = f"{DONE} {topology.obey(command)}"
        except (ValueError, ServiceFailed, MissingProgram, subprocess.TimeoutExpired) as error:
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
    done, _, said = answer.partition(" ")
    if done != DONE:
        sys.stderr.write(f"{answer}\n")
        return 2
    if said:
        print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
