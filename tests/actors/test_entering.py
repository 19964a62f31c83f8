"""Entering and leaving a block of actors: in order, and cancelled at any moment."""

from __future__ import annotations

import pytest
import trio
from parts import Freeze, Nap, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorCrashed, open_actor
from actors.events import Cleaned, Event, Started, Stopped
from supervision import Child, ShutdownStuck, Supervisor, System


async def test_who_is_cancelled_before_anything_began_leaves_at_once(
    events: list[Event],
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_actor(Part, on_event=[events.append]):
            raise AssertionError("was entered")
    assert scope.cancelled_caught
    assert trio.current_time() == 0
    assert not [e for e in events if isinstance(e, Started)]


async def test_who_is_cancelled_while_an_actor_starts_leaves_at_once() -> None:
    class Slow(Actor):
        async def started(self) -> None:
            await trio.sleep(100)

    with trio.move_on_after(1):
        async with open_actor(Slow):
            raise AssertionError("was entered")
    assert trio.current_time() == 1


@pytest.mark.parametrize("steps", range(30))
async def test_who_is_cancelled_at_any_step_of_entering_leaves_nothing_behind(
    steps: int, events: list[Event]
) -> None:
    log: list[str] = []
    inner = Child("inner", lambda: Supervisor(*parts("ab", log)))

    async def enter() -> None:
        async with System(inner, *parts("c", log), on_event=[events.append]):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 0
    up = [line[1:] for line in log if line[0] == "+"]
    down = [line[1:] for line in log if line[0] == "-"]
    assert down == up[::-1]
    started = [e.path for e in events if isinstance(e, Started)]
    cleaned = [e.path for e in events if isinstance(e, Cleaned)]
    assert {*started} <= {*cleaned}


async def test_what_is_in_a_hurry_cancels_what_runs_and_cleans_up() -> None:
    log: list[str] = []
    (part,) = parts("a", log, shutdown=100)

    async def ask() -> None:
        with pytest.raises(ActorCrashed):
            await system.ref(part).ask(Nap(50))

    async with trio.open_nursery() as nursery:
        async with System(part) as system:
            nursery.start_soon(ask)  # noqa: ASYNC111 - its asker is told of the end
            await trio.sleep(3)
            system.hurry()
    assert trio.current_time() == 3, "and that is no failure"
    assert log == ["+app/a", "-app/a"]


async def test_what_does_not_end_is_named_with_its_stack_when_time_is_over() -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)

    async def ask() -> None:
        with pytest.raises(ActorCrashed):
            await system.ref(part).ask(Freeze(50))

    async with trio.open_nursery() as nursery:
        with pytest.raises(ShutdownStuck) as caught:
            async with System(part, shutdown=10) as system:
                nursery.start_soon(ask)  # noqa: ASYNC111 - its asker is told of it
                await wait_all_tasks_blocked()
    (stuck,) = caught.value.stuck
    assert stuck.path == "app/a"
    assert any(line.endswith(" freeze") for line in stuck.stack)


async def test_several_tasks_of_a_handler_that_are_cancelled_are_no_failure(
    events: list[Event],
) -> None:
    """What leaves its nursery then is a group of cancellations."""

    class Busy(Part):
        @Nap.handled
        async def nap(self, m: Nap) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(trio.sleep, m.seconds)

    async def ask() -> None:
        with pytest.raises(ActorCrashed):
            await busy.ask(Nap(50))

    async with trio.open_nursery() as nursery:
        async with open_actor(Busy, shutdown=2, on_event=[events.append]) as busy:
            nursery.start_soon(ask)  # noqa: ASYNC111 - its asker is told of the end
            await wait_all_tasks_blocked()
    assert trio.current_time() == 2
    assert busy.gone is not None
    assert (busy.gone.kind, busy.gone.failure) == ("killed", None)
    assert [type(e) for e in events] == [Started, Cleaned, Stopped]
