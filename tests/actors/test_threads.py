"""A ref belongs to one trio run, and says so everywhere else; turns are bounded."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, Ask, Ref, Tell, open_actor
from actors._core.reader import BATCH
from supervision import Child, System


@attrs.frozen
class Put(Tell["Store"]):
    n: int


@attrs.frozen
class Work(Tell["Store"]):
    seconds: float


@attrs.frozen
class Get(Ask["Store", list[int]]):
    pass


@attrs.frozen
class Urgent(Tell["Store"]):
    system = True


@attrs.frozen
class Crash(Tell["Store"]):
    pass


class Store(Actor):
    def __init__(self, seen: list[int], clock: MockClock | None = None) -> None:
        self.seen = seen
        self.clock = clock

    @Put.handled
    def put(self, m: Put) -> None:
        self.seen.append(m.n)

    @Urgent.handled
    def urgent(self, m: Urgent) -> None:
        self.seen.append(-1)

    @Work.handled
    def work(self, m: Work) -> None:
        assert self.clock is not None
        self.clock.jump(m.seconds)
        self.seen.append(0)

    @Crash.handled
    async def crash(self, m: Crash) -> None:
        await trio.sleep(1)
        raise ValueError("broken")

    @Get.handled
    def get(self, m: Get) -> list[int]:
        return self.seen


def in_a_thread(fn: Callable[[], object]) -> Exception | None:
    """What a thread that trio knows nothing of gets."""
    caught: list[Exception] = []

    def run() -> None:
        try:
            fn()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return caught[0] if caught else None


async def test_another_thread_is_told_the_way_and_changes_nothing() -> None:
    seen: list[int] = []
    async with open_actor(lambda: Store(seen)) as store:
        store.tell(Put(1))
        for use in (
            lambda: store.tell(Put(2)),
            lambda: store.send(Put(2)).send(None),
            lambda: store.ask(Get()).send(None),
            lambda: store.stopped().send(None),
        ):
            error = in_a_thread(use)
            assert isinstance(error, RuntimeError)
            assert "actor lives in the trio run of another thread" in str(error)
            assert "trio.from_thread.run" in str(error)
        assert await store.ask(Get()) == [1]


@pytest.mark.real  # a thread is real, and the virtual clock would not wait for it
async def test_a_thread_of_trio_goes_back_through_from_thread() -> None:
    async with open_actor(lambda: Store([])) as store:

        def thread() -> list[int]:
            assert trio.from_thread.run_sync(store.tell, Put(1))
            return trio.from_thread.run(partial(store.ask, Get(), timeout=60))

        assert await trio.to_thread.run_sync(thread) == [1]


async def test_a_ref_cannot_be_copied() -> None:
    async with open_actor(lambda: Store([])) as store:
        for way in (copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="mailbox that nobody reads"):
                way(store)


async def test_tell_is_legal_in_finally_and_under_cancellation() -> None:
    seen: list[int] = []
    async with open_actor(lambda: Store(seen)) as store:
        with trio.CancelScope() as scope:
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                assert store.tell(Put(1))
        assert await store.ask(Get()) == [1]


async def test_the_system_lane_is_read_first() -> None:
    seen: list[int] = []
    async with open_actor(lambda: Store(seen)) as store:
        for n in (1, 2):
            store.tell(Put(n))
        store.tell(Urgent())
        await wait_all_tasks_blocked()
    assert seen == [-1, 1, 2]


async def test_a_sender_who_waits_at_a_restart_keeps_its_place() -> None:
    seen: list[int] = []
    child = Child("store", lambda: Store(seen), mailbox=1)
    async with System(child) as system, trio.open_nursery() as nursery:
        store: Ref[Store] = system.ref(child)
        store.tell(Crash())
        await wait_all_tasks_blocked()
        for n in (1, 2, 3):
            nursery.start_soon(store.send, Put(n))
            await wait_all_tasks_blocked()
        with trio.move_on_after(0.5) as limit:
            await store.send(Put(4))
        assert limit.cancelled_caught, "its own limit holds"
        await trio.sleep(10)
        assert store.snapshot().incarnation == 2
    assert seen == [1, 2, 3]


# -- turns ----------------------------------------------------------------------------


def turns_of(messages: list[Any]) -> list[int]:
    """How much had been handled each time another task had its turn."""
    seen: list[int] = []
    turns: list[int] = []
    clock = MockClock()

    async def main() -> None:
        async with open_actor(
            lambda: Store(seen, clock), mailbox=1000, handler_timeout=None
        ) as store:
            for message in messages:
                store.tell(message)
            while len(seen) < len(messages):
                turns.append(len(seen))
                await trio.lowlevel.checkpoint()

    trio.run(main, clock=clock)
    return turns


def test_a_turn_is_64_messages_for_handlers_that_do_not_wait() -> None:
    turns = turns_of([Put(1)] * 10 * BATCH)
    steps = [b - a for a, b in itertools.pairwise(turns)]
    # Trio shuffles who is ready, so that one may have two turns in a row.
    assert max(steps) <= 2 * BATCH
    assert set(steps) <= {0, BATCH, 2 * BATCH}


def test_a_turn_of_slow_handlers_ends_with_the_first_beyond_the_quantum() -> None:
    turns = turns_of([Work(2 * Actor._quantum)] * 20)
    steps = [b - a for a, b in itertools.pairwise(turns)]
    assert max(steps) <= 2, "one a turn, and two turns at the most"
