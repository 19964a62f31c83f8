"""Children that come and go: as many as are allowed, and none left behind."""

from __future__ import annotations

import gc

import pytest
import trio
from parts import CALM, Crash, End, Freeze, Life, Nap, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed, ActorGone, Ref, Rejected
from actors.events import Event
from supervision import (
    Backoff,
    Child,
    DynamicSupervisor,
    GetChildren,
    Intensity,
    StartChild,
    StopChild,
    Supervisor,
    System,
)
from supervision.events import Stuck


def dynamic(
    limit: int | None = None, intensity: Intensity = CALM
) -> Child[DynamicSupervisor]:
    return Child(
        "many", lambda: DynamicSupervisor(max_children=limit, intensity=intensity)
    )


async def test_there_are_as_many_as_are_allowed_and_places_become_free() -> None:
    many = dynamic(2)
    async with System(many) as system:
        boss: Ref[Supervisor] = system.ref(many)
        a, b, c = parts("abc")
        await boss.ask(StartChild(a))
        await boss.ask(StartChild(b))
        with pytest.raises(Rejected, match="has 2 children, and may have no more"):
            await boss.ask(StartChild(c))
        await boss.ask(StopChild("a"))
        third = await boss.ask(StartChild(c))
        assert await third.ask(Life()) == 1
        assert await boss.ask(GetChildren()) == ("b", "c")


async def test_one_that_backs_off_keeps_its_place() -> None:
    far = Backoff(first=50, cap=50)
    many = Child(
        "many", lambda: DynamicSupervisor(max_children=1, intensity=CALM, backoff=far)
    )
    async with System(many) as system:
        (part,) = parts("a")
        ref = await system.ref(many).ask(StartChild(part))
        ref.tell(Crash())
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="may have no more"):
            await system.ref(many).ask(StartChild(Child("b", Part)))


async def test_what_has_ended_is_forgotten() -> None:
    many = dynamic()
    async with System(many) as system:
        boss = system.ref(many)

        async def come_and_go(name: str) -> None:
            child = Child(name, Part, restart="transient")
            ref = await boss.ask(StartChild(child))
            ref.tell(End())
            await wait_all_tasks_blocked()
            with pytest.raises(ActorGone):
                await ref.ask(Life())

        for n in range(50):
            await come_and_go(f"n{n}")
        assert await boss.ask(GetChildren()) == ()
        gc.collect()
        assert len(system._runtime.registry._refs) <= 2


async def test_a_crashed_one_is_restarted_and_after_its_supervisor_none_is() -> None:
    many = dynamic(intensity=Intensity(1, within=100))
    async with System(many) as system:
        (part,) = parts("a")
        ref = await system.ref(many).ask(StartChild(part))
        ref.tell(Crash())
        assert await ref.ask(Life()) == 2
        ref.tell(Crash())
        with pytest.raises(ActorGone):
            await ref.ask(Life())
        assert await system.ref(many).ask(GetChildren()) == ()


async def test_all_are_stopped_at_once() -> None:
    many = dynamic()
    async with trio.open_nursery() as nursery:
        async with System(many) as system:
            for part in parts("abcdef", shutdown=100):
                ref = await system.ref(many).ask(StartChild(part))
                nursery.start_soon(ref.ask, Nap(10))
            await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(10)


async def test_one_that_is_stuck_does_not_keep_the_others(events: list[Event]) -> None:
    many = dynamic()

    async def freeze(ref: Ref[Part]) -> None:
        with pytest.raises(ActorCrashed):
            await ref.ask(Freeze(25))

    log: list[str] = []
    async with trio.open_nursery() as nursery:
        async with System(many, on_event=[events.append]) as system:
            for part in parts("abc", log, shutdown=1, cleanup=1):
                await system.ref(many).ask(StartChild(part))
                if part.name == "c":
                    nursery.start_soon(freeze, system.ref(part))  # noqa: ASYNC111
            await wait_all_tasks_blocked()
    assert sorted(log[3:5]) == ["-app/many/a", "-app/many/b"]
    assert [e.path for e in events if isinstance(e, Stuck)] == ["app/many/c"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_supervisor_that_may_have_no_children_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="max_children must be at least 1"):
        DynamicSupervisor(max_children=limit)
