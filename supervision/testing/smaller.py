"""A last pass over a scenario that was found: leave out what is not needed.

Hypothesis shrinks what it draws, and stops when nothing that it tries is simpler; one
message or one turn too many may be left. Here each is left out alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import attrs

from actors.testing import FIFO, Tape
from supervision.testing.history import Run
from supervision.testing.oracle import InvariantBroken
from supervision.testing.scenario import Scenario

RUNS = 99
"""So often a scenario is played again at the most."""

BLOCKS = (32, 8, 1)
"""So many choices of a tape are taken back at a time."""

Judge = Callable[[Scenario], InvariantBroken | None]
"""Plays a scenario, and says what it has broken."""

_Edit = Callable[[Scenario], Scenario]


def smallest(broken: InvariantBroken, judge: Judge) -> InvariantBroken:
    """Leave out one thing after the other, as long as the same rule is broken.

    Returns:
        What is raised for the smallest scenario that was found; ``broken`` itself if
        nothing could be left out.
    """
    best, runs = broken, 0
    for edit in _edits(broken.run):
        scenario = best.run.scenario
        smaller = edit(scenario)
        if smaller == scenario:
            continue
        if runs == RUNS:
            break
        runs += 1
        found = judge(smaller)
        if found is not None and found.rule == best.rule:
            best = found
    return best


def _edits(run: Run) -> Iterator[_Edit]:
    """From large to small, and from the end: so the places before stay as they are."""
    scenario = run.scenario
    yield partial(attrs.evolve, cut=None)
    yield partial(attrs.evolve, schedule=FIFO)
    choices = 0
    if isinstance(scenario.schedule, Tape):
        choices = len(scenario.schedule.choices)
    elif run.done is not None:
        choices = len(run.done.tape.choices)
        yield partial(attrs.evolve, schedule=run.done.tape)
    yield partial(attrs.evolve, script=())
    yield partial(attrs.evolve, faults=())
    for place in reversed(range(len(scenario.script))):
        yield partial(_without_op, place)
    for place in reversed(range(len(scenario.faults))):
        yield partial(_without_fault, place)
    for place in range(len(scenario.faults)):
        yield partial(_once, place)
    for size in BLOCKS:
        for begin in reversed(range(0, choices, size)):
            yield partial(_in_turn, begin, begin + size)
    yield partial(attrs.evolve, seed=0)


def _without_op(place: int, scenario: Scenario) -> Scenario:
    script = scenario.script
    return attrs.evolve(scenario, script=script[:place] + script[place + 1 :])


def _without_fault(place: int, scenario: Scenario) -> Scenario:
    faults = scenario.faults
    return attrs.evolve(scenario, faults=faults[:place] + faults[place + 1 :])


def _once(place: int, scenario: Scenario) -> Scenario:
    """A fault that strikes once, instead of several times."""
    faults = [
        attrs.evolve(fault, repeat=1) if n == place else fault
        for n, fault in enumerate(scenario.faults)
    ]
    return attrs.evolve(scenario, faults=faults)


def _in_turn(begin: int, end: int, scenario: Scenario) -> Scenario:
    """Between two moments all run who can."""
    if not isinstance(scenario.schedule, Tape):
        return scenario
    choices = scenario.schedule.choices
    quiet = bytes(len(choices[begin:end]))
    tape = Tape(choices[:begin] + quiet + choices[end:])
    return attrs.evolve(scenario, schedule=tape)
