"""Metrics are plain values, folded from events; the clock is an argument."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given, strategies as st

from actors import Actor, Ask, Exit, Rejected, Snapshot
from actors.events import (
    Cleaned,
    Event,
    Failed,
    OperationEnded,
    OperationStarted,
    Started,
    Stopped,
)
from supervision import Child, System
from supervision.events import LeftOver, Waited
from supervision.metrics import (
    WINDOWS,
    ActorMetrics,
    Cleanups,
    Contention,
    ErrorRate,
    Metrics,
    Runs,
    Waits,
    waiting,
    walk,
)
from supervision.resources import Resources

A = "app/a"


async def tree() -> Snapshot:
    async with System(Child("a", Actor), Child("b", Actor)) as system:
        return system.snapshot()


async def metrics_of(*events: tuple[float, Event], now: float) -> ActorMetrics:
    metrics = Metrics()
    for at, event in events:
        metrics.see(event, at)
    return metrics.read(await tree(), now)[A]


def crashed(text: str) -> Exit:
    return Exit("failed", ValueError(text))


# -- lives --------------------------------------------------------------------------


async def test_lives_are_counted_and_timed() -> None:
    found = await metrics_of(
        (0.0, Started(A, 1)),
        (4.0, Failed(A, 1, crashed("bad\ninput"))),
        (5.0, Started(A, 2)),
        (7.0, Stopped(A, 2, Exit("shutdown"))),
        (8.0, Started(A, 3)),
        now=10.0,
    )
    assert found.lives == Runs(
        started=3,
        completed=1,
        failed=1,
        last_start=8.0,
        last_completion=7.0,
        last_error=4.0,
        error="ValueError: bad",
        total=6.0,
    )
    assert found.lives.average == 3.0
    assert found.current_life == 2.0
    assert found.errors == {"ValueError": (1, 1, 1)}


async def test_a_start_that_fails_is_an_error_and_no_life() -> None:
    found = await metrics_of((3.0, Failed(A, 1, crashed("no file"))), now=4.0)
    assert found.lives == Runs(last_error=3.0, error="ValueError: no file")
    assert found.current_life is None
    assert found.lives.average is None


async def test_what_was_killed_has_neither_completed_nor_failed() -> None:
    found = await metrics_of(
        (0.0, Started(A, 1)), (1.0, Stopped(A, 1, Exit("killed"))), now=1.0
    )
    assert (found.lives.completed, found.lives.failed) == (0, 0)
    assert (found.lives.cancelled, found.lives.total) == (1, 1.0)


# -- operations ---------------------------------------------------------------------


def resources(rss: int) -> Resources:
    return Resources(rss=rss, vms=0, cpu=0.0, threads=1, descriptors=None)


async def test_operations_are_counted_by_name_with_their_memory() -> None:
    found = await metrics_of(
        (0.0, OperationStarted(A, "query", resources(100))),
        (2.0, OperationEnded(A, "query", 2.0, "completed", resources(120))),
        (2.0, OperationStarted(A, "query", resources(110))),
        (6.0, OperationEnded(A, "query", 4.0, "timed out", resources(90))),
        (7.0, OperationStarted(A, "scoring")),
        now=10.0,
    )
    query, scoring = found.operations["query"], found.operations["scoring"]
    assert (query.started, query.completed, query.failed) == (2, 1, 1)
    assert (query.average, query.error, query.current(10.0)) == (3.0, "timed out", None)
    assert scoring.current(10.0) == 3.0
    assert (found.memory["query"].start, found.memory["query"].peak) == (110, 120)
    assert "scoring" not in found.memory, "nobody measured it"
    assert found.errors == {"query timed out": (1, 1, 1)}


# -- cleanups and waits -------------------------------------------------------------


async def test_cleanups_tell_what_was_attempted_and_what_came_of_it() -> None:
    found = await metrics_of(
        (0.0, Cleaned(A, 1, ["stopping"], [("file", OSError())], ["temp_dir"])),
        (1.0, Cleaned(A, 2, ["stopping", "file"], [], [])),
        (2.0, LeftOver(A, "rows", 3)),
        now=2.0,
    )
    assert found.cleanups == Cleanups(
        attempted=2, done=3, failed=1, abandoned=1, leftovers=3
    )


class Careful(Actor):
    def __init__(self, permits: trio.CapacityLimiter) -> None:
        self._permits = permits

    async def run(self) -> None:
        with waiting(self.ctx, "permit"):
            await self._permits.acquire_on_behalf_of(self)
        try:
            await trio.sleep(3)
        finally:
            self._permits.release_on_behalf_of(self)
        await trio.sleep_forever()


async def test_a_wait_is_measured_for_whoever_waited_and_only_if_it_was_one() -> None:
    metrics, permits = Metrics(), trio.CapacityLimiter(1)
    children = [Child(name, lambda: Careful(permits)) for name in ("a", "b")]
    async with System(*children, on_event=[metrics]) as system:
        await trio.sleep(5)
        found = metrics.read(system.snapshot(), trio.current_time())
    waits = [found[f"app/{name}"].waits for name in "ab"]
    assert {} in waits, "whoever came first did not wait"
    assert {"permit": Waits(1, 3.0, 3.0)} in waits


async def test_a_wait_that_is_cut_off_counts(events: list[Event]) -> None:
    class Impatient(Actor):
        async def run(self) -> None:
            with trio.move_on_after(2), waiting(self.ctx, "connection"):
                await trio.sleep_forever()
            await trio.sleep_forever()

    async with System(Child("a", Impatient), on_event=[events.append]):
        await trio.sleep(5)
    assert Waited(A, "connection", 2.0) in events


# -- what is kept is bounded --------------------------------------------------------


async def test_actors_that_are_in_the_tree_no_longer_are_forgotten() -> None:
    metrics = Metrics()
    metrics.see(OperationStarted(A, "query", resources(1)), 0.0)
    metrics.see(OperationStarted("app/gone", "query", resources(1)), 0.0)
    picture = await tree()
    metrics.forget_all_but({each.path for each in walk(picture)})
    assert set(metrics.read(picture, 0.0)) == {"app", A, "app/b"}
    assert metrics.read(picture, 0.0)[A].operations
    assert set(metrics._actors) == {A}


@given(st.lists(st.tuples(st.floats(0, 400), st.sampled_from("xyz"))))
def test_errors_are_counted_over_each_window_and_forgotten_after_the_longest(
    steps: list[tuple[float, str]],
) -> None:
    rate, now, noted = ErrorRate(), 0.0, list[tuple[float, str]]()
    for pause, kind in steps:
        now += pause
        rate.note(kind, now)
        noted.append((now, kind))
    counts = rate.counts(now)
    for kind in "xyz":
        for got, window in zip(counts.get(kind, (0, 0, 0)), WINDOWS, strict=True):
            times = [at for at, which in noted if which == kind]
            assert got >= sum(at > now - window for at in times)
            assert got <= sum(at > now - window - 15 for at in times)
    assert len(rate._buckets) <= 900 / 15 + 2


def test_an_endless_variety_of_errors_does_not_use_up_memory() -> None:
    rate = ErrorRate()
    for n in range(1000):
        rate.note(f"Error{n}", 0.0)
    counts = rate.counts(0.0)
    assert len(counts) == 21
    assert counts["other"] == (980, 980, 980)


# -- contention ---------------------------------------------------------------------


def test_contention_is_how_many_wait_on_average_and_is_told_when_it_begins() -> None:
    room = ("app/a", "room")
    contention = Contention(1.0, {room: 45.0}, 90.0)
    assert contention.look({room: 50.0}, 100.0) == {}, "half a waiter since 90"
    assert contention.look({room: 80.0}, 110.0) == {room: 3.0}
    assert contention.look({room: 110.0}, 120.0) == {}, "told already"
    assert contention.look({room: 110.0}, 130.0) == {}
    assert contention.look({room: 120.0}, 140.0) == {room: 1.0}, "again"
    assert contention.look({room: 150.0}, 140.0) == {}, "no time has passed"


# -- a whole tree -------------------------------------------------------------------


@attrs.frozen
class Divide(Ask["Calculator", float]):
    by: int


class Calculator(Actor):
    @Divide.handled
    async def divide(self, m: Divide) -> float:
        async with self.ctx.operation("division"):
            await trio.sleep(1)
            if m.by < 0:
                raise Rejected("negative")
            return 1 / m.by


async def test_of_a_running_tree_every_actor_has_metrics() -> None:
    metrics, child = Metrics(), Child("calculator", Calculator)
    async with System(child, on_event=[metrics]) as system:
        ref = system.ref(child)
        assert await ref.ask(Divide(2)) == 0.5
        with pytest.raises(Rejected):
            await ref.ask(Divide(-1))
        with pytest.raises(Exception, match="ended while handling it"):
            await ref.ask(Divide(0))
        await trio.sleep(10)
        found = metrics.read(system.snapshot(), trio.current_time())

    assert set(found) == {"app", "app/calculator"}
    metrics_now = found["app/calculator"]
    assert metrics_now.now.restarts == 1
    assert metrics_now.now.incarnation == 2
    assert metrics_now.lives.error == "ZeroDivisionError: division by zero"
    assert metrics_now.operations["division"].started == 3
    assert metrics_now.operations["division"].average == 1.0
    assert metrics_now.cleanups.attempted == 1
    assert metrics_now.errors["ZeroDivisionError"] == (1, 1, 1)
