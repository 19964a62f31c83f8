"""What a supervisor can be asked to do, and what it says to what it cannot do."""

from __future__ import annotations

import attrs
import pytest
import trio
from parts import AT_ONCE, CALM, Crash, End, Fragile, Life, Nap, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorGone, Ask, Exit, Rejected
from actors.events import Event
from supervision import (
    Backoff,
    Child,
    CleanUp,
    GetTree,
    Intensity,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    System,
)
from supervision.events import Escalated

FAR = Backoff(first=50, cap=50)


async def test_a_restart_stops_cleans_up_and_starts_and_costs_nothing(
    events: list[Event],
) -> None:
    log: list[str] = []
    part, other = parts("ab", log)
    tree = System(part, other, intensity=Intensity(0), on_event=[events.append])
    async with tree as system:
        for life in range(2, 6):
            log.clear()
            await system.restart(part)
            assert log == ["-app/a", "+app/a"]
            assert await system.ref(part).ask(Life()) == life
    assert not any(isinstance(e, Escalated) for e in events)


async def test_messages_wait_for_the_end_of_a_restart() -> None:
    (part,) = parts("a")
    async with System(part) as system, trio.open_nursery() as nursery:
        ref = system.ref(part)
        nursery.start_soon(ref.ask, Nap(3))
        await wait_all_tasks_blocked()
        nursery.start_soon(system.restart, part)
        await wait_all_tasks_blocked()
        assert await ref.ask(Life()) == 2
        assert trio.current_time() == pytest.approx(3), (
            "the message in hand is finished"
        )


@pytest.mark.parametrize("request_", [RestartChild("a"), CleanUp("a")])
async def test_what_is_being_stopped_for_good_is_not_restarted_and_says_so_at_once(
    request_: RestartChild | CleanUp,
) -> None:
    (part,) = parts("a")
    async with System(part) as system, trio.open_nursery() as nursery:
        nursery.start_soon(system.ref(part).ask, Nap(3))
        await wait_all_tasks_blocked()
        nursery.start_soon(system.stop, part)
        await wait_all_tasks_blocked()
        with pytest.raises(Rejected, match="app/a is being stopped for good"):
            await system.root.ask(request_)
        assert trio.current_time() == 0


async def test_a_restart_cuts_a_backoff_short() -> None:
    (part,) = parts("a")
    async with System(part, backoff=FAR, intensity=CALM) as system:
        system.ref(part).tell(Crash())
        await wait_all_tasks_blocked()
        await system.restart(part)
        assert trio.current_time() == 0
        assert await system.ref(part).ask(Life()) == 2


async def test_a_child_that_is_kept_is_down_until_it_is_restarted() -> None:
    (part,) = parts("a")
    async with System(part) as system:
        ref, root = system.ref(part), system.root
        exit_ = await root.ask(StopChild("a", forget=False))
        assert exit_.kind == "shutdown"
        with pytest.raises(ActorGone):
            await ref.ask(Life())
        assert [c.state for c in system.snapshot().children] == ["stopped"]
        with pytest.raises(Rejected, match="it is down: RestartChild starts it"):
            await system.start(Child("a", Part))
        assert (await root.ask(StopChild("a", forget=False))).kind == "shutdown"
        await system.restart(part)
        assert await ref.ask(Life()) == 2


async def test_a_child_that_ended_by_itself_can_be_restarted_or_forgotten() -> None:
    a, b = parts("ab", restart="transient")
    async with System(a, b) as system:
        for part in (a, b):
            system.ref(part).tell(End())
        await wait_all_tasks_blocked()
        await system.restart(a)
        assert await system.ref(a).ask(Life()) == 2
        assert (await system.stop(b)).kind == "normal"
        assert [c.path for c in system.snapshot().children] == ["app/a"]
        again = await system.start(Child("b", Part))
        assert await again.ask(Life()) == 1


async def test_a_group_revives_what_was_down_and_was_kept() -> None:
    a, b = parts("ab")
    async with System(a, b, strategy="one_for_all", backoff=AT_ONCE) as system:
        await system.root.ask(StopChild("a", forget=False))
        system.ref(b).tell(Crash())
        await wait_all_tasks_blocked()
        assert await system.ref(a).ask(Life()) == 2


async def test_a_start_that_was_asked_for_and_fails_is_not_repeated() -> None:
    part = Child("a", Fragile)
    async with System(part, intensity=Intensity(0)) as system:
        await system.root.ask(StopChild("a", forget=False))
        with pytest.raises(Rejected, match="app/a did not start: OSError"):
            await system.restart(part)
        await trio.sleep(100)
        assert [c.state for c in system.snapshot().children] == ["stopped"]
        with pytest.raises(ActorGone):
            await system.ref(part).ask(Life())


