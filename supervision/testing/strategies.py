"""What Hypothesis draws: scenarios for a tree. This module alone needs Hypothesis.

Everything is drawn before the run. Each example draws from a subset of the kinds of
faults (swarm testing): with all of them in every example the loud would hide the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import chain, product
from typing import Any

import attrs
from hypothesis import strategies as st

from actors._core.messages import Ask
from actors.testing import schedules
from supervision.testing.faults import Fault, FaultPlan, Kind, Point, crash_loop
from supervision.testing.scenario import Cut, CutKind, Scenario
from supervision.testing.scripts import (
    AskAt,
    BurstAt,
    JumpAt,
    Op,
    RequestAt,
    StopAt,
    TellAt,
    Verb,
)
from supervision.testing.tokens import to_replay
from supervision.testing.trees import Tree, check_tree

KINDS: Sequence[Kind | str] = (
    "crash",
    "crash_loop",
    "slow",
    "hang",
    "group",
    "no_checkpoint",
    "shielded_hang",
    "base_exception",
    "deliver",
)
"""What a subset is drawn from."""

_TIMES = (0.0, 0.1, 1.0, 2.0, 5.0, 10.0, 20.0)
_TIMEOUTS = (10.0, None, 0.0, 0.5, 40.0)
_JUMPS = (0.5, 5.0, 45.0, 4000.0)
_HOW = [
    (nth, repeat, seconds)
    for seconds in (0.5, 3.0, 12.0)
    for repeat in (1, 2, 3)
    for nth in (1, 2, 3)
]
"""How a fault strikes, the simplest first."""
_POINTS: Sequence[Point] = ("handle", "start", "stopping", "run", "cleanup")
_AT_SUPERVISORS: Sequence[Point] = ("start", "stopping", "cleanup")
_VERBS: Sequence[Verb] = ("restart", "stop", "suspend", "resume")
_CUTS: Sequence[tuple[CutKind, bool]] = (
    ("cancel", False),
    ("cancel", True),
    ("stop", False),
    ("stop", True),
)


def scenarios(
    tree: Tree, *, ops: int = 8, faults: int = 5, steps: int = 200
) -> st.SearchStrategy[Scenario]:
    """Scenarios for a tree, which shrink towards one in which nothing happens.

    Args:
        tree: whose actors are to be struck; its ``messages`` say what is sent to whom.
        ops: how many things happen in a script at the most.
        faults: how many faults strike at the most; a crash loop counts as one.
        steps: in which of the first steps of the scheduler all may be cut off.
    """
    check_tree(tree)
    drawn = st.deferred(lambda: _scenarios(tree, ops, faults, steps))

    def one_of_them(_: object) -> st.SearchStrategy[Scenario]:
        replayed = to_replay(tree)
        return drawn if replayed is None else st.just(replayed)

    return st.none().flatmap(one_of_them)


def _scenarios(
    tree: Tree, ops: int, faults: int, steps: int
) -> st.SearchStrategy[Scenario]:
    ways = [partial(Cut, what=what, after=after) for what, after in _CUTS]
    cuts = st.tuples(st.sampled_from(ways), st.integers(1, steps))
    return st.builds(
        Scenario,
        st.lists(_ops(tree), max_size=ops),
        _plans(tree, faults),
        schedules(),
        st.one_of(st.none(), st.none(), cuts.map(lambda cut: cut[0](cut[1]))),
        st.integers(0, 255),
        st.just(tree.shape),
    )


# -- scripts --------------------------------------------------------------------------
# Each choice that Hypothesis makes costs as much as some steps of a run, so whatever
# can be written down beforehand is drawn whole: of each kind, the simplest first.


def _ops(tree: Tree) -> st.SearchStrategy[Op]:
    kinds: list[st.SearchStrategy[Op]] = [
        kind
        for path, messages in tree.messages.items()
        for kind in _sends(path, messages)
    ]
    below = [path for path in tree.nodes if path != tree.name]
    requests = product(below, _VERBS, _TIMES)
    told = [
        BurstAt(0.0, path, message)
        for path, messages in tree.messages.items()
        if isinstance(messages, Sequence)
        for message in messages
        if not _is_ask(message)
    ]
    kinds += _kind([RequestAt(at, path, verb) for path, verb, at in requests])
    # One for all: it costs as much as everything else together.
    kinds += _kind([attrs.evolve(each, at=at) for each, at in product(told, _TIMES)])
    kinds += _kind([JumpAt(at, seconds) for seconds, at in product(_JUMPS, _TIMES)])
    kinds += _kind([StopAt(at) for at in _TIMES])
    return st.one_of(kinds)


def _kind(ops: Sequence[Op]) -> list[st.SearchStrategy[Op]]:
    return [st.sampled_from(ops)] if ops else []


def _sends(
    path: str, messages: Sequence[Any] | st.SearchStrategy[Any]
) -> list[st.SearchStrategy[Op]]:
    if isinstance(messages, st.SearchStrategy):

        def sent(message: Any) -> st.SearchStrategy[Op]:
            return st.one_of(_sends(path, [message]))

        return [messages.flatmap(sent)]
    asks = [message for message in messages if _is_ask(message)]
    tells = [message for message in messages if not _is_ask(message)]
    asked = product(asks, _TIMEOUTS, _TIMES)
    return [
        *_kind([AskAt(at, path, ask, timeout) for ask, timeout, at in asked]),
        *_kind([TellAt(at, path, tell) for tell, at in product(tells, _TIMES)]),
    ]


def _is_ask(message: object) -> bool:
    return isinstance(message, Ask)


# -- faults ---------------------------------------------------------------------------

MakeFaults = Callable[[int, int, float], FaultPlan]


def _plans(tree: Tree, most: int) -> st.SearchStrategy[FaultPlan]:
    """Plans of a subset of the kinds each."""
    makers = [_makers(tree, kind) for kind in KINDS]
    everything = sum(map(len, makers))
    if not everything:
        return st.just(())

    @cache
    def of(subset: int) -> Sequence[MakeFaults]:
        kinds = (some for n, some in enumerate(makers) if subset >> n & 1)
        return [*chain.from_iterable(kinds)]

    def plan(drawn: tuple[int, list[int]]) -> FaultPlan:
        subset, numbers = drawn
        some, faults = of(subset), list[Fault]()
        for number in numbers if some else ():
            which, how = divmod(number, len(_HOW))
            faults += some[which % len(some)](*_HOW[how])
        return tuple(faults)

    numbers = st.lists(st.integers(0, everything * len(_HOW) - 1), max_size=most)
    return st.tuples(st.integers(0, 2 ** len(KINDS) - 1), numbers).map(plan)


def _makers(tree: Tree, kind: str) -> list[MakeFaults]:
    """How to make a fault of a kind, for everybody and wherever it can strike."""
    if kind == "deliver":
        return [
            partial(_fault, (path, "deliver"), each)
            for path in tree.unreliable
            for each in ("drop", "duplicate", "delay")
        ]
    # The root is the system's own: no code of the user's runs there.
    nodes = [node for node in tree.nodes.values() if node.path != tree.name]
    if kind == "crash_loop":
        return [
            partial(_crash_loop, node.path) for node in nodes if node.kind == "actor"
        ]
    return [
        partial(_fault, (node.path, point), kind)
        for node in nodes
        for point in (_AT_SUPERVISORS if node.is_supervisor else _POINTS)
    ]


def _fault(
    where: tuple[str, Point], kind: Any, nth: int, repeat: int, seconds: float
) -> FaultPlan:
    path, point = where
    match kind:
        case "slow" | "no_checkpoint" | "delay":
            return (Fault(path, point, nth, kind, repeat, seconds=seconds),)
        case "shielded_hang":
            return (Fault(path, point, nth, kind),)
        case _:
            return (Fault(path, point, nth, kind, repeat),)


def _crash_loop(path: str, nth: int, repeat: int, _seconds: float) -> FaultPlan:
    return crash_loop(path, nth=nth, starts=repeat)
