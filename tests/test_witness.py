"""What real clients make of recorded streams, told without a verdict."""

from __future__ import annotations

import asyncio
import json

import pytest

from streamgauge.recording import Bundle, End, Read, Recording, Request
from streamgauge.report.data import heard_otherwise
from streamgauge.witness import (
    Difference,
    Heard,
    Stream,
    Witness,
    differences,
    hear,
    hearing,
    truth,
)
from streamgauge.witness.clients import LeftOut, hear_chromium, hear_httpx_sse, hear_node
from streamgauge.witness.sample import STREAM_BYTES_MAX, STREAMS_MAX, sample
from tests import needs

A, B, C = (Heard("message", text, str(n)) for n, text in enumerate("abc", start=1))

PLAIN = Stream("plain", (b"id: 1\ndata: a\n\nid: 2\n", b"data: b\n\n"))
BOM = Stream("bom", (b"\xef\xbb\xbfdata: a\n\n", b"id: 2\ndata: b\n\n"))
PADDED = Stream("padded", (b"id: 1\ndata: a\n\n: pad\n\n: pad\n\n", b"id: 2\ndata: b\n\n"))
CR = Stream("cr", (b"id: 1\rdata: a\r\rid: 2\rdata: b\r\r",))
NUL = Stream("nul", (b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",))
SPLIT = Stream("split", tuple(bytes([octet]) for octet in "id: ä\r\ndata: \u2028\r\n\r\n".encode()))
HOSTILE = (PLAIN, BOM, PADDED, CR, NUL, SPLIT)


def stream_recording(label: str, body: bytes, content_type: str = "text/event-stream") -> Recording:
    return Recording(
        label,
        Request("GET", "http://h.example/s"),
        0.0,
        200,
        headers=(("Content-Type", content_type),),
        reads=(Read(0.1, body),),
        end=End.COMPLETE,
        ended_at=0.2,
    )


def kinds(found: tuple[Difference, ...]) -> list[tuple[str, int]]:
    return [(each.kind, each.count) for each in found]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ([A, B, C], []),
        ([A, C], [("missed", 1)]),
        ([], [("missed", 3)]),
        ([A, Heard("message", "", "1"), B, C], [("extra", 1)]),
        ([A, B, B, C], [("extra", 1)]),
        ([A, Heard("message", "x", "2"), C], [("changed", 1)]),
        ([Heard("message", "a", ""), B, C], [("changed", 1)]),
        ([A, Heard("other", "y", "9"), C], [("missed", 1), ("extra", 1)]),
    ],
    ids=["truth", "one missed", "nothing", "phantom", "twice", "data", "id", "another"],
)
def test_each_kind_of_difference_is_told(
    heard: list[Heard], expected: list[tuple[str, int]]
) -> None:
    """If a client hears more, less or something else, then each is counted by its kind."""
    assert kinds(differences("s", (A, B, C), heard)) == expected


def test_a_client_that_gives_up_is_told() -> None:
    """If a client stops before the end, then its reason stands beside what it missed."""
    found = differences("s", (A, B), [A], "it raises ValueError after 1 events")
    assert kinds(found) == [("missed", 1), ("failed", 1)]
    assert found[0].example == "event 'message', id '2', data 'b', after id '1', is not heard"


def test_long_texts_are_cut() -> None:
    """If a text is long, then an example repeats only its beginning."""
    (found,) = differences("s", (Heard("message", "x" * 5000, ""),), [])
    assert len(found.example) < 200


def test_the_truth_follows_the_standard() -> None:
    """If a stream is odd, then the truth is what the standard has dispatched."""
    assert truth(
        b"\xef\xbb\xbfid: 1\ndata: a\n\n: c\n\nid\n\nevent: x\ndata: b\n\ndata: no end"
    ) == (
        Heard("message", "a", "1"),
        Heard("x", "b", ""),
    )


async def test_httpx_sse_hears_what_it_is_known_to_hear() -> None:
    """If comments follow an id or a mark stands first, then httpx-sse 0.4.3 hears otherwise."""
    _, heard = await hear_httpx_sse(HOSTILE)
    found = {
        stream.name: kinds(differences(stream.name, stream.truth, events, why))
        for stream, (events, why) in zip(HOSTILE, heard, strict=True)
    }
    assert found == {
        "plain": [],
        "bom": [("missed", 1)],
        "padded": [("extra", 2)],
        "cr": [],
        "nul": [],
        "split": [],
    }


