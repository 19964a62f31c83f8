"""Stretches of work: bounded, reported, and named when they do not end."""

from __future__ import annotations

import math
from typing import TypeVar

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    Ask,
    HandlerTimeout,
    OperationTimeout,
    open_actor,
)
from actors.events import (
    Event,
    Frozen,
    OperationEnded,
    OperationSlow,
    OperationStarted,
)
from supervision import Backoff, Child, System

AT_ONCE = Backoff(first=0, cap=0)
E = TypeVar("E", bound=Event)


@attrs.frozen
class Work(Ask["Worker", float]):
    """Work within an operation; ``then`` go on without one."""

    seconds: float
    soft: float = math.inf
    hard: float = 1000
    then: float = 0


@attrs.frozen
class CancelWork(Work):
    abandon = "cancel"


@attrs.frozen
class Nested(Ask["Worker", None]):
    outer: float
    inner: float


@attrs.frozen
class Freeze(Ask["Worker", None]):
    """Shield yourself."""

    seconds: float


@attrs.frozen
class Life(Ask["Worker", int]):
    pass


class Worker(Actor):
    @Work.handled
    async def work(self, m: Work) -> float:
        async with self.ctx.operation("work", soft=m.soft, hard=m.hard) as operation:
            operation.progress("half way")
            await trio.sleep(m.seconds)
        await trio.sleep(m.then)
        return trio.current_time()

    @Nested.handled
    async def nested(self, m: Nested) -> None:
        async with self.ctx.operation("outer", hard=m.outer):
            self.ctx.progress("outside")
            await trio.sleep(1)
            async with self.ctx.operation("inner", hard=m.inner):
                self.ctx.progress("inside")
                await trio.sleep(8)
            await trio.sleep(8)

    @Freeze.handled
    async def freeze(self, m: Freeze) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(m.seconds)
        await trio.lowlevel.checkpoint()

    @Life.handled
    def life(self, m: Life) -> int:
        return self.ctx.incarnation


