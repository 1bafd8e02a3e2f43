"""Limits leave out what does not fit, and what they leave out is nobody's fault."""

from __future__ import annotations

import asyncio

import pytest

from streamgauge.check import Check, Run, judge
from streamgauge.client import Client
from streamgauge.clock import RunClock
from streamgauge.limits import CUT_SHORT, LEFT_OUT, NOT_BEGUN, Jobs, Limits, until_ready
from streamgauge.presence import until_gone
from streamgauge.recording import Bundle, End, Read, Recording, Request
from streamgauge.results import Verdict
from streamgauge.verdict import Broken, Found, Unable
from tests import test_judging


def answer(status: int | None, body: bytes = b"", end: End = End.COMPLETE) -> Recording:
    reads = (Read(0.1, body),) if body else ()
    return Recording("s", Request("POST", "/start"), 0.0, status=status, reads=reads, end=end)


def test_no_more_jobs_than_allowed() -> None:
    """If the allowance is used up, then no further start is sent."""
    jobs = Jobs(2)
    jobs.take()
    jobs.take()
    with pytest.raises(Unable, match=f"{CUT_SHORT}: --max-jobs 2 is used up"):
        jobs.take()


def test_what_made_no_job_costs_nothing() -> None:
    """If a start is refused, or answered with a job that is known, then it is given back."""
    jobs = Jobs(3)
    for given, left in (
        (answer(202, b'{"job_id": "a"}'), 2),
        (answer(202, b'{"job_id": "a"}'), 2),
        (answer(429), 2),
        (answer(None, end=End.REFUSED), 2),
        (answer(500), 1),
        (answer(None, end=End.TIMEOUT), 0),
    ):
        jobs.take()
        jobs.settle(given)
        assert jobs.left == left


def test_without_a_limit_nothing_is_counted_against() -> None:
    """If no limit is given, then every scenario may begin and every start be sent."""
    jobs = Jobs()
    for _ in range(500):
        jobs.take()
    assert not Limits(jobs, 0.0).refuse(1000, 1000.0, 0.0)


def test_scenarios_begin_while_there_is_room() -> None:
    """If a scenario needs more jobs or time than is left, then it is not begun, and why is told."""
    jobs = Jobs(10)
    limits = Limits(jobs, 20.0)
    assert not limits.refuse(6, 5.0, 20.0)
    jobs.take()  # the first scenario goes on with what it was promised
    assert limits.refuse(5, 5.0, 20.0) == (
        f"{NOT_BEGUN}: it starts up to 5 jobs, and --max-jobs 10 leaves 4"
    )
    assert not limits.refuse(4, 5.0, 20.0)
    assert limits.refuse(0, 30.0, 19.0) == (
        f"{NOT_BEGUN}: it takes about 30 s, and --budget 20 leaves 19 s"
    )


def outcome(does: Exception | Found, *unable: str) -> tuple[Verdict, str]:
    """What becomes of a check over the probe and scenarios that were left out for these reasons."""
    run: Run = test_judging.run_with()
    names = [f"scenario{n}" for n in range(len(unable))]
    run.evidence.bundles.update(
        {name: Bundle(name, unable=why) for name, why in zip(names, unable, strict=True)}
    )
    given = test_judging.check_that(does)
    result = judge(Check(given.requirement, ("probe", *names), "", given.function), run)
    return result.verdict, result.message


WHY = f"{NOT_BEGUN}: it takes about 30 s, and --budget 20 leaves 19 s"


def test_a_check_whose_scenario_was_left_out_was_not_run() -> None:
    """If a scenario was not begun and the check cannot do without, then it was not run."""
    assert outcome(Unable("nothing was seen"), WHY) == (Verdict.NOT_RUN, WHY)


def test_the_probe_alone_is_no_evidence() -> None:
    """If none of a check's own scenarios was begun, then what the probe shows is no pass."""
    assert outcome(Found(3, "events"), WHY, WHY) == (Verdict.NOT_RUN, WHY)
    assert outcome(Found(3, "events"), WHY, "")[0] is Verdict.PASS


def test_a_fault_stays_a_fault() -> None:
    """If the target broke the rule in what was played, then that counts."""
    assert outcome(Broken("wrong"), WHY)[0] is Verdict.FAIL


def test_a_part_that_was_not_looked_for_is_not_absent() -> None:
    """If a limit kept a part from being looked for, then its checks were not run."""
    for profile in ("resume-optimizer", "reference"):
        run = test_judging.run_with(profile=profile)
        run.evidence.found["cancel"] = f"{LEFT_OUT} (--max-jobs 1)"
        result = judge(test_judging.check_that(Found(1, "x"), part="cancel"), run)
        assert result.verdict is Verdict.NOT_RUN
        assert "--max-jobs 1" in result.message


class Service:
    """A port on which nobody listens until `open` is called."""

    def __init__(self, statuses: list[int]) -> None:
        self._statuses = statuses
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}", RunClock())


async def test_a_target_is_waited_for() -> None:
    """If the target comes up in time, be it behind a gateway, then the run begins then."""
    service = Service([503, 502, 404])
    await service.open()
    await service.close()
    client = service.client()
    waiting = asyncio.create_task(until_ready(client, 20.0))
    await asyncio.sleep(0.7)
    assert not waiting.done()
    await service.open()
    assert await waiting == ""
    await service.close()
    await client.aclose()


async def test_waiting_has_an_end() -> None:
    """If the target does not come up, then the wait ends in time and says what was seen."""
    service = Service([503])
    await service.open()
    client = service.client()
    seen = await until_ready(client, 1.0)
    assert seen.endswith("not ready within 1 s (it answers 503)")
    await service.close()
    assert "refused" in await until_ready(client, 1.0)
    await client.aclose()


async def test_a_target_that_goes_away_is_noticed() -> None:
    """If no connection can be made for seconds on end, then the target is gone, and not before."""
    service = Service([200])
    await service.open()
    client = service.client()
    gone = asyncio.create_task(until_gone(client))
    client.doubts += 1
    await asyncio.sleep(1.5)
    assert not gone.done()
    await service.close()
    client.doubts += 1
    assert "refused" in await asyncio.wait_for(gone, 15.0)
    await client.aclose()
