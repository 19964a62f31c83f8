"""One sender, one actor: against a memory channel and the bare scheduler."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import trio
from outcome import Value
from trio.lowlevel import (
    Abort,
    Task,
    current_task,
    reschedule,
    wait_task_rescheduled,
)
from trio.testing import wait_all_tasks_blocked

from actors import Ref, open_actor
from benchmarks.echo import GET, PUT, Echo, Put
from benchmarks.harness import (
    Case,
    Operate,
    cheaper,
    cpu_per_operation,
    measure,
    no_collector,
)
from benchmarks.table import Row, at_most

SEND = Row("send 1 -> 1, mailbox 64, async handler", 3.5, 8)
NO_METRICS = Row("the same with metrics off", 6, 12)
ASK = Row("ask 1:1", 0.6, 0.85)
ASK_TIMEOUT = Row("ask 1:1 with a timeout", 0.5, 0.78)
LIMIT = at_most("handler timeout, for handlers that do not wait", 0.4, 0.1, "us")


@asynccontextmanager
async def send(*, metrics: bool = True) -> AsyncIterator[Operate]:
    """Send messages to one actor, and wait until all are handled."""
    async with open_actor(Echo, metrics=metrics) as echo:
        yield lambda n: _send(echo, n)


async def _send(echo: Ref[Echo], n: int) -> None:
    for _ in range(n):
        await echo.send(PUT)
    await echo.ask(GET)


@asynccontextmanager
async def channel() -> AsyncIterator[Operate]:
    """The same through a memory channel of the same size."""
    sender, receiver = trio.open_memory_channel[Put](64)

    async def handle(message: Put) -> None:
        pass

    async def serve() -> None:
        async for message in receiver:
            await handle(message)

    async def operate(n: int) -> None:
        for _ in range(n):
            await sender.send(PUT)

    async with trio.open_nursery() as nursery, sender:
        nursery.start_soon(serve)  # noqa: ASYNC113 - the sender waits
        yield operate


@asynccontextmanager
async def ask(timeout: float | None = None) -> AsyncIterator[Operate]:
    """Ask one actor, one question after the other."""
    async with open_actor(Echo) as echo:

        async def operate(n: int) -> None:
            for _ in range(n):
                await echo.ask(GET, timeout=timeout)

        yield operate


@asynccontextmanager
async def reschedule_round_trip() -> AsyncIterator[Operate]:
    """Two tasks that wake each other: what an ask cannot do without."""
    parked: list[Task] = []

    def abort(_raise_cancel: object) -> Abort:
        parked.clear()
        return Abort.SUCCEEDED

    async def serve() -> None:
        while True:
            parked.append(current_task())
            asker = await wait_task_rescheduled(abort)
            reschedule(asker, Value(1))

    async def operate(n: int) -> None:
        for _ in range(n):
            reschedule(parked.pop(), Value(current_task()))
            await wait_task_rescheduled(abort)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)  # noqa: ASYNC113 - the next line waits
        await wait_all_tasks_blocked()
        yield operate
        nursery.cancel_scope.cancel()


CASES = {
    "send": Case(send, 20_000),
    "send, no metrics": Case(lambda: send(metrics=False), 20_000),
    "channel": Case(channel, 4_000),
    "ask": Case(ask, 2_000),
    "ask, timeout": Case(lambda: ask(timeout=30), 2_000),
    "reschedule": Case(reschedule_round_trip, 3_000),
}


def rows() -> Iterator[Row]:
    """Measure them all in one go."""
    spent = measure(CASES, rounds=31)
    yield SEND.found(*cheaper(spent, "send", "channel"))
    yield NO_METRICS.found(*cheaper(spent, "send, no metrics", "channel"))
    yield ASK.found(*cheaper(spent, "ask", "reschedule"))
    yield ASK_TIMEOUT.found(*cheaper(spent, "ask, timeout", "reschedule"))
    yield LIMIT.found(trio.run(cost_of_a_limit), "difference of two actors")


async def cost_of_a_limit() -> float:
    """Microseconds a message: two actors in turn, as the difference is so small."""
    more: list[float] = []
    async with (
        open_actor(Echo, handler_timeout=30) as limited,
        open_actor(Echo, handler_timeout=None) as free,
    ):
        with no_collector():
            for _ in range(300):
                one = await cpu_per_operation(lambda n: _send(limited, n), 640)
                other = await cpu_per_operation(lambda n: _send(free, n), 640)
                more.append(one - other)
    return statistics.median(more) * 1e6
