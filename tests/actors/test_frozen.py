"""Work that was cancelled and does not end is named, and nobody waits for it."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    AskTimeout,
    Deferred,
    OperationTimeout,
    Ref,
    Tell,
)
from actors.events import (
    DeadLetter,
    Event,
    Failed,
    Frozen,
)
from supervision import Backoff, Child, System

AT_ONCE = Backoff(first=0, cap=0)
E = TypeVar("E", bound=Event)


@attrs.frozen
class Work(Ask["Worker", float]):
    seconds: float
    hard: float


@attrs.frozen
class Freeze(Ask["Worker", None]):
    """Shield yourself; within an operation if it has a hard limit."""

    seconds: float
    hard: float = 0
    catch: bool = False


@attrs.frozen
class ToldFreeze(Tell["Worker"]):
    seconds: float


@attrs.frozen
class Life(Ask["Worker", int]):
    pass


async def freeze(seconds: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    await trio.lowlevel.checkpoint()


class Worker(Actor):
    @Freeze.handled
    async def freeze(self, m: Freeze) -> None:
        if not m.hard:
            await freeze(m.seconds)
            return
        try:
            async with self.ctx.operation("thaw", hard=m.hard):
                await freeze(m.seconds)
        except OperationTimeout:
            if not m.catch:
                raise

    @ToldFreeze.handled
    async def told_freeze(self, m: ToldFreeze) -> None:
        await freeze(m.seconds)

    @Life.handled
    def life(self, m: Life) -> int:
        return self.ctx.incarnation


def of(events: list[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def in_the_background(
    nursery: trio.Nursery, ref: Ref[Worker], message: Ask[Worker, object]
) -> list[str]:
    """Ask; what comes of it, and when, will be in the list."""
    outcome: list[str] = []

    async def ask() -> None:
        try:
            await ref.ask(message)
            outcome.append(f"answered at {trio.current_time():g}")
        except (ActorCrashed, ActorGone) as error:
            outcome.append(f"{type(error).__name__} at {trio.current_time():g}")

    nursery.start_soon(ask)
    return outcome


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Freeze(130), "Freeze"),
        (Freeze(130, hard=2), "thaw"),
        (Freeze(130, hard=2, catch=True), "thaw"),
    ],
    ids=["handler", "operation", "caught"],
)
async def test_what_does_not_end_is_reported_every_minute_and_restarted_when_it_does(
    events: list[Event], nursery: trio.Nursery, message: Freeze, what: str
) -> None:
    child = Child("worker", Worker, handler_timeout=2, cleanup=1)
    other = Child("other", Worker)
    async with System(
        child, other, on_event=[events.append], backoff=AT_ONCE
    ) as system:
        worker = system.ref(child)
        in_hand = in_the_background(nursery, worker, message)
        await wait_all_tasks_blocked()
        behind = in_the_background(nursery, worker, Life())
        await trio.sleep_until(2.9)
        assert worker.snapshot().state == "running"
        await trio.sleep_until(3.1)
        seen = worker.snapshot()
        assert (seen.state, seen.current) == ("stuck", "Freeze")
        assert (in_hand, behind) == (["ActorCrashed at 3"], ["ActorGone at 3"])
        with pytest.raises(ActorGone, match="cannot be ended"):
            await worker.ask(Life())
        assert not worker.tell(ToldFreeze(1))
        assert (await worker.stopped()).kind == "timeout"
        await trio.sleep_until(129)
        assert worker.snapshot().state == "stuck"
        await trio.sleep_until(131)
        assert await worker.ask(Life()) == 2
        assert worker.gone is None
        assert await system.ref(other).ask(Life()) == 1
        await trio.sleep(200)
    reports = of(events, Frozen)
    assert [(e.path, e.incarnation, e.operation) for e in reports] == [
        ("app/worker", 1, what)
    ] * 3
    assert [e.seconds for e in reports] == pytest.approx([3, 63, 123])
    assert all(any(line.endswith(" freeze") for line in e.stack) for e in reports)
    (failed,) = of(events, Failed)
    assert failed.exit.message == message


async def test_a_frozen_background_is_restarted_although_it_goes_on_afterwards(
    events: list[Event], nursery: trio.Nursery
) -> None:
    class Stubborn(Worker):
        async def run(self) -> None:
            if self.ctx.incarnation > 1:
                return
            try:
                async with self.ctx.operation("thaw", hard=2):
                    await freeze(20)
            except OperationTimeout:
                await trio.sleep_forever()

    child = Child("worker", Stubborn, cleanup=1)
    async with System(child, on_event=[events.append], backoff=AT_ONCE) as system:
        worker = system.ref(child)
        await trio.sleep_until(2.5)
        assert await worker.ask(Life()) == 1
        await trio.sleep_until(10)
        assert worker.snapshot().state == "stuck"
        await trio.sleep_until(21)
        assert await worker.ask(Life()) == 2
    assert [e.operation for e in of(events, Frozen)] == ["thaw"]


async def test_a_frozen_tell_is_one_dead_letter(events: list[Event]) -> None:
    child = Child("worker", Worker, handler_timeout=2, cleanup=1)
    async with System(child, on_event=[events.append], backoff=AT_ONCE) as system:
        system.ref(child).tell(ToldFreeze(20))
        await trio.sleep(30)
    assert [(e.message, e.reason) for e in of(events, DeadLetter)] == [
        (ToldFreeze(20), "crashed")
    ]


async def test_what_ends_by_itself_while_it_is_killed_is_no_dead_letter(
    events: list[Event],
) -> None:
    class Finishing(Worker):
        @ToldFreeze.handled
        async def told_freeze(self, m: ToldFreeze) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(m.seconds)

    child = Child("worker", Finishing, shutdown=1)
    async with System(child, on_event=[events.append]) as system:
        system.ref(child).tell(ToldFreeze(2))
        await wait_all_tasks_blocked()
        exit_ = await system.stop(child)
    assert exit_.kind == "killed"
    assert of(events, DeadLetter) == []


async def test_a_frozen_deferred_answer_ends_as_a_crash(nursery: trio.Nursery) -> None:
    class Deferring(Worker):
        @Work.handled
        def work(self, m: Work) -> Deferred[float]:
            return self.ctx.defer(partial(self._later, m))

        async def _later(self, m: Work) -> float:
            async with self.ctx.operation("later", hard=m.hard):
                await freeze(m.seconds)
            return 1.0

    child = Child("worker", Deferring, cleanup=1)
    async with System(child, backoff=AT_ONCE) as system:
        outcome = in_the_background(nursery, system.ref(child), Work(20, hard=2))
        await trio.sleep_until(10)
        assert outcome == ["ActorCrashed at 3"]
        await trio.sleep_until(21)
        assert await system.ref(child).ask(Life()) == 2


@attrs.frozen
class Wanted(Ask["Patient", None]):
    """Wait, for as long as somebody wants the answer."""

    abandon = "cancel"
    seconds: float


class Patient(Actor):
    @Wanted.handled
    async def wanted(self, m: Wanted) -> None:
        await trio.sleep(m.seconds)


async def test_who_was_cut_short_as_its_asker_left_is_not_frozen(
    events: list[Event],
) -> None:
    patient = Child("patient", Patient, handler_timeout=2, cleanup=1)
    async with System(patient, backoff=AT_ONCE, on_event=[events.append]) as system:
        with pytest.raises(AskTimeout):
            await system.ref(patient).ask(Wanted(5), timeout=1)
        await trio.sleep(10)
    assert of(events, Frozen) == []
