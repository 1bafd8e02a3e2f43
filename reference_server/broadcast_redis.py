"""Wake-ups by Redis: channel `sse:session:{job_id}`, and the job's head as the message.

Only jobs that somebody reads here are subscribed. A pattern for all channels would need no
bookkeeping, but every instance would take in every message of every job: with a reader or two for
each job that is as many times the work as there are instances, while a subscription costs two
commands in the life of a stream that gets hundreds of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .broadcast import PROBE_S, RemoteBroadcaster

CHANNEL_PREFIX: Final = "sse:session:"

#: Held for as long as the connection is: it keeps the subscription open while nobody reads.
PRESENCE_CHANNEL: Final = "sse:instances"

CONNECT_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 5.0


class RedisBroadcaster(RemoteBroadcaster):
    """One connection that listens, one that publishes."""

    name = "Redis"

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL that cannot be used."""
        super().__init__()
        self._watched: set[str] = set()
        self._watch_changed = asyncio.Event()
        # The client's own reconnecting is off: it would lose messages without a word. Here a lost
        # connection is noticed, told, and made up for by polling.
        self._client = Redis.from_url(
            url,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=ANSWER_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def watch(self, job_id: str) -> None:
        self._watched.add(job_id)
        self._watch_changed.set()

    def unwatch(self, job_id: str) -> None:
        self._watched.discard(job_id)
        self._watch_changed.set()

    async def close(self) -> None:
        await super().close()
        await self._client.aclose()

    async def _serve(self) -> None:
        listener = self._client.pubsub()
        try:
            await listener.subscribe(PRESENCE_CHANNEL)
            await _together(self._listen(listener), self._follow(listener), self._send())
        finally:
            await listener.aclose()  # type: ignore[no-untyped-call]
            await self._client.connection_pool.disconnect()

    async def _listen(self, listener: PubSub) -> None:
        """Hand on what arrives. Silence for two probes' time counts as a lost connection."""
        asked = False
        while True:
            message = await listener.get_message(timeout=PROBE_S)
            if message is None:
                if asked:
                    raise TimeoutError("Redis is silent")
                await listener.ping()
                asked = True
                continue
            asked = False
            if message["type"] not in ("message", "subscribe"):
                continue
            channel = message["channel"].decode()
            if channel == PRESENCE_CHANNEL:
                self._up()
            elif message["type"] == "subscribe":
                # What was published before this moment went by.
                self._deliver(channel.removeprefix(CHANNEL_PREFIX), None)
            elif message["data"].isdigit():
                self._deliver(channel.removeprefix(CHANNEL_PREFIX), int(message["data"]))

    async def _follow(self, listener: PubSub) -> None:
        """Keep the subscriptions at what is watched."""
        subscribed: set[str] = set()
        while True:
            self._watch_changed.clear()
            wanted = set(self._watched)
            if fresh := wanted - subscribed:
                await listener.subscribe(*(CHANNEL_PREFIX + job_id for job_id in fresh))
            if stale := subscribed - wanted:
                await listener.unsubscribe(*(CHANNEL_PREFIX + job_id for job_id in stale))
            subscribed = wanted
            await self._watch_changed.wait()

    async def _send(self) -> None:
        while True:
            batch = await self._batch()
            if not batch:
                continue
            pipeline = self._client.pipeline(transaction=False)
            for job_id, head in batch.items():
                pipeline.publish(CHANNEL_PREFIX + job_id, head)
            await pipeline.execute()


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails; raise its failure when the others have stopped."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