async def test_a_restart_that_fails_goes_on_as_any_other() -> None:
    class Moody(Part):
        async def started(self) -> None:
            if self.ctx.incarnation == 2:
                raise OSError("not today")

    part = Child("a", Moody)
    async with System(part, backoff=AT_ONCE) as system:
        with pytest.raises(Rejected, match="not today"):
            await system.restart(part)
        await wait_all_tasks_blocked()
        assert await system.ref(part).ask(Life()) == 3


async def test_a_stop_and_a_start_under_way_tell_whoever_asked_for_the_other() -> None:
    class Slow(Part):
        async def started(self) -> None:
            await trio.sleep(8)

    async with System() as system, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises(Rejected, match="app/slow was stopped"):
                await system.start(slow)

        slow = Child("slow", Slow)
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        await system.stop(slow)
        assert trio.current_time() == 0


@attrs.frozen
class Hold(Ask["Held", None]):
    """Handle nothing else until ``go``."""

    go: trio.Event


class Held(Supervisor):
    @Hold.handled
    async def hold(self, m: Hold) -> None:
        await m.go.wait()


async def test_a_child_stopped_before_its_start_began_never_starts() -> None:
    log: list[str] = []
    (part,) = parts("a", log)
    held, go = Child("held", Held), trio.Event()
    async with System(held) as system, trio.open_nursery() as nursery:
        supervisor = system.ref(held)

        async def start() -> None:
            with pytest.raises(Rejected, match="was stopped"):
                await supervisor.ask(StartChild(part))

        nursery.start_soon(supervisor.ask, Hold(go))
        await wait_all_tasks_blocked()
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        nursery.start_soon(supervisor.ask, StopChild("a"))
        await wait_all_tasks_blocked()
        go.set()
    assert log == []


async def test_wrong_requests_are_rejected_and_harm_nobody() -> None:
    (part,) = parts("a")
    theirs, ended = Child("theirs", Part), Child("ended", Part)
    inner = Child("inner", lambda: Supervisor(theirs))
    async with System(part, inner) as system:
        await system.start(ended)
        await system.stop(ended)
        elsewhere = Child("elsewhere", Part, restart="temporary", significant=True)
        for request, why in (
            (StartChild(ended), "'ended' has stopped for good; make a new Child"),
            (StartChild(theirs), "already a child of app/inner"),
            (StartChild(inner), "a child 'inner' already"),
            (StartChild(elsewhere), "auto_shutdown='never'"),
            (StartChild(Part), "StartChild takes a Child"),  # type: ignore[arg-type]
            (StopChild("nobody"), "app has no child 'nobody'"),
            (RestartChild("nobody"), "app has no child 'nobody'"),
        ):
            with pytest.raises(Rejected, match=why):
                await system.root.ask(request)
        with pytest.raises(Rejected, match="already a child of app"):
            await system.ref(inner).ask(StartChild(inner))
        assert await system.ref(part).ask(Life()) == 1
        assert await system.ref(theirs).ask(Life()) == 1


async def test_a_start_that_is_rejected_leaves_the_name_free() -> None:
    class Broken(Part):
        async def started(self) -> None:
            raise OSError("broken")

    async with System() as system:
        with pytest.raises(Rejected, match="broken"):
            await system.start(Child("a", Broken))
        again = await system.start(Child("a", Part))
        assert await again.ask(Life()) == 1


async def test_a_tree_tells_what_it_looks_like() -> None:
    inner = Child("inner", lambda: Supervisor(*parts("xy")))
    async with System(inner) as system:
        tree = await system.ref(inner).ask(GetTree())
        assert (tree.path, tree.state, tree.kind) == (
            "app/inner",
            "running",
            "Supervisor",
        )
        assert [c.path for c in tree.children] == ["app/inner/x", "app/inner/y"]


async def test_a_factory_that_makes_no_actor_is_a_start_that_failed() -> None:
    async with System() as system:
        with pytest.raises(Rejected, match="not an Actor"):
            await system.start(Child("a", object))

        def broken() -> Actor:
            raise KeyError("no configuration")

        with pytest.raises(Rejected, match="no configuration"):
            await system.start(Child("a", broken))


async def test_who_waits_for_an_end_is_told_how_it_was_also_if_it_is_over() -> None:
    (part,) = parts("a")
    async with System(part) as system, trio.open_nursery() as nursery:
        ref, exits = system.ref(part), list[Exit]()

        async def wait() -> None:
            exits.append(await ref.stopped())

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        ref._mailbox.close(Exit("shutdown"))
        ref._mailbox.reopen()
        await wait_all_tasks_blocked()
        assert exits == [Exit("shutdown")]
        assert ref.gone is None
