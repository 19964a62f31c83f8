"""What goes wrong when chaos is wanted: the plan, and how a task meets it."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import get_args

import pytest
import trio

from actors import open_actor
from actors.events import Event
from validator.simulation.chaos import (
    Chaos,
    ChaosError,
    ChaosMet,
    Kind,
    Task,
    Trap,
    Traps,
    chaos_plan,
)


def test_the_same_seed_draws_the_same_plan_and_another_seed_another() -> None:
    assert chaos_plan(1) == chaos_plan(1) != chaos_plan(2)


@pytest.mark.parametrize("seed", range(10))
def test_each_kind_happens_to_each_task_once(seed: int) -> None:
    drawn = Counter((trap.kind, trap.task) for trap in chaos_plan(seed))
    assert drawn == Counter(product(get_args(Kind), get_args(Task)))


def trap(kind: Kind, task: Task = "database", *, late: bool = False) -> Trap:
    return Trap(kind, task, late=late, gap=1)


@pytest.mark.parametrize("late", [False, True])
async def test_a_crash_comes_before_the_work_or_after_it_and_only_once(
    late: bool,
) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    traps = Traps(block=0)
    traps.arm(trap("crash", late=late))
    await traps.meet("weights", work)
    done.clear()

    with pytest.raises(ChaosError, match="database was made to crash"):
        await traps.meet("database", work)
    assert done == ["work"] * late
    await traps.meet("database", work)


async def test_who_is_frozen_goes_on_once_it_is_calm() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    traps = Traps(block=0)
    traps.arm(trap("freeze"))
    traps.arm(trap("crash"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(traps.meet, "database", work)
        await trio.sleep(1000)
        assert done == []
        traps.calm()
    await traps.meet("database", work)
    assert done == ["work", "work"]


async def test_the_actor_sets_one_after_the_other_reports_and_takes_away_the_rest() -> (
    None
):
    events: list[Event] = []
    plan = [trap("block"), trap("crash", late=True), trap("crash")]
    traps = Traps(block=0)

    async def work() -> None:
        await trio.lowlevel.checkpoint()

    async with open_actor(
        lambda: Chaos(plan, traps, hour=10), name="chaos", on_event=[events.append]
    ):
        await trio.sleep(9)
        await traps.meet("database", work)
        assert [event for event in events if isinstance(event, ChaosMet)] == []
        await trio.sleep(16)
        await traps.meet("database", work)
        with pytest.raises(ChaosError):
            await traps.meet("database", work)
        await trio.sleep(10)
    await traps.meet("database", work)

    assert [event for event in events if isinstance(event, ChaosMet)] == [
        ChaosMet("chaos", "block", "database", late=False),
        ChaosMet("chaos", "crash", "database", late=True),
    ]
