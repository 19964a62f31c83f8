"""Interleaved cases, CPU time, medians of what the rounds say.

The machine is rarely ours alone: wall times swing by a factor of two between runs.
So every claim is a ratio of CPU times of one core, taken from slices that lie next
to each other, and its median over the rounds.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager

import attrs
import trio

Operate = Callable[[int], Awaitable[object]]
"""Does the given number of operations."""


@attrs.frozen
class Case:
    """What is measured: ``open`` sets it up, untimed, and gives what is timed."""

    open: Callable[[], AbstractAsyncContextManager[Operate]]
    operations: int
    """So many a slice: enough for some 30 ms."""


@attrs.frozen
class Spent:
    """CPU seconds per operation of each case, round by round."""

    rounds: Mapping[str, Sequence[float]]

    def microseconds(self, case: str) -> float:
        """The median cost of one operation."""
        return statistics.median(self.rounds[case]) * 1e6

    def times_cheaper(self, case: str, than: str) -> float:
        """How often ``case`` fits into what ``than`` costs; the median round."""
        pairs = zip(self.rounds[than], self.rounds[case], strict=True)
        return statistics.median(other / mine for other, mine in pairs)


def cheaper(spent: Spent, case: str, than: str) -> tuple[float, str]:
    """How often one case fits into another, and what both cost."""
    mine, other = spent.microseconds(case), spent.microseconds(than)
    return spent.times_cheaper(case, than), f"{mine:.2f} us, {than} {other:.2f}"


def pin() -> None:
    """Stay on one core: a second one would hide the cost of every wake-up.

    Child processes inherit it.
    """
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})


def measure(cases: Mapping[str, Case], *, rounds: int) -> Spent:
    """Run all cases in turn, round after round; the order rotates."""
    names = list(cases)
    rest = {name: list[float]() for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            rest[name].append(trio.run(_slice, cases[name]))
    return Spent(rest)


async def _slice(case: Case) -> float:
    async with case.open() as operate:
        await operate(max(1, case.operations // 10))
        with no_collector():
            return await cpu_per_operation(operate, case.operations)


async def cpu_per_operation(operate: Operate, operations: int) -> float:
    """CPU seconds for each of so many operations."""
    begin = time.process_time()
    await operate(operations)
    return (time.process_time() - begin) / operations


@contextmanager
def no_collector() -> Iterator[None]:
    """Collect now and not meanwhile: when it runs depends on what ran before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
