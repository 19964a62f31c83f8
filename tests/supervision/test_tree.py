"""Whatever breaks, the tree puts it right, in order, or gives up and says why."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio
from hypothesis import given, strategies as st
from parts import AT_ONCE, CALM, Crash, End, Fragile, Life, Nap, Part
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorGone,
    Exit,
    Ref,
    Rejected,
    Tell,
)
from actors.events import Cleaned, DeadLetter, Event, Failed, Started, Stopped
from supervision import (
    Backoff,
    Child,
    GetChildren,
    Intensity,
    MaxRestarts,
    StartChild,
    StopChild,
    Supervisor,
    System,
    SystemFailed,
)
from supervision.events import (
    BackingOff,
    Crashed,
    Escalated,
    Restarted,
    StartTimedOut,
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


async def test_a_crashed_child_is_restarted_and_its_mailbox_survives(
    events: list[Event],
) -> None:
    part = Child("part", Part)
    async with System(part, on_event=[events.append], random=Random(1)) as system:
        ref = system.ref(part)
        assert await ref.ask(Life()) == 1
        ref.tell(Crash())
        assert await ref.ask(Life()) == 2, "asked before the crash, answered after it"
    kinds = [type(e) for e in events if e.path == "app/part"]
    assert kinds == [
        *(Started, Failed, DeadLetter, Cleaned, Crashed, BackingOff),
        *(Started, Restarted),
        *(Cleaned, Stopped),
    ]


async def test_the_message_in_hand_is_not_replayed() -> None:
    part = Child("part", Part, handler_timeout=5)
    async with System(part) as system:
        with pytest.raises(ActorCrashed):
            await system.ref(part).ask(Nap(6))
        assert await system.ref(part).ask(Life()) == 2


@pytest.mark.parametrize(
    ("restart", "message", "comes_back"),
    [
        ("permanent", End(), True),
        ("transient", End(), False),
        ("transient", Crash(), True),
        ("temporary", Crash(), False),
    ],
)
async def test_the_restart_type_decides(
    restart: str, message: Tell[Part], *, comes_back: bool
) -> None:
    part = Child("part", Part, restart=restart)  # type: ignore[arg-type]
    async with System(part) as system:
        ref = system.ref(part)
        ref.tell(message)
        if comes_back:
            assert await ref.ask(Life()) == 2
        else:
            with pytest.raises(ActorGone):
                await ref.ask(Life())


async def test_too_many_restarts_fail_the_system_with_their_history(
    events: list[Event],
) -> None:
    part = Child("part", Part)
    other = Child("other", Part)
    with pytest.raises(SystemFailed) as caught:
        async with System(part, other, on_event=[events.append]) as system:
            for _ in range(4):
                system.ref(part).tell(Crash())
            await trio.sleep_forever()
    reason = caught.value.__cause__
    assert isinstance(reason, MaxRestarts)
    assert [exit_.kind for exit_ in reason.history] == ["failed"] * 4
    assert isinstance(reason.__cause__, ValueError)
    (escalated,) = [e for e in events if isinstance(e, Escalated)]
    assert (escalated.path, escalated.child) == ("app", "part")
    assert system.ref(other).gone is not None


async def test_a_supervisor_that_fails_before_it_starts_its_children_harms_nobody() -> (
    None
):
    starts: list[str] = []

    class Branch(Supervisor):
        async def started(self) -> None:
            starts.append(self.ctx.me.path)
            assert self.ctx.me.snapshot().children == []
            if len(starts) == 2:
                raise OSError("what it needs is away")
            await super().started()

    part, other = Child("part", Part), Child("other", Part)
    branch = Child("branch", lambda: Branch(part, intensity=Intensity(0)))
    async with System(branch, other, intensity=CALM, backoff=AT_ONCE) as system:
        system.ref(part).tell(Crash())  # so that the branch fails, and starts again
        await trio.sleep(1)
        assert await system.ref(other).ask(Life()) == 1
        assert await system.ref(part).ask(Life()) == 2
    assert len(starts) == 3


async def test_a_nested_supervisor_that_gives_up_is_restarted_with_its_children() -> (
    None
):
    part = Child("part", Part)
    inner = Child("inner", lambda: Supervisor(part, intensity=Intensity(0)))
    async with System(inner) as system:
        ref = system.ref(part)
        ref.tell(Crash())
        assert await ref.ask(Life()) == 2
        assert ref.path == "app/inner/part"


async def test_children_a_restarted_supervisor_does_not_know_are_gone() -> None:
    inner = Child("inner", lambda: Supervisor(part, intensity=Intensity(0)))
    part = Child("part", Part)
    async with System(inner) as system:
        late = await system.ref(inner).ask(StartChild(Child("late", Part)))
        assert await late.ask(Life()) == 1
        system.ref(part).tell(Crash())
        await trio.sleep(1)
        with pytest.raises(ActorGone):
            await late.ask(Life(), timeout=60)
        assert await system.ref(part).ask(Life()) == 2


async def test_nobody_is_restarted_while_siblings_are_being_stopped() -> None:
    log: list[str] = []
    slow = Backoff(first=2.0, cap=2.0)
    part, busy = Child("part", lambda: Part(log)), Child("busy", Part)
    async with trio.open_nursery() as nursery:
        async with System(part, busy, backoff=slow, intensity=CALM) as system:
            # The asker outlives the system.
            nursery.start_soon(system.ref(busy).ask, Nap(4.5))  # noqa: ASYNC111
            system.ref(part).tell(Crash())
            await wait_all_tasks_blocked()
    assert log == ["+app/part", "-app/part"]


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


async def test_a_slow_start_delays_nobody() -> None:
    class Slow(Part):
        async def started(self) -> None:
            await trio.sleep(8)

    async with System() as system, trio.open_nursery() as nursery:
        nursery.start_soon(system.start, Child("slow", Slow))
        await wait_all_tasks_blocked()
        await system.start(Child("quick", Part))
        assert trio.current_time() == 0


async def test_delays_keep_growing_however_long_a_child_fails_to_start(
    events: list[Event],
) -> None:
    fragile = Child("part", Fragile)
    async with System(
        fragile,
        intensity=CALM,
        backoff=Backoff(first=1, factor=2, cap=60, healthy=10),
        on_event=[events.append],
    ) as system:
        await trio.sleep(11)  # healthy for long enough, once
        system.ref(fragile).tell(Crash())
        await trio.sleep(500)
    attempts = [e.attempt for e in events if isinstance(e, BackingOff)]
    assert attempts == list(range(1, len(attempts) + 1))


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


async def test_a_ref_works_before_the_start_and_after_the_end() -> None:
    part, never = Child("part", Part), Child("never", Part)
    system = System(part)
    ref = system.ref(part)
    ref.tell(Crash())
    with pytest.raises(RuntimeError, match="not running"):
        await ref.ask(Life(), timeout=1)
    async with system:
        assert await ref.ask(Life(), timeout=60) == 2
        orphan = system.ref(never)
    for gone in (ref, orphan):
        with pytest.raises(ActorGone):
            await gone.ask(Life())


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


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["crash", "end", "ask", "stop", "wait"]),
        ),
        max_size=14,
    ),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.3, 40.0]),
)
def test_every_incarnation_is_cleaned_up_once_and_before_the_next(
    acts: list[tuple[str, str]], seed: int, cancel_after: float
) -> None:
    """Random misfortune; the events tell whether the promises were kept."""
    events: list[Event] = []

    async def scenario() -> None:
        parts = {name: Child(name, Part) for name in "abc"}
        system = System(
            *parts.values(),
            intensity=CALM,
            on_event=[events.append],
            random=Random(seed),
        )
        with trio.move_on_after(cancel_after):
            async with system, trio.open_nursery() as nursery:
                for name, act in acts:
                    ref = system.ref(parts[name])
                    if act == "crash":
                        ref.tell(Crash())
                    elif act == "end":
                        ref.tell(End())
                    elif act == "ask":
                        nursery.start_soon(ask, ref)
                    elif act == "stop" and ref.gone is None:
                        await system.stop(parts[name])
                    else:
                        await trio.sleep(0.5)

    async def ask(ref: Ref[Part]) -> None:
        try:
            await ref.ask(Life(), timeout=60)
        except (ActorGone, ActorCrashed):
            return

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    for name in "abc":
        mine = [e for e in events if e.path == f"app/{name}"]
        alive = 0
        for event in mine:
            if isinstance(event, Started):
                alive += 1
                assert alive == 1, "never two incarnations at once"
            elif isinstance(event, Cleaned):
                alive -= 1
                assert alive == 0, "cleaned once"
        assert alive == 0, "nothing is left at the end"


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


@pytest.mark.parametrize("seed", range(3))
async def test_children_of_a_supervisor_whose_parent_failed_come_back(
    seed: int,
) -> None:
    part, twin = Child("part", Part), Child("twin", Part)
    inner = Child("inner", lambda: Supervisor(part))
    outer = Child("outer", lambda: Supervisor(inner, twin, intensity=Intensity(0)))
    async with System(outer, random=Random(seed)) as system:
        ref = system.ref(part)
        system.ref(twin).tell(Crash())
        assert await ref.ask(Life()) == 1, "asked before anybody noticed"
        await trio.sleep(5)
        assert await ref.ask(Life()) == 2
        assert ref.path == "app/outer/inner/part"


async def test_children_of_a_supervisor_whose_restart_timed_out_come_back() -> None:
    slow_once: list[str] = []

    class Slow(Part):
        async def started(self) -> None:
            if self.ctx.incarnation == 2:
                slow_once.append(self.ctx.me.path)
                await trio.sleep_forever()

    log: list[str] = []
    quick, slow = Child("quick", lambda: Part(log)), Child("slow", Slow)
    inner = Child(
        "inner",
        lambda: Supervisor(quick, slow, intensity=Intensity(0)),
        start_timeout=3,
    )
    async with System(inner) as system:
        system.ref(quick).tell(Crash())
        await trio.sleep(10)
        assert slow_once
        assert await system.ref(quick).ask(Life()) == 3
        assert await system.ref(slow).ask(Life()) == 3


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


async def test_actors_are_found_by_path_and_by_group() -> None:
    a = Child("a", Part, groups=["parts"])
    b = Child("b", Part, groups=["parts", "late"])
    inner = Child("inner", lambda: Supervisor(a))
    async with System(inner) as system:
        assert system.find("app/inner/a", Part) is system.ref(a)
        with pytest.raises(LookupError, match="no actor at 'app/a'"):
            system.find("app/a", Part)
        assert system.members("late", Part) == ()
        await system.start(b)
        assert list(system.members("parts", Part)) == [system.ref(a), system.ref(b)]
        system.ref(a).tell(Crash())
        assert await system.find("app/inner/a", Part).ask(Life()) == 2
        await system.stop(b)
        assert list(system.members("parts", Part)) == [system.ref(a)]


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


async def test_a_system_is_entered_once() -> None:
    system = System(Child("a", Part))
    async with system:
        pass
    with pytest.raises(RuntimeError, match="app has been entered before"):
        await system.__aenter__()
