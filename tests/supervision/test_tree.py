"""A tree runs, and ends in order, whatever is the reason."""

from __future__ import annotations

import gc

import pytest
import trio
from parts import End, Life, Nap, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorGone,
    Exit,
    Ref,
    Rejected,
)
from actors.events import Event, Stopped
from supervision import (
    Child,
    GetChildren,
    StopChild,
    Supervisor,
    System,
    SystemFailed,
)


async def test_children_start_in_order_and_stop_in_reverse() -> None:
    log: list[str] = []
    inner = Child("inner", lambda: Supervisor(*map(part, "xy")))

    def part(name: str) -> Child[Part]:
        return Child(name, lambda: Part(log))

    async with System(part("a"), inner, part("c")):
        pass
    up = ["app/a", "app/inner/x", "app/inner/y", "app/c"]
    assert log == [f"+{p}" for p in up] + [f"-{p}" for p in reversed(up)]


async def test_the_order_is_the_same_when_the_host_cancels() -> None:
    log: list[str] = []
    parts = [Child(name, lambda: Part(log)) for name in "abc"]
    with trio.move_on_after(1):
        async with System(*parts):
            await trio.sleep_forever()
    assert log == ["+app/a", "+app/b", "+app/c", "-app/c", "-app/b", "-app/a"]


async def test_children_come_and_go_while_it_runs() -> None:
    async with System() as system:
        ref = await system.start(Child("late", Part))
        assert ref.path == "app/late"
        with pytest.raises(Rejected, match="already"):
            await system.start(Child("late", Part))
        assert await system.root.ask(GetChildren()) == ("late",)
        exit_ = await system.root.ask(StopChild("late"))
        assert exit_.kind == "shutdown"
        with pytest.raises(ActorGone):
            await ref.ask(Life())
        with pytest.raises(Rejected, match="no child 'late'"):
            await system.root.ask(StopChild("late"))
        again = await system.start(Child("late", Part))
        assert await again.ask(Life()) == 1


async def test_a_child_busy_beyond_its_patience_is_cancelled_and_still_cleaned_up() -> (
    None
):
    log: list[str] = []
    part = Child("part", lambda: Part(log), shutdown=3)
    async with trio.open_nursery() as nursery:
        async with System(part) as system:

            async def ask() -> None:
                with pytest.raises(ActorCrashed):
                    await system.ref(part).ask(Nap(20))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(3)
    assert log == ["+app/part", "-app/part"]


async def test_what_the_block_raises_leaves_unchanged() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with System(Child("a", Part)):
            raise KeyError("mine")


async def test_a_snapshot_shows_the_tree_without_asking_anybody() -> None:
    part = Child("part", Part, mailbox=3)
    inner = Child("inner", lambda: Supervisor(part))
    async with System(inner) as system, trio.open_nursery() as nursery:
        nursery.start_soon(system.ref(part).ask, Nap(5))
        await wait_all_tasks_blocked()
        system.ref(part).tell(End())
        root = system.snapshot()
        (middle,) = root.children
        (leaf,) = middle.children
        assert (root.kind, middle.path, leaf.path) == (
            "Supervisor",
            "app/inner",
            "app/inner/part",
        )
        assert (leaf.state, leaf.current, leaf.mailbox) == ("running", "Nap", 1)
    assert system.snapshot().state == "stopped"


async def test_a_system_forgets_the_children_that_came_and_went() -> None:
    async with System() as system:
        for n in range(50):
            await system.start(Child(f"n{n}", Part))
            await system.root.ask(StopChild(f"n{n}"))
        gc.collect()
        assert len(system._runtime.registry._refs) <= 1


async def test_a_system_ends_when_its_significant_child_does() -> None:
    log: list[str] = []
    a, b = Child("a", lambda: Part(log)), Child("b", lambda: Part(log))
    main = Child("main", Part, restart="temporary", significant=True)
    async with System(a, b, main, auto_shutdown="any_significant") as system:
        system.ref(main).tell(End())
        await trio.sleep(1000)
    assert trio.current_time() == 0
    assert log[-2:] == ["-app/b", "-app/a"]


async def test_a_supervisor_that_shut_down_has_ended_normally(
    events: list[Event],
) -> None:
    job = Child("job", Part, restart="transient", significant=True)
    inner = Child(
        "inner",
        lambda: Supervisor(job, auto_shutdown="all_significant"),
        restart="transient",
    )
    async with System(inner, on_event=[events.append]) as system:
        system.ref(job).tell(End())
        await wait_all_tasks_blocked()
        with pytest.raises(ActorGone):
            await system.ref(inner).ask(GetChildren())
    (stopped,) = [e for e in events if isinstance(e, Stopped) and e.path == "app/inner"]
    assert stopped.exit.kind == "normal"


@pytest.mark.parametrize("shutdown", [-1, float("nan")])
def test_a_bound_that_is_no_time_is_refused(shutdown: float) -> None:
    with pytest.raises(ValueError, match="shutdown must not be negative"):
        System(shutdown=shutdown)


async def test_a_leaving_supervisor_keeps_no_child_waiting_for_it() -> None:
    """Whether it is to come back or not."""
    outcomes: list[str] = []

    class Curious(Part):
        async def run(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                    await self._ask()

        async def _ask(self) -> None:
            try:
                await system.root.ask(GetChildren())
            except ActorGone:
                outcomes.append("gone")

    system = System(Child("a", Curious))
    async with system:
        pass
    assert outcomes == ["gone"]
    assert trio.current_time() == 0


async def test_what_fails_while_the_bound_cancels_it_does_not_leave_in_a_group() -> (
    None
):
    class Sore(Part):
        async def run(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("not like this")

        @Nap.handled
        async def nap(self, m: Nap) -> None:
            await trio.sleep(m.seconds)

    sore = Child("sore", Sore, shutdown=50)
    inner = Child("inner", lambda: Supervisor(sore))
    async with trio.open_nursery() as nursery:

        async def ask(ref: Ref[Part]) -> None:
            with pytest.raises(ActorCrashed):
                await ref.ask(Nap(20))

        with pytest.raises(SystemFailed, match="not stopped in time"):
            async with System(inner, shutdown=3) as system:
                nursery.start_soon(ask, system.ref(sore))  # noqa: ASYNC111 - on purpose
                await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(3)


async def test_a_supervisor_out_of_patience_is_cancelled_with_all_below_it() -> None:
    log: list[str] = []

    class Slow(Part):
        async def stopping(self, exit_: Exit) -> None:
            await trio.sleep(1)
            await super().stopping(exit_)

    async def ask(ref: Ref[Part]) -> None:
        with pytest.raises(ActorCrashed):
            await ref.ask(Nap(40))

    low = [Child(name, lambda: Slow(log), shutdown=50) for name in "abc"]
    inner = Child("inner", lambda: Supervisor(*low))
    outer = Child("outer", lambda: Supervisor(inner), shutdown=2)
    async with System(outer) as system, trio.open_nursery() as nursery:
        for part in low:
            nursery.start_soon(ask, system.ref(part))
        await wait_all_tasks_blocked()
        await system.stop(outer)
        assert trio.current_time() == pytest.approx(3)
        assert sorted(log[3:]) == [f"-app/outer/inner/{name}" for name in "abc"]


async def test_a_busy_child_has_five_seconds_to_stop_unless_it_is_told_otherwise() -> (
    None
):
    (part,) = parts("a")
    async with System(part) as system, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ActorCrashed):
                await system.ref(part).ask(Nap(20))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await system.stop(part)
        assert trio.current_time() == 5
