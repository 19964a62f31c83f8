"""Crashes, starts and stops of many: ``python -m benchmarks.supervision``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from itertools import chain

import attrs

from actors import Actor, Tell
from benchmarks.finish import Finish
from benchmarks.growth import growth, repeated
from benchmarks.harness import Case, Operate, cheaper, measure, pin
from benchmarks.peers import NO_PYKKA
from benchmarks.table import Row, at_most, options, report
from supervision import Backoff, Child, Intensity, System

RESTART = at_most("crash to restarted, 10^2, 10^3, 10^4 children, each", 1.5, 1.1, "x")
PYKKA = Row("pykka, pinned: stop and start against crash to restarted", 3, 5)
START = at_most("supervisor: start of 10^2, 10^3, 10^4 children, each", 1.5, 1.1, "x")
STOP = at_most("supervisor: stop in order of 10^2 ... 10^4, each", 1.5, 1.1, "x")


@attrs.frozen
class Crash(Tell["Fragile"]):
    """Make the receiver fail."""


class Fragile(Actor):
    """Fails on demand."""

    @Crash.handled
    async def crash(self, m: Crash) -> None:
        raise RuntimeError("as it was told to")


@asynccontextmanager
async def crashes(size: int) -> AsyncIterator[Operate]:
    """Let all children of one supervisor crash at once, until all are back; again."""
    finish = Finish()

    def fragile() -> Fragile:
        finish.one()  # it has nothing to start: made, it is up
        return Fragile()

    async def operate(n: int) -> None:
        for _ in range(max(1, n // size)):
            finish.expect(size)
            for ref in refs:
                await ref.send(Crash())
            await finish.wait()

    children = [Child(str(n), fragile) for n in range(size)]
    system = System(
        *children,
        # At once and as often as it takes: the machinery is measured, not the policy.
        backoff=Backoff(first=0, cap=0),
        intensity=Intensity(restarts=10 * size, within=3600),
    )
    async with system:
        refs = [system.ref(child) for child in children]
        yield operate


def restart_rows() -> Iterator[Row]:
    """The first two."""
    cases = {n: Case(partial(crashes, n), max(n, 300)) for n in (100, 1_000, 10_000)}
    spent = measure({str(n): case for n, case in cases.items()}, rounds=9)
    each = [[seconds * 1e6 for seconds in found] for found in spent.rounds.values()]
    yield RESTART.found(*growth(each, "us"))
    if not find_spec("pykka"):
        yield PYKKA.unmeasured(NO_PYKKA)
        return
    from benchmarks import pykka_cases  # noqa: PLC0415 - needs an extra

    pykka = Case(pykka_cases.restart, 300)
    spent = measure({"restart": cases[100], "pykka": pykka}, rounds=25)
    yield PYKKA.found(*cheaper(spent, "restart", "pykka"))


def start_rows() -> Iterator[Row]:
    """Start and stop; that they stop in order is checked."""
    found = repeated({100: 27, 1_000: 9, 10_000: 3})
    yield START.found(*growth([[cost.start for cost in each] for each in found], "us"))
    yield STOP.found(*growth([[cost.stop for cost in each] for each in found], "us"))


if __name__ == "__main__":
    arguments = options("supervision").parse_args()
    pin()
    sys.exit(report(chain(restart_rows(), start_rows()), arguments.json))
