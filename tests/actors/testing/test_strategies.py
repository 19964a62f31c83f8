"""Schedules are drawn whole, find what depends on order, and shrink to few words."""

from __future__ import annotations

import hypothesis
import pytest
import trio
from hypothesis import find, given, settings

from actors.testing import FIFO, Schedule, Tape, World, schedules, simulate


async def race(world: World) -> int:
    """Adds one twice, and forgets that another may do so meanwhile."""
    count = 0

    async def add() -> None:
        nonlocal count
        seen = count
        await trio.lowlevel.checkpoint()
        count = seen + 1

    async def wait_and_add() -> None:
        await trio.sleep(1)
        await add()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_and_add)
        await trio.sleep(1)
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        await add()
    return count


QUIET = settings(database=None, max_examples=1000)


def test_a_race_is_found_and_shrunk_to_one_choice() -> None:
    assert simulate(race).value == 2
    schedule = find(
        schedules(), lambda s: simulate(race, schedule=s).value == 1, settings=QUIET
    )
    assert isinstance(schedule, Tape)
    assert 1 <= sum(map(bool, schedule.choices)) <= 2


def test_without_a_reason_it_shrinks_to_first_in_first_out() -> None:
    assert find(schedules(), lambda _: True, settings=QUIET) == FIFO


@settings(max_examples=200, database=None)
@given(schedules(length=8))
def test_no_tape_is_longer_than_was_asked_for(schedule: Schedule) -> None:
    assert isinstance(schedule, Tape)
    assert len(schedule.choices) <= 8


def test_a_tape_of_no_length_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 choice"):
        schedules(0)


def test_hypothesis_may_stop_a_run_as_it_likes() -> None:
    @settings(max_examples=20, database=None, phases=[hypothesis.Phase.generate])
    @given(schedules())
    def often_rejected(schedule: Schedule) -> None:
        async def main(world: World) -> None:
            world.at_step(world.step + 1, lambda: hypothesis.assume(schedule != FIFO))
            await trio.sleep(1)

        simulate(main, schedule=schedule)

    often_rejected()
