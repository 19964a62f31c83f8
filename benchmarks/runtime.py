"""The runtime against bare trio: ``python -m benchmarks.runtime --json FILE``."""

from __future__ import annotations

import sys

import attrs
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

from actors import Actor, Ask, Tell, open_actor
from benchmarks.harness import Measure, json_option, measure, pin, report

MEASURES = [
    Measure("send 1 -> 1, mailbox 64, async handler", "send", "channel", 3.5, 8),
    Measure("ask 1:1", "ask", "reschedule", 0.6, 0.85),
    Measure("ask 1:1 with a timeout", "ask timeout", "reschedule", 0.5, 0.78),
]


@attrs.frozen
class Put(Tell["Echo"]):
    n: int


@attrs.frozen
class Get(Ask["Echo", int]):
    n: int


class Echo(Actor):
    """Does nothing, as everything else is to be measured."""

    @Put.handled
    async def put(self, m: Put) -> None:
        pass

    @Get.handled
    async def get(self, m: Get) -> int:
        return m.n


async def send(operations: int) -> None:
    """Send messages to one actor, and wait until all are handled."""
    async with open_actor(Echo) as echo:
        message = Put(1)
        for _ in range(operations):
            await echo.send(message)
        await echo.ask(Get(1))


async def channel(operations: int) -> None:
    """The same through a memory channel of the same size."""
    sender, receiver = trio.open_memory_channel[Put](64)

    async def handle(message: Put) -> None:
        pass

    async def serve() -> None:
        async for message in receiver:
            await handle(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with sender:
            message = Put(1)
            for _ in range(operations):
                await sender.send(message)


async def ask(operations: int) -> None:
    """Ask one actor, one question after the other."""
    async with open_actor(Echo) as echo:
        message = Get(1)
        for _ in range(operations):
            await echo.ask(message)


async def ask_timeout(operations: int) -> None:
    """The same with a deadline for each."""
    async with open_actor(Echo) as echo:
        message = Get(1)
        for _ in range(operations):
            await echo.ask(message, timeout=30)


async def reschedule_round_trip(operations: int) -> None:
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

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await wait_all_tasks_blocked()
        for _ in range(operations):
            reschedule(parked.pop(), Value(current_task()))
            await wait_task_rescheduled(abort)
        nursery.cancel_scope.cancel()


CASES = {
    "send": send,
    "channel": channel,
    "ask": ask,
    "ask timeout": ask_timeout,
    "reschedule": reschedule_round_trip,
}


if __name__ == "__main__":
    path = json_option()
    pin()
    sys.exit(report(MEASURES, measure(CASES, operations=30_000, rounds=9), path))
