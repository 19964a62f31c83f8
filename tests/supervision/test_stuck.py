"""What cannot be ended is named, is asked nothing more, and holds up nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from parts import AT_ONCE, CALM, Crash, Freeze, Life, Part, parts
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import ActorCrashed, ActorGone, Ref, Rejected, Snapshot
from actors.events import Event
from supervision import (
    Child,
    CleanUp,
    Intensity,
    RestartChild,
    ShutdownStuck,
    StopChild,
    Supervisor,
    System,
    SystemFailed,
    events as tree_events,
    pool_of,
)
from supervision.events import Stuck

Outcomes = list[str]


@pytest.fixture
def ask_freeze(
    nursery: trio.Nursery,
) -> Callable[[Ref[Part], float], Outcomes]:
    """Freeze a part in the background; what its asker gets is in the list."""

    def freeze(ref: Ref[Part], seconds: float) -> Outcomes:
        outcomes: Outcomes = []

        async def ask() -> None:
            try:
                await ref.ask(Freeze(seconds))
            except (ActorCrashed, ActorGone) as error:
                outcomes.append(f"{type(error).__name__} at {trio.current_time():g}")

        nursery.start_soon(ask)
        return outcomes

    return freeze


Freezer = Callable[[Ref[Part], float], Outcomes]


def states(tree: Snapshot) -> dict[str, str]:
    return {child.path: child.state for child in tree.children}


async def test_askers_of_a_stuck_child_are_told_and_later_ones_at_once(
    ask_freeze: Freezer,
) -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)
    async with System(part) as system:
        ref = system.ref(part)
        in_hand = ask_freeze(ref, 20)
        await wait_all_tasks_blocked()
        behind = ask_freeze(ref, 1)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="app/a is stuck"):
            await system.stop(part)
        assert trio.current_time() == pytest.approx(3), "shutdown, cleanup, unwinding"
        with pytest.raises(ActorGone):
            await ref.ask(Life())
        await wait_all_tasks_blocked()
        assert (in_hand, behind) == (["ActorCrashed at 3"], ["ActorGone at 3"])
        with pytest.raises(Rejected, match="is stuck"):
            await system.stop(part)


async def test_it_is_named_with_its_stack_every_minute_until_it_ends(
    ask_freeze: Freezer, events: list[Event]
) -> None:
    part, other = parts("ab", shutdown=1, cleanup=1)
    async with System(part, other, on_event=[events.append]) as system:
        ask_freeze(system.ref(part), 200)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected):
            await system.stop(part)
        await trio.sleep(300)
        assert await system.ref(other).ask(Life()) == 1
        assert states(system.snapshot()) == {"app/b": "running"}, "it ended after all"
    reports = [e for e in events if isinstance(e, Stuck)]
    assert [(e.path, e.incarnation) for e in reports] == [("app/a", 1)] * 4
    assert all(any(line.endswith("freeze") for line in e.stack) for e in reports)


async def test_it_is_not_replaced_while_its_task_lives(ask_freeze: Freezer) -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)
    async with System(part) as system:
        ref = system.ref(part)
        ask_freeze(ref, 50)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="is stuck"):
            await system.restart(part)
        await trio.sleep_until(49)
        assert states(system.snapshot()) == {"app/a": "stuck"}
        assert ref.gone is not None
        await trio.sleep_until(51)
        assert await ref.ask(Life()) == 2, "the restart that was asked for"


@pytest.mark.parametrize("request_", [RestartChild("a"), CleanUp("a")])
async def test_who_asks_for_what_is_stuck_is_told_so_and_need_not_wait(
    ask_freeze: Freezer, request_: RestartChild | CleanUp
) -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)
    async with System(part) as system:
        ask_freeze(system.ref(part), 50)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="is stuck"):
            await system.root.ask(StopChild("a", forget=False))
        asked_at = trio.current_time()
        with pytest.raises(Rejected, match="is stuck"):
            await system.root.ask(request_)
        assert trio.current_time() == asked_at
        await trio.sleep_until(51)
        assert await system.ref(part).ask(Life()) == 2, "the restart that was asked for"


async def test_a_group_is_restarted_without_its_stuck_member(
    ask_freeze: Freezer,
) -> None:
    log: list[str] = []
    a, b, c = parts("abc", log, shutdown=1, cleanup=1)
    async with System(a, b, c, strategy="one_for_all", backoff=AT_ONCE) as system:
        ask_freeze(system.ref(b), 100)
        await wait_all_tasks_blocked()
        log.clear()
        system.ref(c).tell(Crash())
        assert await system.ref(c).ask(Life()) == 2
        assert log == ["-app/c", "-app/a", "+app/a", "+app/c"]
        await trio.sleep_until(101)
        assert await system.ref(b).ask(Life()) == 2


async def test_a_supervisor_with_a_stuck_child_is_stuck_and_its_siblings_go_on(
    ask_freeze: Freezer, events: list[Event]
) -> None:
    log: list[str] = []
    x, y = parts("xy", log, shutdown=1, cleanup=1)
    inner = Child("inner", lambda: Supervisor(x, y))
    elder, younger = parts("ab", log)
    tree = (elder, inner, younger)
    async with System(*tree, on_event=[events.append], backoff=AT_ONCE) as system:
        ask_freeze(system.ref(y), 100)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="app/inner is stuck"):
            await system.root.ask(RestartChild("inner"))
        assert log[-1] == "-app/inner/x"
        for ref in (system.ref(inner), system.ref(x), system.ref(y)):
            assert ref.gone is not None
        assert await system.ref(elder).ask(Life()) == 1
        assert states(system.snapshot())["app/inner"] == "stuck"
        await trio.sleep_until(101)
        assert await system.ref(y).ask(Life()) == 2
        assert await system.ref(x).ask(Life()) == 2
    assert {e.path for e in events if isinstance(e, Stuck)} == {"app/inner/y"}


async def test_a_supervisor_that_gives_up_beside_a_stuck_child_is_replaced_later(
    ask_freeze: Freezer,
) -> None:
    x, y = parts("xy", shutdown=1, cleanup=1)
    inner = Child("inner", lambda: Supervisor(x, y, intensity=Intensity(0)))
    async with System(inner, backoff=AT_ONCE) as system:
        ask_freeze(system.ref(x), 50)
        await wait_all_tasks_blocked()
        system.ref(y).tell(Crash())
        await trio.sleep_until(49)
        assert states(system.snapshot()) == {"app/inner": "stuck"}
        with pytest.raises(ActorGone):
            await system.ref(y).ask(Life())
        await trio.sleep_until(51)
        assert await system.ref(y).ask(Life()) == 2
        assert await system.ref(x).ask(Life()) == 2


async def test_a_start_that_cannot_be_interrupted_is_stuck(
    events: list[Event],
) -> None:
    class Stubborn(Part):
        async def started(self) -> None:
            if self.ctx.incarnation == 2:
                with trio.CancelScope(shield=True):
                    await trio.sleep(60)

    part = Child("a", Stubborn, start_timeout=5, cleanup=1)
    async with System(part, backoff=AT_ONCE, on_event=[events.append]) as system:
        ref = system.ref(part)
        ref.tell(Crash())
        await trio.sleep_until(8)
        assert states(system.snapshot()) == {"app/a": "stuck"}
        with pytest.raises(ActorGone):
            await ref.ask(Life())
        await trio.sleep_until(61)
        assert await ref.ask(Life()) == 3


def test_a_start_that_was_interrupted_and_ended_is_not_stuck(
    events: list[Event],
) -> None:
    class Late(Part):
        async def started(self) -> None:
            if self.ctx.incarnation == 2:
                await trio.sleep_forever()

    async def scenario() -> None:
        part = Child("a", Late, start_timeout=5)
        async with System(part, on_event=[events.append]) as system:
            system.ref(part).tell(Crash())
            assert await system.ref(part).ask(Life()) == 3

    # Trio wakes those that wait for one event in random order: often enough for both.
    for _ in range(20):
        trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert not any(isinstance(e, Stuck) for e in events)


async def test_a_stop_goes_on_beside_what_is_stuck_and_the_system_says_who_is(
    ask_freeze: Freezer, events: list[Event]
) -> None:
    log: list[str] = []
    x, y = parts("xy", log, shutdown=1, cleanup=1)
    inner = Child("inner", lambda: Supervisor(x, y))
    elder, younger = parts("ab", log)
    tree = (elder, inner, younger)
    with pytest.raises(ShutdownStuck, match="app/inner/y would not die") as caught:
        async with System(*tree, shutdown=20, on_event=[events.append]) as system:
            ask_freeze(system.ref(y), 100)
            await wait_all_tasks_blocked()
            log.clear()
    assert log[:3] == ["-app/b", "-app/inner/x", "-app/a"]
    assert trio.current_time() == pytest.approx(100), "not before it has really ended"
    assert "freeze" in str(caught.value)
    (told,) = [e for e in events if isinstance(e, tree_events.ShutdownStuck)]
    assert [stuck.path for stuck in told.stuck] == ["app/inner/y"]


async def test_who_subscribes_learns_of_it_too_when_the_bound_is_over_before(
    ask_freeze: Freezer, nursery: trio.Nursery
) -> None:
    (part,) = parts("a", shutdown=3, cleanup=1)
    told: list[str] = []

    async def read(system: System) -> None:
        with system.subscribe(Stuck, tree_events.ShutdownStuck) as events:
            told.extend([type(event).__name__ async for event in events])

    with pytest.raises(ShutdownStuck):
        async with System(part, shutdown=0.5) as system:
            nursery.start_soon(read, system)
            ask_freeze(system.ref(part), 30)
            await wait_all_tasks_blocked()
    await wait_all_tasks_blocked()
    assert told == ["Stuck", "ShutdownStuck"]


async def test_one_that_is_stuck_but_ends_within_the_bound_is_no_failure(
    ask_freeze: Freezer,
) -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)
    async with System(part, shutdown=20) as system:
        ask_freeze(system.ref(part), 10)
        await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(10)


async def test_a_root_that_fails_beside_a_stuck_child_ends_the_block_at_once(
    ask_freeze: Freezer,
) -> None:
    a, b = parts("ab", shutdown=1, cleanup=1)
    with pytest.raises(SystemFailed):
        async with System(a, b, intensity=Intensity(0), shutdown=500) as system:
            ask_freeze(system.ref(a), 100)
            await wait_all_tasks_blocked()
            system.ref(b).tell(Crash())
            await trio.sleep(90)
            raise AssertionError("the block should have been cancelled")
    assert trio.current_time() == pytest.approx(100)


async def test_stopping_what_is_stuck_for_good_frees_its_name_once_it_ends(
    ask_freeze: Freezer,
) -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)
    async with System(part, intensity=CALM) as system:
        ask_freeze(system.ref(part), 50)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="is stuck"):
            await system.root.ask(StopChild("a"))
        with pytest.raises(Rejected, match="already"):
            await system.start(Child("a", Part))
        await trio.sleep_until(51)
        again = await system.start(Child("a", Part))
        assert await again.ask(Life()) == 1


async def test_a_system_that_cannot_start_beside_what_is_stuck_says_so() -> None:
    class Stubborn(Part):
        async def run(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

    class Broken(Part):
        async def started(self) -> None:
            await trio.sleep(1)
            raise OSError("away")

    stubborn = Child("stubborn", Stubborn, shutdown=1, cleanup=1)
    with pytest.raises(ShutdownStuck, match="app/stubborn would not die") as caught:
        async with System(stubborn, Child("broken", Broken), shutdown=20):
            raise AssertionError("unreachable")
    assert "away" in str(caught.value.__cause__)
    assert trio.current_time() == pytest.approx(100)


async def test_a_handler_that_froze_and_ended_after_all_is_restarted(
    ask_freeze: Freezer,
) -> None:
    part = Child("a", Part, handler_timeout=2, cleanup=1)
    async with System(part, backoff=AT_ONCE) as system:
        ref = system.ref(part)
        outcomes = ask_freeze(ref, 20)
        await trio.sleep(4)
        assert states(system.snapshot()) == {"app/a": "stuck"}
        assert outcomes == ["ActorCrashed at 3"]
        with pytest.raises(ActorGone):
            await ref.ask(Life())
        await trio.sleep_until(21)
        assert await ref.ask(Life()) == 2


async def test_a_stuck_worker_does_not_hold_up_its_pool(ask_freeze: Freezer) -> None:
    pool = pool_of(Child("parts", Part, shutdown=1, cleanup=1), size=2)
    async with System(pool) as system:
        ref = system.ref(pool)
        outcomes = ask_freeze(ref, 50)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="app/parts/0 is stuck"):
            await system.find("app/parts", Supervisor).ask(RestartChild("0"))
        await wait_all_tasks_blocked()
        assert outcomes == ["ActorCrashed at 3"]
        assert [await ref.ask(Life()) for _ in range(3)] == [1, 1, 1]
        await trio.sleep_until(51)
        assert {await ref.ask(Life()) for _ in range(4)} == {1, 2}


async def test_a_group_goes_on_beside_a_supervisor_that_is_held_up_in_its_restart() -> (
    None
):
    class Stubborn(Part):
        async def run(self) -> None:
            if self.ctx.incarnation == 2:
                with trio.CancelScope(shield=True):
                    await trio.sleep(100)

    class Broken(Part):
        async def started(self) -> None:
            if self.ctx.incarnation == 2:
                raise OSError("away")

    stubborn = Child("stubborn", Stubborn, shutdown=1, cleanup=1)
    broken, after = Child("broken", Broken), Child("after", Part)
    inner = Child("inner", lambda: Supervisor(stubborn, broken, intensity=Intensity(0)))
    async with System(inner, after, strategy="rest_for_one", backoff=AT_ONCE) as system:
        system.ref(broken).tell(Crash())
        await trio.sleep(5)  # long before its start would be too slow
        assert states(system.snapshot())["app/inner"] == "stuck"
        assert await system.ref(after).ask(Life(), timeout=1) == 2
        await trio.sleep(100)
        assert await system.ref(broken).ask(Life(), timeout=1) == 3
