"""Work that crosses from trio to asyncio and back."""

from __future__ import annotations

import asyncio  # noqa: TID251 - what is on the other side
from contextlib import suppress

import attrs
import pytest
import trio
import trio.testing

from actors import Actor, Ask
from supervision import Child, System
from validator.adapters.lanes import Lane, LaneClosed, Work, open_lanes


class Boom(Exception):
    """What work fails with."""


@attrs.frozen
class Question(Ask["object", int]):
    """Asked of an actor."""


async def answer() -> int:
    await asyncio.sleep(0)
    return 42


async def boom() -> None:
    await asyncio.sleep(0)
    raise Boom


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_what_the_work_returns_or_raises_comes_back() -> None:
    async with open_lanes() as lanes:
        lane = lanes.lane()

        assert await lane.run(answer) == 42
        with pytest.raises(Boom):
            await lane.run(boom)
        assert await lane.run(answer) == 42


async def test_work_is_done_in_the_order_in_which_it_came() -> None:
    done: list[int] = []

    def work(n: int) -> Work[None]:
        async def note() -> None:
            await asyncio.sleep(1 / (n + 1))
            done.append(n)

        return note

    async with open_lanes() as lanes, trio.open_nursery() as nursery:
        lane = lanes.lane()
        for n in range(5):
            nursery.start_soon(lane.run, work(n))
            await trio.testing.wait_all_tasks_blocked()

    assert done == [0, 1, 2, 3, 4]


async def test_cancelled_work_is_cancelled_once_and_waited_for() -> None:
    steps: list[str] = []

    async def careful() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            steps.append("cancelled")
            await asyncio.sleep(3)  # noqa: ASYNC102 - of asyncio, which has no scopes
            steps.append("tidied up")
            raise

    async with open_lanes() as lanes:
        lane = lanes.lane()
        begin = trio.current_time()
        with trio.move_on_after(1) as scope:
            await lane.run(careful)

        assert scope.cancelled_caught
        assert steps == ["cancelled", "tidied up"]
        assert trio.current_time() - begin == pytest.approx(4)


async def test_a_deadline_holds_in_the_work_after_one_that_was_cancelled() -> None:
    async def limited() -> str:
        try:
            async with asyncio.timeout(1):
                await for_ever()
        except TimeoutError:
            return "its own deadline"
        return "no deadline"

    async with open_lanes() as lanes:
        lane = lanes.lane()
        with trio.move_on_after(1):
            await lane.run(for_ever)

        assert await lane.run(limited) == "its own deadline"


async def test_work_that_has_not_begun_is_taken_back() -> None:
    begun: list[str] = []

    async def note() -> None:
        begun.append("too late")

    async with open_lanes() as lanes, trio.open_nursery() as nursery:
        lane = lanes.lane()
        nursery.start_soon(lane.run, for_ever)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(1) as scope:
            await lane.run(note)
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()

    assert begun == []


async def test_what_ends_well_although_it_was_cancelled_is_not_lost() -> None:
    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await for_ever()
        return "committed"

    async with open_lanes() as lanes:
        lane = lanes.lane()
        with trio.move_on_after(1):
            assert await lane.run(stubborn) == "committed"
        assert await lane.run(answer) == 42


async def fails(lane: Lane, failed: list[str]) -> None:
    with pytest.raises(LaneClosed):
        await lane.run(for_ever)
    failed.append("told")


async def test_a_closed_lane_tells_all_who_wait_and_takes_no_more() -> None:
    failed: list[str] = []
    async with open_lanes() as lanes:
        lane = lanes.lane()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(fails, lane, failed)
            await trio.testing.wait_all_tasks_blocked()
            lane.close()

        assert failed == ["told"] * 3
        with pytest.raises(LaneClosed):
            await lane.run(answer)
        assert await lanes.lane().run(answer) == 42


async def test_the_end_of_the_loop_ends_all_lanes() -> None:
    failed: list[str] = []
    async with trio.open_nursery() as nursery:
        async with open_lanes() as lanes:
            for _ in range(3):
                nursery.start_soon(fails, lanes.lane(), failed)  # noqa: ASYNC111
            await trio.testing.wait_all_tasks_blocked()

    assert failed == ["told"] * 3
    with pytest.raises(LaneClosed):
        lanes.lane()


async def test_what_is_mentioned_in_passing_ends_nothing() -> None:
    async def mention() -> None:
        asyncio.get_running_loop().call_exception_handler({"message": "by the way"})

    async with open_lanes() as lanes:
        lane = lanes.lane()
        await lane.run(mention)

        assert await lane.run(answer) == 42


async def test_an_actor_that_was_not_started_below_the_loop_may_call() -> None:
    class Asks(Actor):
        def __init__(self, lane: Lane) -> None:
            self._lane = lane

        @Question.handled
        async def ask(self, m: Question) -> int:
            return await self._lane.run(answer)

    lanes_open: list[Lane] = []
    child = Child("asks", lambda: Asks(lanes_open[0]))
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def loop(task_status: trio.TaskStatus[Lane]) -> None:
            async with open_lanes() as lanes:
                task_status.started(lanes.lane())
                await stop.wait()

        lanes_open.append(await nursery.start(loop))
        async with System(child) as system:
            assert await system.ref(child).ask(Question(), timeout=1) == 42
        stop.set()
