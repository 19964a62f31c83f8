"""What Hypothesis draws: scenarios for a tree. This module alone needs Hypothesis.

Everything is drawn before the run. Each example draws from a subset of the kinds of
faults (swarm testing): with all of them in every example the loud would hide the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

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
from supervision.testing.trees import Tree

T = TypeVar("T")

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

_TIMES = st.sampled_from([0.0, 0.1, 1.0, 2.0, 5.0, 10.0, 20.0])
_TIMEOUTS = st.sampled_from([10.0, None, 0.0, 0.5, 40.0])
_SECONDS = st.sampled_from([0.5, 3.0, 12.0])
_JUMPS = st.sampled_from([0.5, 5.0, 45.0, 4000.0])
_POINTS: Sequence[Point] = ("handle", "start", "stopping", "run", "cleanup")
_AT_SUPERVISORS: Sequence[Point] = ("start", "stopping", "cleanup")
_VERBS: Sequence[Verb] = ("restart", "stop", "suspend", "resume")
_CUTS: Sequence[CutKind] = ("cancel", "stop")


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
    drawn = st.deferred(lambda: _scenarios(tree, ops, faults, steps))

    def one_of_them(_: object) -> st.SearchStrategy[Scenario]:
        replayed = to_replay(tree)
        return drawn if replayed is None else st.just(replayed)

    return st.none().flatmap(one_of_them)


def _scenarios(
    tree: Tree, ops: int, faults: int, steps: int
) -> st.SearchStrategy[Scenario]:
    cuts = st.builds(Cut, st.integers(1, steps), st.sampled_from(_CUTS), st.booleans())
    return st.builds(
        Scenario,
        st.lists(_ops(tree), max_size=ops),
        st.integers(0, 2 ** len(KINDS) - 1).flatmap(_plans(tree, faults)),
        schedules(),
        st.one_of(st.none(), st.none(), cuts),
        st.integers(0, 255),
        st.just(tree.shape),
    )


# -- scripts --------------------------------------------------------------------------


def _ops(tree: Tree) -> st.SearchStrategy[Op]:
    kinds: list[st.SearchStrategy[Op]] = [
        kind
        for path, messages in tree.messages.items()
        for kind in _sends(path, messages)
    ]
    below = st.sampled_from([path for path in tree.nodes if path != tree.name] or [""])
    if len(tree.nodes) > 1:
        kinds.append(st.builds(RequestAt, _TIMES, below, st.sampled_from(_VERBS)))
    kinds += [
        *_bursts(tree),
        st.builds(JumpAt, _TIMES, _JUMPS),
        st.builds(StopAt, _TIMES),
    ]
    return st.one_of(kinds)


def _sends(
    path: str, messages: Sequence[Any] | st.SearchStrategy[Any]
) -> list[st.SearchStrategy[Op]]:
    if isinstance(messages, st.SearchStrategy):

        def sent(message: Any) -> st.SearchStrategy[Op]:
            return st.one_of(_sends(path, [message]))

        return [messages.flatmap(sent)]
    asks = [message for message in messages if _is_ask(message)]
    tells = [message for message in messages if not _is_ask(message)]
    kinds: list[st.SearchStrategy[Op]] = []
    if asks:
        some = st.sampled_from(asks)
        kinds.append(st.builds(AskAt, _TIMES, st.just(path), some, _TIMEOUTS))
    if tells:
        some = st.sampled_from(tells)
        kinds.append(st.builds(TellAt, _TIMES, st.just(path), some))
    return kinds


def _is_ask(message: object) -> bool:
    return isinstance(message, Ask)


def _bursts(tree: Tree) -> list[st.SearchStrategy[Op]]:
    """One for all: it costs as much as everything else together."""
    told = [
        BurstAt(0.0, path, message)
        for path, messages in tree.messages.items()
        if isinstance(messages, Sequence)
        for message in messages
        if not _is_ask(message)
    ]
    if not told:
        return []

    def at(at: float, burst: BurstAt) -> BurstAt:
        return attrs.evolve(burst, at=at)

    return [st.builds(at, _TIMES, st.sampled_from(told))]


# -- faults ---------------------------------------------------------------------------


def _plans(tree: Tree, most: int) -> Callable[[int], st.SearchStrategy[FaultPlan]]:
    """For each subset of the kinds, as a number, the plans of these alone."""
    known: dict[int, st.SearchStrategy[FaultPlan]] = {}

    def plans(subset: int) -> st.SearchStrategy[FaultPlan]:
        if subset not in known:
            kinds = [kind for n, kind in enumerate(KINDS) if subset >> n & 1]
            some = [make for kind in kinds for make in _makers(tree, kind)]
            known[subset] = st.just(()) if not some else _several(some, most)
        return known[subset]

    return plans


MakeFaults = Callable[[int, int, float], FaultPlan]


def _several(some: Sequence[MakeFaults], most: int) -> st.SearchStrategy[FaultPlan]:
    times = st.integers(1, 3)
    one = st.builds(_make, st.sampled_from(some), times, times, _SECONDS)
    return st.lists(one, max_size=most).map(_together)


def _make(make: MakeFaults, nth: int, repeat: int, seconds: float) -> FaultPlan:
    return make(nth, repeat, seconds)


def _together(plans: Iterable[FaultPlan]) -> FaultPlan:
    return tuple(fault for plan in plans for fault in plan)


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
