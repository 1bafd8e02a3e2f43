"""Wake-ups by LISTEN and NOTIFY, for a store that is in PostgreSQL anyway.

The connection is its own: a pool would take the subscription away with it. Notifications are sent
on it as well, after the append has committed: inside the append's transaction the lock that NOTIFY
takes on the whole database would be held while the log is flushed, one writer after the other.
All jobs share one channel, so that a batch of many jobs is one notification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import asyncpg

from .broadcast import RemoteBroadcaster
from .store.postgres_schema import PostgresOptions, connect

CHANNEL: Final = "streamgauge_heads"

#: PostgreSQL refuses 8,000 octets and more. Job ids are ASCII.
PAYLOAD_CHARS_MAX: Final = 7_900

_NOTIFY: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"


class PostgresBroadcaster(RemoteBroadcaster):
    """A payload is `job head job head …`."""

    name = "LISTEN/NOTIFY"

    def __init__(self, options: PostgresOptions) -> None:
        super().__init__()
        self._options = options

    def watch(self, job_id: str) -> None:
        """All jobs are heard."""

    def unwatch(self, job_id: str) -> None:
        """All jobs are heard."""

    async def _serve(self) -> None:
        connection = await connect(self._options, self._options.statement_timeout_s)
        try:
            connection.add_termination_listener(lambda _connection: self._news.set())
            # First listen, then let everybody read anew: what is committed in between is in both.
            await connection.add_listener(CHANNEL, self._notified)
            self._up()
            while not connection.is_closed():
                batch = await self._batch()
                # After silence an empty list: a statement that sends nothing, for a sign of life.
                await connection.execute(_NOTIFY, CHANNEL, list(payloads(batch)))
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost")
        finally:
            connection.terminate()

    def _notified(self, connection: object, pid: int, _channel: str, payload: object) -> None:
        if isinstance(connection, asyncpg.Connection) and pid == connection.get_server_pid():
            return  # its own readers are awake
        words = str(payload).split()
        for job_id, head in zip(words[::2], words[1::2], strict=False):
            if head.isdecimal():
                self._deliver(job_id, int(head))


def payloads(batch: Mapping[str, int]) -> Iterator[str]:
    """The batch in as few notifications as will hold it."""
    words: list[str] = []
    size = 0
    for job_id, head in batch.items():
        word = f"{job_id} {head}"
        if words and size + len(word) + 1 > PAYLOAD_CHARS_MAX:
            yield " ".join(words)
            words, size = [], 0
        words.append(word)
        size += len(word) + 1
    if words:
        yield " ".join(words)
