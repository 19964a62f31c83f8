"""Breakers that find out themselves whether what failed is well again."""

from __future__ import annotations

import attrs
import trio
from guarding import POLICY, Answer, Query, stage

from supervision import (
    ForceOpen,
    ResetBreaker,
)


async def test_its_own_probe_closes_it_without_any_caller() -> None:
    answers: list[bool | Exception] = [False, ValueError("still down"), True]
    at: list[float] = []

    async def probe() -> bool:
        at.append(trio.current_time())
        await trio.sleep(1)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with stage(probe) as on:
        begin = trio.current_time()
        await on.fails(2)
        await trio.sleep(10.5)
        error = await on.refused()
        assert error.retry_after > 0, "no caller takes part while its probe is at work"
        await trio.sleep(1)
        assert (await on.refused()).last_failure == "probe: not well yet"
        await trio.sleep(21)
        assert "still down" in (await on.refused()).last_failure
        await trio.sleep(100)
        assert await on.state() == "closed"
        await on.fails(2)
        assert await on.state() == "open"
        answers.append(True)
        await trio.sleep(100)
        assert await on.state() == "closed"
    assert [t - begin for t in at[:3]] == [10, 31, 72]
    assert len(at) == 4


async def test_while_its_own_probe_is_at_work_no_caller_is_let_through() -> None:
    policy = attrs.evolve(POLICY, probes=2)
    async with stage(trio.sleep_forever, policy) as on:
        await on.fails(2)
        await trio.sleep(10.5)
        assert await on.state() == "half_open"
        await on.refused()


async def test_a_probe_that_hangs_has_failed() -> None:
    async with stage(trio.sleep_forever) as on:
        await on.fails(2)
        await trio.sleep(10 + 15.5)
        assert "took longer than 15 s" in (await on.refused()).last_failure


async def test_set_by_hand_it_ends_the_probe_at_work() -> None:
    spans: list[tuple[float, float]] = []

    async def probe() -> bool:
        begin = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            spans.append((begin, trio.current_time()))

    async with stage(probe) as on:
        start = trio.current_time()
        await on.fails(2)
        await trio.sleep(12)
        await on.breakers.ask(ForceOpen("peer", seconds=5))
        await trio.sleep(7)
        assert await on.state() == "half_open"
        await on.breakers.ask(ResetBreaker("peer"))
        on.plain.tell(Answer("fine"))
        assert await on.peer.ask(Query()) == "fine"
        await trio.sleep(100)
        assert on.told()[-1] == "BreakerClosed"
        assert [(a - start, b - start) for a, b in spans] == [(10, 12), (17, 19)]
