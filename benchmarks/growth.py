"""What grows with the number of actors, and what must not.

The collector is off, as everywhere here: its own cost an object grows until the heap
is large enough, and would be taken for ours. With it, many actors start at nearly
twice the cost.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Ref
from actors.events import Event, Stopped
from benchmarks.echo import GET, PUT, Echo
from benchmarks.harness import cpu_per_operation, no_collector
from benchmarks.table import Row, at_most
from supervision import Child, System

SIZES = {1: 9, 1_000: 9, 10_000: 3, 100_000: 1}
"""How many idle actors, and how often that is repeated."""

MESSAGE = at_most("growth: a message among 1 ... 10^5 idle actors", 1.5, 1.1, "x")
START = at_most("growth: start of 10^3 ... 10^5 actors, each", 1.5, 1.1, "x")
STOP = at_most("growth: stop in order of 10^3 ... 10^5, each", 1.5, 1.1, "x")


@attrs.frozen
class Costs:
    """Of one system, per actor or message."""

    start: float
    """Microseconds of CPU."""
    stop: float
    """Microseconds of CPU."""
    message: float
    """In spins, so that a slower moment of the machine does not count."""


def rows() -> Iterator[Row]:
    """Of systems of each size."""
    found = repeated(SIZES)
    many = found[1:]
    yield MESSAGE.found(*growth([[cost.message for cost in each] for each in found]))
    yield START.found(*growth([[cost.start for cost in each] for each in many], "us"))
    yield STOP.found(*growth([[cost.stop for cost in each] for each in many], "us"))


def repeated(sizes: Mapping[int, int]) -> list[list[Costs]]:
    """The costs of each size, so many times.

    The sizes take turns, so that slower moments of the machine are everybody's.
    """
    found = {size: list[Costs]() for size in sizes}
    rounds = max(sizes.values())
    for turn in range(rounds):
        for size, repeats in sizes.items():
            if turn % (rounds // repeats) == 0:
                with no_collector():
                    found[size].append(trio.run(costs, size))
    return list(found.values())


def growth(sizes: Sequence[Sequence[float]], unit: str = "spins") -> tuple[float, str]:
    """How often the smallest size fits into the dearest, and what each costs."""
    medians = [statistics.median(each) for each in sizes]
    note = ", ".join(f"{each:.3g}" for each in medians)
    return max(medians) / medians[0], f"{note} {unit}"


async def costs(size: int) -> Costs:
    """Start so many idle actors and one that works; send; stop them all."""
    stopped: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Stopped):
            stopped.append(event.path)

    worker = Child("worker", Echo)
    idle = [Child(str(n), Echo) for n in range(size)]
    system = System(worker, *idle, on_event=[note], shutdown=math.inf)
    begin = time.process_time()
    async with system:
        await wait_all_tasks_blocked()  # the supervisor still reads who has started
        started = time.process_time()
        message = await _message(system.ref(worker))
        leaving = time.process_time()
    left = time.process_time()
    in_order = [system.ref(child).path for child in (*reversed(idle), worker)]
    if stopped[: len(in_order)] != in_order:
        raise RuntimeError("they did not stop in the reverse order of their start")
    return Costs((started - begin) / size * 1e6, (left - leaving) / size * 1e6, message)


async def _message(echo: Ref[Echo]) -> float:
    """What a message to one costs, in rounds of an empty loop."""

    async def send(n: int) -> None:
        for _ in range(n):
            await echo.send(PUT)
        await echo.ask(GET)

    async def spin(n: int) -> None:
        for _ in range(n):
            pass

    ratios: list[float] = []
    for _ in range(15):
        message = await cpu_per_operation(send, 5_000)
        ratios.append(message / await cpu_per_operation(spin, 100_000))
    return statistics.median(ratios)
