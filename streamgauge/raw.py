"""Exchanges below HTTP's manners: requests sent as bytes, connections reset on purpose.

Some rules are about what a well-behaved HTTP client hides: bytes behind an answer that must have no
body, or a reader that is gone before its first byte. These few exchanges are made on plain sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from urllib.parse import urlsplit

from .client import CONNECT_S, Client
from .recording import End, Read, Recording, Request
from .secrets import REDACTED

IDLE_S = 1.0
"""So long no further byte: then none is coming."""
BYTES_MAX = 1024 * 1024


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of its own to a URL's host. Raises OSError or TimeoutError."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    async with asyncio.timeout(CONNECT_S):
        return await asyncio.open_connection(
            parts.hostname,
            parts.port or (443 if secure else 80),
            ssl=tls_context("http/1.1") if secure else None,
        )


def tls_context(*protocols: str) -> ssl.SSLContext:
    """Certificates are verified as the ordinary client does; these protocols are offered."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(protocols)
    return context


def _head(client: Client, method: str, url: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    parts = urlsplit(url)
    query = urlsplit(client.secrets.sent(url)).query
    target = (parts.path or "/") + (f"?{query}" if query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *client.extra_headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def exchange(
    client: Client,
    method: str,
    path: str,
    *,
    label: str,
    headers: tuple[tuple[str, str], ...] = (),
    bound_s: float = 8.0,
    info: dict[str, object] | None = None,
) -> Recording:
    """One HTTP/1.1 exchange that keeps what follows the head: `surplus` is every byte behind it.

    The connection is read until it ends, `IDLE_S` passes without a byte, or `bound_s`.
    """
    client.require_harmless(method)
    url = client.url(path)
    sent_at = client.clock.now()
    reads: list[Read] = []
    end, error = End.LEFT, ""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(bound_s):
            reader, writer = await connect(url)
            writer.write(_head(client, method, url, headers))
            end = await _drain(client, reader, reads)
    except TimeoutError:
        end = End.TIMEOUT
    except ConnectionResetError as reset:
        end, error = End.RESET, str(reset)
    except OSError as refused:
        end, error = End.REFUSED, str(refused)
    finally:
        if writer is not None:
            writer.close()
    raw = b"".join(read.data for read in reads)
    head, blank, rest = raw.partition(b"\r\n\r\n")
    status, answered = _parse_head(head) if blank else (None, ())
    return Recording(
        label=label,
        request=Request(
            method,
            client.secrets.shown(url),
            (*headers, *((n, REDACTED) for n, _ in client.extra_headers)),
        ),
        sent_at=sent_at,
        status=status,
        http_version="HTTP/1.1",
        headers=answered,
        head_at=reads[0].at if reads else None,
        end=end,
        ended_at=client.clock.now(),
        error=error,
        surplus=rest,
        info=info or {},
    )


async def _drain(client: Client, reader: asyncio.StreamReader, reads: list[Read]) -> End:
    size = 0
    while size < BYTES_MAX:
        idle = IDLE_S if reads else None
        try:
            async with asyncio.timeout(idle):
                data = await reader.read(65536)
        except TimeoutError:
            if idle is None:
                raise
            return End.LEFT
        if not data:
            return End.CLOSED
        reads.append(Read(client.clock.now(), client.secrets.masked(data)))
        size += len(data)
    return End.LEFT


def _parse_head(head: bytes) -> tuple[int | None, tuple[tuple[str, str], ...]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    pairs = (line.partition(":") for line in lines)
    return status, tuple((name.strip(), value.strip()) for name, _, value in pairs)


async def reset_at_once(
    client: Client, path: str, headers: tuple[tuple[str, str], ...] = (), *, after_s: float = 0.0
) -> bool:
    """Send a request and reset the connection (RST) without reading a byte of the answer.

    A reset that comes at once may arrive before the target has read the request, which is then
    lost with it; `after_s` gives the target so long to begin.

    Returns whether the request could be sent.
    """
    url = client.url(path)
    writer: asyncio.StreamWriter | None = None
    try:
        _, writer = await connect(url)
        writer.write(_head(client, "GET", url, headers))
        await asyncio.sleep(after_s)
        sock = writer.get_extra_info("socket")
        # Lingering for no time turns the close into a reset.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.transport.abort()
    return True


async def idle_until_closed(client: Client, bound_s: float) -> float | None:
    """How long the target keeps a connection on which, after one answer, nothing more is asked.

    Returns:
        Seconds from the last byte of the answer to the close; None where it was still open after
        `bound_s`, or could not be made.
    """
    writer: asyncio.StreamWriter | None = None
    began = client.clock.now()
    try:
        reader, writer = await connect(client.url("/"))
        writer.write(_head(client, "GET", client.url("/"), (("Accept", "*/*"),)))
        async with asyncio.timeout(bound_s):
            while data := await reader.read(65536):
                began = client.clock.now()
                del data
    except (TimeoutError, OSError):
        return None
    finally:
        if writer is not None:
            writer.close()
    return client.clock.now() - began