def of(events: list[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


async def test_over_its_soft_limit_it_says_where_it_is(events: list[Event]) -> None:
    readings = iter(range(100))
    child = Child("worker", Worker)
    async with System(
        child, on_event=[events.append], measure=lambda: next(readings)
    ) as system:
        assert await system.ref(child).ask(Work(8, soft=3)) == pytest.approx(8)
    reports = [
        (e.resources, type(e))
        for e in events
        if isinstance(e, OperationStarted | OperationSlow | OperationEnded)
    ]
    assert reports == [(0, OperationStarted), (1, OperationSlow), (2, OperationEnded)]
    (slow,) = of(events, OperationSlow)
    assert (slow.path, slow.operation, slow.soft) == ("app/worker", "work", 3)
    assert slow.seconds == pytest.approx(3)
    assert slow.progress == "half way"
    assert any(line.endswith(" work") for line in slow.stack)
    assert all(__file__ in line for line in slow.stack if line.endswith(" work"))


async def test_a_measure_that_fails_harms_nobody(
    events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    def measure() -> object:
        raise OSError("no such process")

    child = Child("worker", Worker)
    async with System(child, on_event=[events.append], measure=measure) as system:
        assert await system.ref(child).ask(Work(8, soft=3)) == pytest.approx(8)
    assert [e.resources for e in of(events, OperationSlow)] == [None]
    assert "no such process" in caplog.text


async def test_over_its_hard_limit_that_incarnation_alone_is_restarted(
    events: list[Event],
) -> None:
    worker, other = Child("worker", Worker), Child("other", Worker)
    tree = (worker, other)
    async with System(*tree, on_event=[events.append], backoff=AT_ONCE) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(worker).ask(Work(8, hard=3))
        assert trio.current_time() == pytest.approx(3)
        cause = caught.value.__cause__
        assert isinstance(cause, OperationTimeout)
        assert str(cause) == "app/worker: work exceeded 3 s"
        assert await system.ref(worker).ask(Life()) == 2
        assert await system.ref(other).ask(Life()) == 1
        await trio.sleep(100)
    assert [e.outcome for e in of(events, OperationEnded)] == ["timed out"]
    assert of(events, Frozen) == []


async def test_after_it_the_handler_has_its_whole_limit_again() -> None:
    child = Child("worker", Worker, handler_timeout=5)
    async with System(child, backoff=AT_ONCE) as system:
        worker = system.ref(child)
        assert await worker.ask(Work(50, then=4)) == pytest.approx(54)
        with pytest.raises(ActorCrashed) as caught:
            await worker.ask(Work(50, then=6))
        assert isinstance(caught.value.__cause__, HandlerTimeout)
        assert trio.current_time() == pytest.approx(54 + 55)


async def test_without_a_hard_limit_the_handlers_own_holds() -> None:
    child = Child("worker", Worker, handler_timeout=5)
    async with System(child, backoff=AT_ONCE) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(child).ask(Work(50, hard=math.inf))
        assert isinstance(caught.value.__cause__, HandlerTimeout)
        assert trio.current_time() == pytest.approx(5)


async def test_one_in_a_start_leaves_no_limit_of_handlers_behind(
    events: list[Event],
) -> None:
    class SlowStarter(Worker):
        async def started(self) -> None:
            async with self.ctx.operation("load", hard=3):
                await trio.sleep(1)
            await trio.sleep(50)

    async with open_actor(
        SlowStarter, handler_timeout=5, on_event=[events.append]
    ) as worker:
        assert trio.current_time() == pytest.approx(51)
        assert await worker.ask(Life()) == 1
    assert of(events, Frozen) == []


async def test_one_in_the_background_leaves_the_limit_of_handlers_alone() -> None:
    class Busy(Worker):
        async def run(self) -> None:
            async with self.ctx.operation("background", hard=100):
                await trio.sleep_forever()

    child = Child("worker", Busy, handler_timeout=5)
    async with System(child, backoff=AT_ONCE) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(child).ask(Freeze(5.5))
        assert isinstance(caught.value.__cause__, HandlerTimeout)
        await wait_all_tasks_blocked()
        assert system.ref(child).snapshot().operations == ["background"]


async def test_they_may_be_nested_and_each_has_its_limit(events: list[Event]) -> None:
    async with open_actor(
        Worker, handler_timeout=5, on_event=[events.append]
    ) as worker:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.ask, Nested(20, 10))
            for at, operations, progress in [
                (0.5, ["outer"], "outside"),
                (5, ["outer", "inner"], "inside"),
                (10, ["outer"], "outside"),
            ]:
                await trio.sleep_until(at)
                seen = worker.snapshot()
                assert seen.operations == operations
                assert seen.progress == progress
        seen = worker.snapshot()
        assert (seen.operations, seen.progress) == ([], "")
    ends = [(e.operation, e.outcome) for e in of(events, OperationEnded)]
    assert ends == [("inner", "completed"), ("outer", "completed")]


@pytest.mark.parametrize(
    ("outer", "inner", "at", "outcomes"),
    [(5, 100, 5, ["cancelled", "timed out"]), (100, 4, 5, ["timed out", "failed"])],
)
async def test_of_nested_ones_the_first_over_its_limit_ends_both(
    events: list[Event], outer: float, inner: float, at: float, outcomes: list[str]
) -> None:
    with pytest.raises(OperationTimeout):
        async with open_actor(Worker, on_event=[events.append]) as worker:
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed):
                await worker.ask(Nested(outer, inner))
            assert trio.current_time() == pytest.approx(at)
            await trio.sleep(1)
    assert [e.outcome for e in of(events, OperationEnded)] == outcomes


async def test_it_is_cancelled_with_its_handler(events: list[Event]) -> None:
    async with open_actor(Worker, on_event=[events.append]) as worker:
        with trio.move_on_after(2):
            await worker.ask(CancelWork(10, soft=5, hard=8))
        assert await worker.ask(Life()) == 1
        await trio.sleep(100)
        assert worker.snapshot().state == "running"
    (end,) = of(events, OperationEnded)
    assert (end.outcome, end.seconds) == ("cancelled", 2)
    assert of(events, OperationSlow) == []
    assert of(events, Frozen) == []


@pytest.mark.parametrize("limit", [0, -1, math.nan])
async def test_a_limit_is_a_positive_number_of_seconds(limit: float) -> None:
    for option in ("soft", "hard"):
        with pytest.raises(ValueError, match=f"{option} must be more than 0"):
            async with open_actor(Worker) as worker:
                with trio.CancelScope(shield=True), pytest.raises(ActorCrashed):
                    await worker.ask(attrs.evolve(Work(1), **{option: limit}))
                await trio.sleep(1)


async def test_a_limit_may_be_a_fraction_of_a_second() -> None:
    child = Child("worker", Worker)
    async with System(child, backoff=AT_ONCE) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(child).ask(Work(5, hard=0.25))
        assert isinstance(caught.value.__cause__, OperationTimeout)
        assert trio.current_time() == 0.25
