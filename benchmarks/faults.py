"""The fault-injection kit: how fast, how sure: ``python -m benchmarks.faults``.

A minute is one of the processor, spent by this process on one core. What others take
of the machine meanwhile does not count, though the caches that they share do: beside a
busy neighbour the same work takes up to half as long again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import attrs
import trio
from hypothesis import HealthCheck, Phase, find, given, settings

from actors import Actor, Ask, Tell
from actors.testing import Deadlock, OneAtATime, Schedule, World, schedules, simulate
from benchmarks.table import Row, at_most, options, report
from supervision import Child, Supervisor
from supervision.testing import Scenario, TellAt, Tree, run_scenario, scenarios

SPEED = Row("tree scenarios, with Hypothesis", 5_000, 10_000, "a minute")
FOUND = "{}: found and shrunk"
LINES = "{}: lines of its schedule"
DIGESTS = at_most("digests of 4 processes that hash differently", 1, 1, "different")
ALARMS = at_most("false alarms on clean code", 0, 0, "alarms")

Main = Callable[[World], Awaitable[Any]]


@attrs.frozen
class Add(Tell["Counter"]):
    """Count on."""

    by: int


@attrs.frozen
class GetCount(Ask["Counter", int]):
    """How many are there?"""


class Counter(Actor):
    """Counts, and takes a moment to say what it has counted."""

    def __init__(self) -> None:
        self.count = 0

    @Add.handled
    def add(self, m: Add) -> None:
        self.count += m.by

    @GetCount.handled
    async def get(self, m: GetCount) -> int:
        await trio.sleep(0.1)
        return self.count


def _children() -> list[Child[Counter] | Child[Supervisor]]:
    pair = [Child("left", Counter, mailbox=4), Child("right", Counter, mailbox=4)]
    return [
        Child("counter", Counter, mailbox=4),
        Child("pair", lambda: Supervisor(*pair, strategy="one_for_all")),
    ]


PATHS = ("app/counter", "app/pair/left", "app/pair/right")
TREE = Tree(_children, messages={path: [Add(1), GetCount()] for path in PATHS})


# -- how fast, and how sure -----------------------------------------------------------


def speed(examples: int) -> Row:
    """CPU time of drawing, playing and judging scenarios."""
    begin = time.process_time()
    played, alarms = _played(examples)
    minutes = (time.process_time() - begin) / 60
    return SPEED.found(played / minutes, f"{played} scenarios, {len(alarms)} alarms")


def false_alarms(examples: int) -> Row:
    """Play scenarios on clean code; whatever is broken there is an alarm."""
    played, alarms = _played(examples, progress=True)
    first = f"; the first: {alarms[0]}" if alarms else ""
    return ALARMS.found(len(alarms), f"{played} scenarios{first}")


def _played(examples: int, *, progress: bool = False) -> tuple[int, list[str]]:
    played = 0
    alarms: list[str] = []

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[*HealthCheck],
    )
    @given(scenarios(TREE))
    def play(scenario: Scenario) -> None:
        nonlocal played
        played += 1
        if progress and played % 1_000 == 0:
            print(f"{played} of {examples}", end="\r", file=sys.stderr, flush=True)
        try:
            run_scenario(scenario, TREE)
        except AssertionError as error:
            alarms.append(str(error))

    play()
    return played, alarms


# -- what it finds --------------------------------------------------------------------


def _mistakes() -> dict[str, Main]:
    sys.path.insert(0, "tests/hostile")
    from planted import (  # noqa: PLC0415 - of the tests, in a checkout alone
        leaves_no_session_open,
        prints_all_pages,
        trades,
    )

    return {
        "lost wake-up": prints_all_pages,
        "restart versus stop": leaves_no_session_open,
        "two that wait for each other": trades,
    }


def _failure(main: Main, schedule: Schedule) -> Exception | None:
    try:
        simulate(main, schedule=schedule)
    except (Deadlock, AssertionError) as error:
        return error
    return None


def mistake(name: str, main: Main) -> Iterator[Row]:
    """Let Hypothesis look for a schedule with which it goes wrong."""
    begin = time.process_time()
    schedule = find(
        schedules(length=32),
        lambda schedule: _failure(main, schedule) is not None,
        settings=settings(max_examples=10_000, database=None, deadline=None),
        random=Random(0),
    )
    seconds = time.process_time() - begin
    yield at_most(FOUND.format(name), 10, 3, "s").found(seconds)
    found = _failure(main, schedule)
    lines = [] if found is None else found.__notes__[-1].splitlines()[1:]
    note = lines[0].strip() if lines else ""
    yield at_most(LINES.format(name), 6, 3, "lines").found(len(lines), note)


# -- the same everywhere --------------------------------------------------------------


def digest() -> str:
    """Of some scenarios, under schedules of all sorts."""
    script = [TellAt(0, path, Add(1)) for path in PATHS]
    texts: list[str] = []
    for seed in range(50):
        scenario = Scenario(script, schedule=OneAtATime(seed), seed=seed)
        result = run_scenario(scenario, TREE).result
        texts.append("" if result is None else result.digest)
    return " ".join(texts)


def digests() -> Row:
    """How many different ones there are in processes that hash differently."""
    code = "from benchmarks.faults import digest; print(digest())"
    found = {
        subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    return DIGESTS.found(len(found), "50 scenarios each")


def rows(*, alarms: int, examples: int) -> Iterator[Row]:
    """All of them, one by one."""
    yield speed(examples)
    for name, main in _mistakes().items():
        yield from mistake(name, main)
    yield digests()
    yield false_alarms(alarms)


if __name__ == "__main__":
    parser = options("faults")
    parser.add_argument("--scenarios", type=int, default=20_000, help="on clean code")
    parser.add_argument("--speed", type=int, default=2_000, help="scenarios timed")
    chosen = parser.parse_args()
    found = rows(alarms=chosen.scenarios, examples=chosen.speed)
    sys.exit(report(found, chosen.json))
