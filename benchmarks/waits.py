"""How long another task waits for its turn while one mailbox is drained."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import attrs
import trio
from trio.lowlevel import checkpoint

from actors import Actor, Ask, Tell, open_actor
from benchmarks.table import Row, at_most

FAST = at_most("p99 wait of another task, 10,000 x 2 us", 0.3, 0.1, "ms")
# trio shuffles the tasks of a tick, so that a task may have to wait for two turns; a
# turn is the quantum, and the handler in which it ends.
SLOW = at_most("p99 wait of another task, 300 x 1 ms", 4, 2.2, "ms")


@attrs.frozen
class Spin(Tell["Spinner"]):
    times: int


@attrs.frozen
class Finish(Ask["Spinner", None]):
    """Answered when all before it are handled."""


class Spinner(Actor):
    """Computes, and never waits."""

    @Spin.handled
    async def spin(self, m: Spin) -> None:
        for _ in range(m.times):
            pass

    @Finish.handled
    async def finish(self, m: Finish) -> None:
        pass


def rows() -> Iterator[Row]:
    """Both in CPU time: what others do to this machine is not our waiting."""
    for row, seconds, messages in (FAST, 2e-6, 10_000), (SLOW, 1e-3, 300):
        found = [trio.run(p99_wait, seconds, messages) for _ in range(5)]
        yield row.found(statistics.median(found) * 1e3)


async def p99_wait(seconds: float, messages: int) -> float:
    """Drain a full mailbox beside a task that does nothing but yield."""
    spin, waits = Spin(_times(seconds)), list[float]()

    async def other() -> None:
        while True:
            begin = time.process_time()
            await checkpoint()
            waits.append(time.process_time() - begin)

    async with open_actor(Spinner, mailbox=messages + 1) as spinner:
        await spinner.ask(Finish())
        for _ in range(messages):
            spinner.tell(spin)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await spinner.ask(Finish())
            nursery.cancel_scope.cancel()
    return statistics.quantiles(waits, n=100)[98]


def _times(seconds: float) -> int:
    """How many empty rounds of a loop take so long here and now."""
    rounds = 100_000
    begin = time.process_time()
    for _ in range(rounds):
        pass
    return round(seconds / (time.process_time() - begin) * rounds)
