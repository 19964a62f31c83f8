"""Every ask ends once, in time, and what was never begun is never executed."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorError,
    ActorGone,
    Ask,
    AskTimeout,
    MailboxFull,
    Ref,
    Rejected,
    Tell,
    Unhandled,
)
from actors.events import DeadLetter, Event
from supervision import Backoff, Child, Intensity, System


@attrs.frozen
class Work(Ask["Worker", int]):
    n: int
    how: str = "ok"
    sender: int = 0


@attrs.frozen
class CancelledWork(Ask["Worker", int]):
    abandon = "cancel"
    to: Ref[Worker] | None
    seconds: float


@attrs.frozen
class Block(Tell["Worker"]):
    """Hold up everybody, in one step that takes so long."""

    seconds: float


@attrs.frozen
class Unknown(Ask["Worker", int]):
    pass


@attrs.frozen
class UnknownNote(Tell["Worker"]):
    pass


class Worker(Actor):
    def __init__(self, log: list[Any] | None = None) -> None:
        self.log = [] if log is None else log

    @Work.handled
    async def work(self, m: Work) -> int:
        self.log.append(m)
        box = self.ctx.me.snapshot()
        assert box.mailbox <= box.capacity
        match m.how:
            case "reject":
                raise Rejected("no")
            case "boom":
                raise ValueError("boom")
            case "slow":
                await trio.sleep(1)
            case "hang":
                await trio.sleep(50)
            case _:
                pass
        return m.n

    @CancelledWork.handled
    async def cancelled_work(self, m: CancelledWork) -> int:
        try:
            if m.to is not None:
                return await m.to.ask(CancelledWork(None, m.seconds))
            await trio.sleep(m.seconds)
        except trio.Cancelled:
            self.log.append((self.ctx.me.path, trio.current_time()))
            raise
        return 1

    @Block.handled
    def block(self, m: Block) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(m.seconds)


async def test_a_role_that_has_not_started_refuses_once_it_is_known_what_it_handles(
    events: list[Event],
) -> None:
    child = Child("worker", Worker)
    system = System(child, on_event=[events.append])
    ref = system.ref(child)
    assert ref.tell(UnknownNote())
    outcomes: list[object] = []

    async def ask() -> None:
        with pytest.raises(Unhandled, match="Worker has no handler for Unknown"):
            await ref.ask(Unknown())
        outcomes.append("unhandled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        async with system:
            assert await ref.ask(Work(1)) == 1
            assert ref.snapshot().restarts == 0, "that fails no receiver"
    assert outcomes == ["unhandled"]
    letters = [(e.message, e.reason) for e in events if isinstance(e, DeadLetter)]
    assert letters == [(UnknownNote(), "unhandled")]


async def test_giving_up_a_cancel_ask_cancels_what_it_asked_at_the_same_instant() -> (
    None
):
    log: list[Any] = []
    a, b = (Child(name, lambda: Worker(log)) for name in "ab")
    async with System(a, b, name="app") as system:
        with trio.move_on_after(2):
            await system.ref(a).ask(CancelledWork(system.ref(b), 50))
        with pytest.raises(AskTimeout) as caught:
            await system.ref(a).ask(CancelledWork(system.ref(b), 50), timeout=3)
        assert caught.value.started
        await wait_all_tasks_blocked()
        assert await system.ref(a).ask(Work(1)) == 1
        assert system.ref(b).snapshot().restarts == 0
    assert sorted(log[:4]) == [
        ("app/a", 2),
        ("app/a", 5),
        ("app/b", 2),
        ("app/b", 5),
    ]


async def test_a_finish_handler_inherits_no_deadline() -> None:
    class Relay(Worker):
        async def work(self, m: Work) -> int:
            n = await system.ref(to).ask(m)
            self.log.append("relayed")
            return n

    log: list[Any] = []
    to, relay = Child("to", Worker), Child("relay", lambda: Relay(log))
    async with System(to, relay) as system:
        with pytest.raises(AskTimeout):
            await system.ref(relay).ask(Work(1, "slow"), timeout=0.5)
        await trio.sleep(1)
    assert log == ["relayed"]


@pytest.mark.parametrize("attempt", range(8))
async def test_what_expired_during_a_long_step_never_begins(attempt: int) -> None:
    """Whoever has its turn first after the step: the reader, or the deadlines."""
    log: list[Any] = []
    child = Child("worker", lambda: Worker(log))
    async with System(child) as system:
        ref = system.ref(child)
        ref.tell(Block(2))
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Work(1), timeout=1)
        assert not caught.value.started
        await wait_all_tasks_blocked()
    assert log == []


# -- random plans --------------------------------------------------------------

Step = tuple[int, str, float, float, float]
"""Sender, how it is handled, pause before, timeout, patience of the caller."""

steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["ok", "ok", "slow", "boom", "hang", "reject"]),
        st.sampled_from([0.0, 0.0, 0.5, 2.0]),
        st.sampled_from([0.0, 0.5, 1.5, 10.0, math.inf]),
        st.sampled_from([0.0, 0.7, 3.0, math.inf]),
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=150)
@given(steps, st.integers(1, 3), st.sampled_from([0.1, 1.2, 6.0, 100.0]))
def test_every_ask_ends_once_and_in_time_whatever_happens(
    plan: list[Step], capacity: int, life: float
) -> None:
    """Senders in turn, a worker that crashes and hangs, an end that comes any time."""
    trio.run(_play, plan, capacity, life, clock=MockClock(autojump_threshold=0))


async def _play(plan: list[Step], capacity: int, life: float) -> None:
    log: list[Any] = []
    fate: dict[int, list[str]] = {n: [] for n in range(len(plan))}
    overdue: list[int] = []
    child = Child(
        "worker",
        lambda: Worker(log),
        mailbox=capacity,
        handler_timeout=4,
        shutdown=1,
    )
    system = System(
        child, backoff=Backoff(first=0.5, cap=1), intensity=Intensity(100, 1000)
    )
    ref = system.ref(child)

    async def act(n: int, step: Step) -> None:
        sender, how, pause, timeout, patience = step
        await trio.sleep(pause)
        begin = trio.current_time()
        with trio.move_on_after(patience) as scope:
            try:
                await ref.ask(Work(n, how, sender), timeout=timeout)
                fate[n].append("reply")
            except AskTimeout as error:
                fate[n].append("timeout " + ("begun" if error.started else "waiting"))
            except (ActorError, Rejected) as error:
                fate[n].append(type(error).__name__)
        if scope.cancelled_caught:
            fate[n].append("cancelled")
        if trio.current_time() > begin + min(timeout, patience):
            overdue.append(n)

    async def send_in_turn(sender: int) -> None:
        for n, step in enumerate(plan):
            if step[0] == sender:
                await act(n, step)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(life):
            async with system:
                for sender in range(4):
                    nursery.start_soon(send_in_turn, sender)
                await trio.sleep_forever()

    assert overdue == []
    assert all(len(ends) == 1 for ends in fate.values()), fate
    executed = [m.n for m in log]
    assert len(set(executed)) == len(executed), "nothing is executed twice"
    for n, (end,) in fate.items():
        if end in (ActorGone.__name__, MailboxFull.__name__, "timeout waiting"):
            assert n not in executed, (n, end)
        if end in ("reply", "Rejected", "timeout begun", ActorCrashed.__name__):
            assert n in executed, (n, end)
    for sender in range(4):
        mine = [m.n for m in log if m.sender == sender]
        assert mine == sorted(mine), "one sender's messages keep their order"
