"""The reference supervisor refuses every kind of wrong decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from supervision import AutoShutdown, Child, Intensity, Strategy
from supervision.plan import (
    Action,
    ChildAdded,
    ChildExited,
    ChildStarted,
    ChildStopped,
    Dismiss,
    Event,
    GiveUp,
    Shutdown,
    Start,
    StartFailed,
    Stop,
    StopRequested,
)
from supervision.planner import Planner
from supervision.testing import ReferenceSupervisor

Decision = tuple[Event, Sequence[Action]]

A, B, C, D = (
    Child("a", object),
    Child("b", object, restart="transient", significant=True),
    Child("c", object, restart="temporary"),
    Child("d", object),
)


def reference(
    strategy: Strategy, auto_shutdown: AutoShutdown = "any_significant"
) -> ReferenceSupervisor:
    supervisor = ReferenceSupervisor(
        [A, B, C, D],
        strategy=strategy,
        intensity=Intensity(1, within=10),
        auto_shutdown=auto_shutdown,
    )
    for name in "abcd":
        assert [*supervisor.accept(ChildStarted(name), (), 0)] == []
    return supervisor


def crash(name: str) -> Event:
    return ChildExited(name, failed=True)


WRONG: list[tuple[Strategy, Sequence[Decision], str]] = [
    ("one_for_one", [(crash("a"), [])], "M5: a has to be started"),
    ("one_for_one", [(crash("a"), [Start("b", 0)])], "M6: b is started while it is up"),
    ("one_for_one", [(crash("a"), [Stop("b", final=False)])], "M3: b is stopped"),
    ("one_for_one", [(crash("c"), [Start("c", 0)])], "M6: c is started while"),
    ("one_for_one", [(crash("a"), [GiveUp("a")])], "M7: it gives up"),
    (
        "one_for_one",
        [(crash("a"), [Start("a", 0)]), (crash("d"), [Start("d", 0)])],
        "M7: it was one restart too many",
    ),
    ("one_for_one", [(ChildExited("b", failed=False), [])], "M11: the last of its"),
    ("one_for_one", [(crash("c"), [Shutdown("c")])], "M11: it shuts down"),
    ("one_for_one", [(crash("a"), [Dismiss("a")])], "M6: a is forgotten"),
    ("one_for_one", [(StopRequested("a"), [])], "M5: a has to be stopped"),
    (
        "one_for_all",
        [(crash("a"), [Stop("b", final=False)])],
        "M2: b is stopped before",
    ),
    ("one_for_all", [(crash("a"), [Start("a", 0)])], "M4: a is started, and b, c, d"),
    (
        "one_for_all",
        [(crash("a"), [Stop("d", final=False), Stop("c", final=True)])],
        "M8: c is stopped while d is still going down",
    ),
    (
        "rest_for_one",
        [
            (crash("c"), [Dismiss("c"), Stop("d", final=False)]),
            (ChildStopped("d"), [Stop("b", final=False)]),
        ],
        "M3: d is stopped",
    ),
    (
        "rest_for_one",
        [
            (crash("b"), [Stop("d", final=False)]),
            (ChildStopped("d"), [Stop("c", final=True)]),
            (ChildStopped("c"), [Dismiss("c"), Start("d", 0)]),
        ],
        "M2: d is started before b",
    ),
    (
        "one_for_one",
        [
            (ChildAdded(Child("e", object)), [Start("e", None)]),
            (StartFailed("e"), [Start("e", 0)]),
        ],
        "M6: e is started while",
    ),
]


@pytest.mark.parametrize(("strategy", "decisions", "what"), WRONG)
def test_a_wrong_decision_is_refused(
    strategy: Strategy, decisions: Sequence[Decision], what: str
) -> None:
    supervisor = reference(strategy)
    problems = [
        problem
        for at, (event, actions) in enumerate(decisions)
        for problem in supervisor.accept(event, actions, at)
    ]
    assert any(what in problem for problem in problems), problems


def test_the_planner_decides_what_the_reference_accepts() -> None:
    options: dict[str, Any] = {"auto_shutdown": "all_significant"}
    limit = Intensity(3, within=10)
    planner = Planner(
        [A, B, C, D], strategy="rest_for_one", intensity=limit, healthy=5, **options
    )
    supervisor = reference("rest_for_one", "all_significant")
    supervisor._intensity = limit
    events: Sequence[Event] = [
        *map(ChildStarted, "abcd"),
        crash("b"),
        ChildStopped("d"),
        ChildStopped("c"),
        StartFailed("b"),
        ChildStarted("b"),
        ChildStarted("d"),
        StopRequested("d"),
        ChildStopped("d"),
    ]
    for at, event in enumerate(events):
        actions = planner.handle(event, at)
        assert [*supervisor.accept(event, actions, at)] == []
