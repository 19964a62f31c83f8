"""Many deadlines, one task: each in time, and no pile of those that are over."""

from __future__ import annotations

from random import Random

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock

from actors import Actor, Ask, AskTimeout, Ref, open_actor
from actors._core.alarms import Alarms


@attrs.frozen
class Nap(Ask["Sleeper", float]):
    seconds: float


class Sleeper(Actor):
    @Nap.handled
    async def nap(self, m: Nap) -> float:
        await trio.sleep(m.seconds)
        return trio.current_time()


def alarms_of(ref: Ref[Sleeper]) -> Alarms:
    return ref._mailbox.runtime.alarms


async def test_deadlines_of_what_was_answered_do_not_pile_up() -> None:
    most = 0
    async with open_actor(Sleeper) as sleeper:
        for _ in range(3000):
            await sleeper.ask(Nap(0), timeout=1000)
            most = max(most, len(alarms_of(sleeper)._heap))
    assert 0 < most <= 257


@pytest.mark.parametrize("others", [10, 255, 256, 257, 1000])
async def test_those_that_count_are_exact_among_many_that_are_over(
    others: int,
) -> None:
    """Also the nearest, set when there is no room for another without clearing up."""
    ends: list[tuple[float, float]] = []

    async def give_up_in(seconds: float) -> None:
        begun = trio.current_time()
        with pytest.raises(AskTimeout):
            await sleeper.ask(Nap(500), timeout=seconds)
        ends.append((seconds, trio.current_time() - begun))

    async with open_actor(Sleeper, handler_timeout=None, shutdown=1) as sleeper:
        for _ in range(others):
            await sleeper.ask(Nap(0), timeout=400)
        async with trio.open_nursery() as nursery:
            for seconds in (30, 20, 10, 25, 5):
                nursery.start_soon(give_up_in, seconds)
    assert ends == [(s, s) for s in (5, 10, 20, 25, 30)]


async def test_what_is_to_be_called_is_called_once_in_time_unless_cancelled() -> None:
    called: list[tuple[str, float]] = []
    alarms = Alarms()

    def call(name: str) -> None:
        called.append((name, trio.current_time()))
        if name == "b":
            c.cancel()

    async with trio.open_nursery() as nursery:
        await nursery.start(alarms.run)
        alarms.call_at(2, lambda: call("b"))
        alarms.call_at(1, lambda: call("a"))
        c = alarms.call_at(2, lambda: call("c"))
        never = alarms.call_at(1.5, lambda: call("never"))
        never.cancel()
        assert not never.pending
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert called == [("a", 1), ("b", 2)]


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_whatever_is_set_and_called_off_the_rest_comes_in_time(seed: int) -> None:
    """Enough of them for those that are over to be cleared up several times."""
    random = Random(seed)
    due: list[float] = []
    came: list[float] = []

    async def scenario() -> None:
        alarms = Alarms()
        async with trio.open_nursery() as nursery:
            await nursery.start(alarms.run)
            for _ in range(1500):
                at = trio.current_time() + random.randrange(1, 1000)
                call = alarms.call_at(at, lambda: came.append(trio.current_time()))
                if random.random() < 0.7:
                    call.cancel()
                else:
                    due.append(at)
                if random.random() < 0.01:
                    await trio.sleep(random.randrange(50))
            await trio.sleep(2000)
            nursery.cancel_scope.cancel()

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert came == sorted(due)
