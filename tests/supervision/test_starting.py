"""Starts: in turn, in time, and stopped or cancelled at any moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from parts import CALM, Crash, Life, Part
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Exit, Ref, Rejected
from actors.events import Event, Started
from supervision import (
    Backoff,
    Child,
    Supervisor,
    System,
    SystemFailed,
)
from supervision.events import (
    StartTimedOut,
)


async def test_a_slow_start_delays_nobody() -> None:
    class Slow(Part):
        async def started(self) -> None:
            await trio.sleep(8)

    async with System() as system, trio.open_nursery() as nursery:
        nursery.start_soon(system.start, Child("slow", Slow))
        await wait_all_tasks_blocked()
        await system.start(Child("quick", Part))
        assert trio.current_time() == 0


async def test_a_child_can_be_stopped_while_it_backs_off_or_starts() -> None:
    class Slow(Part):
        async def started(self) -> None:
            await trio.sleep(8)
            if self.ctx.incarnation > 1:
                await trio.sleep_forever()

    slow = Child("slow", Slow, start_timeout=1000)
    far = Backoff(first=50, cap=50)
    async with System(slow, backoff=far, intensity=CALM) as system:
        system.ref(slow).tell(Crash())
        await wait_all_tasks_blocked()
        assert system.snapshot().children[0].state == "backing off"
        await system.stop(slow)
        assert trio.current_time() == pytest.approx(8)


async def test_a_start_that_takes_too_long_ends_the_start_of_the_system(
    events: list[Event],
) -> None:
    log: list[str] = []

    class Frozen(Part):
        async def started(self) -> None:
            await trio.sleep_forever()

    with pytest.raises(SystemFailed, match="within 3 s"):
        async with System(
            Child("a", lambda: Part(log)),
            Child("b", Frozen, start_timeout=3),
            on_event=[events.append],
        ):
            raise AssertionError("unreachable")
    assert log == ["+app/a", "-app/a"]
    assert [e.path for e in events if isinstance(e, StartTimedOut)] == ["app/b"]


async def test_a_start_that_takes_too_long_stops_elder_siblings_in_reverse() -> None:
    log: list[str] = []

    class Frozen(Part):
        async def started(self) -> None:
            await trio.sleep_forever()

    elders = [Child(name, lambda: Part(log)) for name in "abcdef"]
    inner = Child(
        "inner", lambda: Supervisor(*elders, Child("frozen", Frozen)), start_timeout=3
    )
    with pytest.raises(SystemFailed, match="app/inner did not finish started"):
        async with System(inner):
            raise AssertionError("unreachable")
    up = [f"app/inner/{name}" for name in "abcdef"]
    assert log == [f"+{p}" for p in up] + [f"-{p}" for p in reversed(up)]


async def test_a_time_limit_of_the_child_itself_is_not_that_of_its_start(
    events: list[Event],
) -> None:
    class Impatient(Part):
        async def started(self) -> None:
            with trio.fail_after(1):
                await trio.sleep_forever()

    with pytest.raises(SystemFailed, match="TooSlowError"):
        async with System(Child("a", Impatient), on_event=[events.append]):
            raise AssertionError("unreachable")
    assert not [e for e in events if isinstance(e, StartTimedOut)]


async def test_a_cancel_while_starting_interrupts_the_start_and_cleans_up() -> None:
    log: list[str] = []

    class Slow(Part):
        async def started(self) -> None:
            await trio.sleep(8)

    parts = [Child(name, lambda: Part(log)) for name in "abcdef"]
    with trio.move_on_after(2):
        async with System(*parts, Child("slow", Slow)):
            raise AssertionError("unreachable")
    assert trio.current_time() == pytest.approx(2)
    up = [f"app/{name}" for name in "abcdef"]
    assert log == [f"+{p}" for p in up] + [f"-{p}" for p in reversed(up)]


async def test_an_elder_sibling_cannot_wait_for_one_that_is_not_started() -> None:
    young = Child("young", Part)

    class Elder(Part):
        def __init__(self, to: Ref[Part]) -> None:
            super().__init__()
            self.to = to

        async def started(self) -> None:
            await self.to.ask(Life())

    elder: Child[Elder] = Child("elder", lambda: Elder(system.ref(young)))
    system = System(elder, young)
    with pytest.raises(SystemFailed, match="would wait for itself"):
        async with system:
            raise AssertionError("unreachable")
    assert trio.current_time() == 0


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("again", [False, True])
async def test_a_stop_at_any_step_of_a_start_leaves_nothing(
    steps: int, *, again: bool
) -> None:
    log: list[str] = []
    refusals: list[str] = []

    class Stepwise(Part):
        async def started(self) -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            await super().started()

    async def attempt(request: Callable[[Child[Part]], Awaitable[object]]) -> None:
        try:
            await request(part)
        except Rejected as error:
            refusals.append(str(error))

    part = Child("a", lambda: Stepwise(log), shutdown=1, cleanup=1)
    async with System() as system, trio.open_nursery() as nursery:
        if again:
            await system.start(part)
        nursery.start_soon(attempt, system.restart if again else system.start)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        await attempt(system.stop)
        await wait_all_tasks_blocked()
        assert trio.current_time() == 0
        if "app has no child 'a'" not in refusals:  # the stop overtook the start
            assert not system.snapshot().children
            assert log[-1:] != ["+app/a"], "cleaned up, if it had begun"


async def test_a_system_is_entered_once() -> None:
    system = System(Child("a", Part))
    async with system:
        pass
    with pytest.raises(RuntimeError, match="app has been entered before"):
        await system.__aenter__()


class Quiet(Actor):
    """Has no start of its own."""


async def test_children_without_a_start_of_their_own_cost_their_siblings_no_wait() -> (
    None
):
    begin = trio.current_time()
    events: list[Event] = []
    children = [Child(f"{n}", Quiet) for n in range(40)]
    async with System(*children, on_event=[events.append]):
        up = [event.path for event in events if isinstance(event, Started)]
        assert up == [*(f"app/{n}" for n in range(40)), "app"]
    assert trio.current_time() == begin


async def test_what_was_never_used_is_stopped_and_killed_like_the_rest() -> None:
    idle = Child("idle", Quiet)
    async with System(idle) as system:
        assert (await system.stop(idle)).kind == "shutdown"

    with pytest.raises(SystemFailed, match="not stopped in time"):
        async with System(idle := Child("idle", Quiet), shutdown=0) as system:
            pass
    assert system.ref(idle).gone == Exit("killed")
