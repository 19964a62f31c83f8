"""What fails comes back with its mailbox, or the tree gives up and says why."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import given, strategies as st
from parts import AT_ONCE, CALM, Crash, End, Fragile, Life, Nap, Part
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorGone,
    Ref,
    Tell,
)
from actors.events import Cleaned, DeadLetter, Event, Failed, Started, Stopped
from supervision import (
    Backoff,
    Child,
    Intensity,
    MaxRestarts,
    StartChild,
    Supervisor,
    System,
    SystemFailed,
)
from supervision.events import (
    BackingOff,
    Crashed,
    Escalated,
    Restarted,
)


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
