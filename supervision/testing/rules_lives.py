"""The rules about incarnations: how they begin, end, and are cleaned up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from actors.events import Cleaned
from supervision.testing.history import EPSILON, Life, Run
from supervision.testing.oracle import Rule


def nobody_is_left(run: Run) -> Iterator[str]:
    """Nobody lives when the system has ended."""
    if run.hung is not None:
        return
    for life in run.all_lives():
        if life.over is None and not life.interrupted:
            yield f"{life.path}#{life.number} has never ended"


def every_life_is_cleaned_up_once(run: Run) -> Iterator[str]:
    """Each incarnation is cleaned up once, within its life, and not cut short."""
    for life in run.all_lives():
        name, stops = f"{life.path}#{life.number}", life.at("stopping")
        if life.interrupted or life.cleaned is None:
            continue  # that it has ended is another rule
        if len(stops) != 1:
            yield f"stopping() of {name} was called {len(stops)} times"
            continue
        event, (stop,) = life.cleaned.event, stops
        if not isinstance(event, Cleaned):
            continue
        told = {*event.done, *event.abandoned, *(step for step, _ in event.failed)}
        if "stopping" not in told:
            yield f"the cleanup of {name} does not tell of stopping()"
        budget = run.nodes[life.path].child.cleanup
        took = life.cleaned.at - stop.entered.at
        cut_off = "stopping" in event.abandoned or stop.ending == "cancelled"
        if cut_off and took < budget - EPSILON:
            yield (
                f"the cleanup of {name} was cut off after {took:g} s, and has "
                f"{budget:g} s"
            )


def lives_do_not_overlap(run: Run) -> Iterator[str]:
    """An incarnation begins when nothing of the one before is left."""
    for path, lives in run.lives.items():
        for life, after in pairwise(lives):
            if not _over_before(life, after):
                yield f"{path}#{after.number} began before #{life.number} was over"
        for life in lives:
            if life.overlapped is not None:
                yield (
                    f"{path}#{life.number}: {life.overlapped.event} is not of its life"
                )


def _over_before(life: Life, after: Life) -> bool:
    if life.interrupted:
        return True
    ended = life.over
    return ended is not None and (ended.at, ended.step) <= (
        after.made.at,
        after.made.step,
    )


def a_cleanup_is_bounded(run: Run) -> Iterator[str]:
    """A cleanup takes no longer than its budget, unless it cannot be cancelled."""
    for life in run.all_lives():
        stops = life.at("stopping")
        if life.cleaned is None or not stops:
            continue
        begin, end = stops[0].entered.at, life.cleaned.at
        budget = run.nodes[life.path].child.cleanup
        slack = run.blocked(begin, end) + run.shielded(life.path) + EPSILON
        if end - begin > budget + slack:
            yield (
                f"the cleanup of {life.path}#{life.number} took {end - begin:g} s, and "
                f"has {budget:g} s"
            )


LIVES = (
    Rule("I2", nobody_is_left),
    Rule("I6", lives_do_not_overlap),
    Rule("I5", every_life_is_cleaned_up_once),
    Rule("I13", a_cleanup_is_bounded),
)
