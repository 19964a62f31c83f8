"""The text of a failure: what was broken, by which story, and how to see it again."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap

from actors.testing import FIFO, Pick
from supervision.testing.charts import WIDTH, chart
from supervision.testing.history import Run
from supervision.testing.oracle import InvariantBroken
from supervision.testing.smaller import Judge, smallest
from supervision.testing.tokens import token
from supervision.testing.trees import Tree

MORE = 4
"""So many further violations of the same rule are told."""

TURNS = 20
"""So many moments of the schedule are told."""


def report(run: Run, violations: Sequence[str]) -> str:
    """Tell of a failure in at most 92 columns, but for the lines to be copied.

    A simulation must have been run; nothing is run here.
    """
    parts = [
        _violations(violations),
        ["scenario:", *_indented(story(run))],
        [chart(run, violations)],
        _turns(run),
        _replay(run),
    ]
    return "\n" + "\n\n".join("\n".join(part) for part in parts if part)


def _indented(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield from wrap(
            line, WIDTH, initial_indent="  ", subsequent_indent=" " * 9
        ) or [""]


def _violations(violations: Sequence[str]) -> list[str]:
    """All but the first, which the exception itself says."""
    more = [*_indented(iter(violations[1 : MORE + 1]))]
    hidden = len(violations) - MORE - 1
    if hidden > 0:
        more.append(f"  and {hidden} more")
    return ["also:", *more] if more else []


def story(run: Run) -> Iterator[str]:
    """Say in words what a scenario does, a line for each thing."""
    scenario = run.scenario
    yield _tree(run.tree)
    if not scenario.script:
        yield "nobody sends anything"
    for op in sorted(scenario.script, key=lambda op: op.at):
        yield str(op)
    for fault in scenario.faults:
        yield f"fault  {fault}"
    if scenario.cut is not None:
        yield f"{scenario.cut} of the scheduler"
    if scenario.schedule == FIFO:
        yield "who can run does, the oldest task first"
    if scenario.seed:
        yield f"seed {scenario.seed}"


def _tree(tree: Tree) -> str:
    paths = [path.removeprefix(f"{tree.name}/") for path in tree.nodes]
    return f"{tree.name} ({tree.strategy}): {', '.join(paths[1:]) or 'nobody'}"


def _turns(run: Run) -> list[str]:
    """Who ran out of turn."""
    picks = () if run.done is None else run.done.schedule
    if not picks:
        return []
    lines = [*_indented(map(_turn, picks[:TURNS]))]
    if len(picks) > TURNS:
        lines.append(f"  and so on, {len(picks)} times")
    return ["out of turn:", *lines]


def _turn(pick: Pick) -> str:
    """As `Pick` says it, but not of a crowd."""
    if len(pick.waited) <= 3:
        return str(pick)
    crowd = f"{len(pick.waited)} others"
    return str(Pick(pick.step, pick.ran, [crowd])).replace("waits", "wait")


def _replay(run: Run) -> list[str]:
    try:
        word = token(run.scenario, run.tree)
    except TypeError as error:
        return [f"it cannot be replayed by a token: {error}"]
    lines = ["replay:"]
    if test := os.environ.get("PYTEST_CURRENT_TEST"):
        node = shlex.quote(test.rpartition(" ")[0])
        lines.append(f"  pytest {node} --fault-replay {word}")
    return [*lines, f"  supervision.testing.replay({word!r}, tree)"]


# -- when -----------------------------------------------------------------------------


def explained(broken: InvariantBroken, judge: Judge) -> InvariantBroken:
    """Attach the report to what is about to be raised.

    While Hypothesis searches and shrinks, nobody reads it, so there is none. Of what
    it shows in the end, the scenario is made as small as it gets; a scenario that was
    given by hand is reported as it is.
    """
    control = sys.modules.get("hypothesis.control")
    if control is not None and control.currently_in_test_context():
        if not control.current_build_context().is_final:
            return broken
        broken = smallest(broken, judge)
    broken.add_note(report(broken.run, broken.violations))
    return broken
