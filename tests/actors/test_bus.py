"""Events are collected at the reader's own pace, in order, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Ask, Subscription, Tell, open_actor
from actors.events import Event, Started, Stopped
from supervision import Child, System


@attrs.frozen
class Happened(Event):
    n: int


@attrs.frozen
class HappenedLoudly(Happened):
    pass


@attrs.frozen
class Say(Tell["Speaker"]):
    n: int
    loudly: bool = False


@attrs.frozen
class Listen(Ask["Speaker", Subscription[Happened]]):
    capacity: int = 1000


class Speaker(Actor):
    @Say.handled
    def say(self, m: Say) -> None:
        event = HappenedLoudly if m.loudly else Happened
        self.ctx.emit(event(self.ctx.me.path, m.n))

    @Listen.handled
    def listen(self, m: Listen) -> Subscription[Happened]:
        return self.ctx.subscribe(Happened, capacity=m.capacity)


async def test_those_of_the_wanted_kinds_come_in_order() -> None:
    child = Child("speaker", Speaker)
    system = System(child)
    with (
        system.subscribe(Started, Happened) as both,
        system.subscribe(HappenedLoudly) as loud,
    ):
        async with system:
            for n in range(4):
                await system.ref(child).send(Say(n, loudly=n % 2 == 0))
            await wait_all_tasks_blocked()
        got = [event async for event in both]
        assert [type(e) for e in got] == [
            Started,
            Started,
            HappenedLoudly,
            Happened,
            HappenedLoudly,
            Happened,
        ]
        assert [e.n for e in got if isinstance(e, Happened)] == [0, 1, 2, 3]
        assert [e.n async for e in loud] == [0, 2]


async def test_it_ends_with_its_system_also_for_who_comes_later() -> None:
    async with trio.open_nursery() as nursery:
        child = Child("speaker", Speaker)
        got: list[Event] = []

        async def read() -> None:
            with system.subscribe(Stopped) as events:
                got.extend([event async for event in events])

        async with System(child) as system:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
    assert [e.path for e in got] == ["app/speaker", "app"]
    with system.subscribe(Stopped) as late, trio.fail_after(1):
        assert [event async for event in late] == []


async def test_an_actor_may_read_what_happens() -> None:
    async with open_actor(Speaker) as speaker:
        with await speaker.ask(Listen()) as events:
            for n in range(3):
                speaker.tell(Say(n))
            assert [(await anext(events)).n for _ in range(3)] == [0, 1, 2]


async def test_a_slow_reader_loses_the_oldest_and_knows_how_many() -> None:
    async with open_actor(Speaker) as speaker:
        with await speaker.ask(Listen(capacity=3)) as events:
            for n in range(10):
                await speaker.send(Say(n))
            await wait_all_tasks_blocked()
            assert events.missed == 7
            assert [(await anext(events)).n for _ in range(3)] == [7, 8, 9]
            speaker.tell(Say(10))
            assert (await anext(events)).n == 10
            assert events.missed == 7


async def test_cancellation_loses_no_event() -> None:
    async with open_actor(Speaker) as speaker:
        with await speaker.ask(Listen()) as events:
            with trio.move_on_after(1) as waiting:
                await anext(events)
            assert waiting.cancelled_caught
            speaker.tell(Say(1))
            await wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(events)
            assert scope.cancelled_caught
            assert (await anext(events)).n == 1


async def test_one_that_arrives_as_its_reader_is_cancelled_is_not_lost() -> None:
    async with open_actor(Speaker) as speaker:
        with await speaker.ask(Listen()) as events:
            got: list[int] = []
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def read() -> None:
                        got.append((await anext(events)).n)

                    nursery.start_soon(read)
                    await wait_all_tasks_blocked()
                    events.put(Happened("here", 1))
                    scope.cancel()
            got.extend([(await anext(events)).n for _ in range(1 - len(got))])
            assert got == [1]


async def test_one_that_was_left_collects_nothing_more() -> None:
    async with open_actor(Speaker) as speaker:
        with await speaker.ask(Listen(capacity=1)) as events:
            pass
        for n in range(3):
            await speaker.send(Say(n))
        await wait_all_tasks_blocked()
        assert events.missed == 0


@pytest.mark.parametrize("capacity", [0, -1])
def test_it_holds_at_least_one(capacity: int) -> None:
    with pytest.raises(ValueError, match="at least 1 event"):
        System().subscribe(Started, capacity=capacity)


async def test_a_failing_sink_is_logged_and_costs_nobody_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before: list[Event] = []
    after: list[Event] = []

    def fail(event: Event) -> None:
        raise RuntimeError("broken sink")

    child = Child("speaker", Speaker)
    sinks: list[Callable[[Event], None]] = [before.append, fail, after.append]
    system = System(child, on_event=sinks)
    with system.subscribe(Event) as events:
        async with system:
            await system.ref(child).send(Say(1))
            await wait_all_tasks_blocked()
        subscribed = [event async for event in events]
    assert before == after
    assert [e for e in subscribed if isinstance(e, Happened)] == [
        e for e in before if isinstance(e, Happened)
    ]
    logged = [r for r in caplog.records if "event sink failed" in r.getMessage()]
    assert len(logged) == len(before)
    assert all("broken sink" in str(r.exc_info) for r in logged)


def test_one_subscribes_to_something() -> None:
    with pytest.raises(ValueError, match="`Event` is the kind of all events"):
        System().subscribe()