async def test_a_client_that_fails_is_heard_to_fail() -> None:
    """If a client raises, then that is a difference and no fault of the run."""
    odd = Stream("odd", (b"data: a\n\n",), "application/json")
    _, [(events, why)] = await hear_httpx_sse([odd])
    assert events == [] and why == "it raises SSEError after 0 events"


async def test_the_npm_client_hears_the_recorded_bytes() -> None:
    """If streams are played to npm's eventsource, then plain ones are heard as they are."""
    needs.npm_client()
    version, heard = await hear_node(HOSTILE)
    assert version
    found = {s.name: differences(s.name, s.truth, *h) for s, h in zip(HOSTILE, heard, strict=True)}
    assert found["plain"] == found["padded"] == found["bom"] == ()
    assert kinds(found["nul"]) == [("changed", 1)]


async def test_chromium_hears_the_truth() -> None:
    """If streams are played to a browser, then it hears what the standard says, oddities too."""
    needs.browser()
    version, heard = await hear_chromium(HOSTILE)
    assert version
    for stream, (events, why) in zip(HOSTILE, heard, strict=True):
        assert differences(stream.name, stream.truth, events, why) == ()


def test_a_client_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a client is missing or breaks, then it is left out with the reason, and others go on."""

    async def absent(_: object) -> object:
        raise LeftOut("install it")

    async def broken(_: object) -> object:
        raise RuntimeError("secret")

    monkeypatch.setattr(hearing, "hear_node", absent)
    monkeypatch.setattr(hearing, "hear_chromium", broken)
    bundle = Bundle("log", (stream_recording("replay", b"id: 1\ndata: a\n\n"),))
    first, second, third = hear([bundle], browser=True)
    assert (first.streams, first.events, first.differences, first.left_out) == (1, 1, (), "")
    assert second.left_out == "install it"
    assert third.left_out == "asking it failed (RuntimeError)"


def test_without_streams_nobody_is_asked() -> None:
    """If a run saw no stream, then there is nothing to hear."""
    page = stream_recording("page", b"<html>", "text/html")
    assert hear([Bundle("log", (page,))], browser=False) == ()


def test_the_sample_is_bounded_and_varied() -> None:
    """If a run has many streams, then a handful is played: each with something of its own."""
    common = [stream_recording(f"reader{n} x", b"id: 1\ndata: a\n\n") for n in range(50)]
    odd = stream_recording("odd", b"\xef\xbb\xbfid: 1\rdata: a\r\r")
    large = stream_recording("large", b": pad\n\n" * 100_000)
    chosen = sample([Bundle("log", (*common, odd, large)), Bundle("live", tuple(common))])
    assert len(chosen) <= STREAMS_MAX
    assert {"log/odd", "log/large"} <= {stream.name for stream in chosen}
    assert max(sum(map(len, stream.chunks)) for stream in chosen) == STREAM_BYTES_MAX


def test_differences_are_summed_up_in_words() -> None:
    """If a client hears otherwise, then one line says how much."""
    found = (
        Difference("a", "extra", 2, ""),
        Difference("b", "extra", 1, ""),
        Difference("b", "missed", 1, ""),
    )
    assert heard_otherwise(Witness("c", differences=found)) == "invents 3 events, misses 1 event"
    assert heard_otherwise(Witness("c")) == ""


def test_a_player_ends_with_its_clients() -> None:
    """If nobody reads what is played, then the player ends all the same."""
    from streamgauge.witness.replay import playing

    async def unread() -> None:
        async with playing([Stream("big", (b"x" * 65_536,) * 64)]) as address:
            host, port = address.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /0 HTTP/1.1\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.close()

    asyncio.run(asyncio.wait_for(unread(), 10.0))


def test_results_carry_the_witnesses() -> None:
    """If clients were asked, then `results.json` says what they heard."""
    from streamgauge.report.data import results_json
    from streamgauge.results import RunResult, RunVerdict

    witness = Witness("c", "1", 2, 3, (Difference("s", "missed", 1, "x"),))
    run = RunResult("http://h", "p", "", 1.0, RunVerdict.CONFORMANT, "", (), witnesses=(witness,))
    assert json.loads(results_json(run))["witnesses"] == [
        {
            "client": "c",
            "version": "1",
            "streams": 2,
            "events": 3,
            "left_out": "",
            "differences": [{"stream": "s", "kind": "missed", "count": 1, "example": "x"}],
        }
    ]
