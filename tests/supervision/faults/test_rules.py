"""Every rule can be broken: by a good run that was doctored in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import attrs
import pytest
from broken import Add, Counter
from faults.woods import Hand, Nap, Note, Ping

from actors import Exit
from actors.events import Cleaned, Event, Failed, Started, Stopped
from actors.testing import FIFO, Deadlock, Entry, Trace
from supervision import Backoff, Child, Intensity, Supervisor
from supervision.events import BackingOff, Escalated
from supervision.plan import ChildExited, ChildStarted, Start
from supervision.testing import (
    AskAt,
    Fault,
    JumpAt,
    Oracle,
    RequestAt,
    Run,
    Scenario,
    StopAt,
    TellAt,
    Tree,
    run_scenario,
)
from supervision.testing.points import (
    Answered,
    Decided,
    Ended,
    Entered,
    Idle,
    Leaving,
    Left,
    Made,
    Sent,
)

Change = Callable[[list[Entry]], list[Entry]]

TREE = Tree(
    lambda: [
        Child("alone", Hand, mailbox=3),
        Child(
            "pair",
            lambda: Supervisor(
                Child("left", Hand, mailbox=3),
                Child("right", Hand, mailbox=3),
                strategy="one_for_all",
                intensity=Intensity(2, within=60),
                backoff=Backoff(1, 2, 4),
            ),
        ),
    ],
    intensity=Intensity(2, within=60),
    backoff=Backoff(1, 2, 4),
)

SCENARIO = Scenario(
    [
        TellAt(0, "app/alone", Note()),
        TellAt(0, "app/alone", Note()),
        AskAt(0.5, "app/alone", Ping()),
        AskAt(1, "app/alone", Nap(3)),
        AskAt(10, "app/pair/left", Ping()),
        RequestAt(20, "app/pair/right", "restart"),
    ],
    [
        Fault("app/alone", "handle", 4, "crash", seconds=1),
        Fault("app/pair/left", "handle", 1, "crash"),
        Fault("app/alone", "stopping", 2, "slow", seconds=1),
    ],
)


@cache
def good() -> Run:
    """A run in which there is something of everything, and nothing is wrong."""
    return run_scenario(SCENARIO, TREE)


def doctored(change: Change) -> Run:
    entries = change([*good().entries])
    trace = cast("Trace", entries)
    return Run(SCENARIO, TREE, trace, good().nodes, None, good().result)


# -- ways to change a trace -----------------------------------------------------------


def where(entries: list[Entry], kind: type[Event], **fields: object) -> int:
    """The place of the first event of a class with these fields."""
    for place, entry in enumerate(entries):
        event = entry.event
        if type(event) is kind and all(
            getattr(event, name) == value for name, value in fields.items()
        ):
            return place
    raise AssertionError(f"no {kind.__name__} with {fields} in the good run")


def drop(kind: type[Event], **fields: object) -> Change:
    def change(entries: list[Entry]) -> list[Entry]:
        del entries[where(entries, kind, **fields)]
        return entries

    return change


def twice(kind: type[Event], **fields: object) -> Change:
    def change(entries: list[Entry]) -> list[Entry]:
        place = where(entries, kind, **fields)
        return [*entries[: place + 1], entries[place], *entries[place + 1 :]]

    return change


def alter(kind: type[Event], fields: Mapping[str, object], **to: Any) -> Change:
    """Change fields of an event; ``at`` and ``step`` are those of its entry."""

    def change(entries: list[Entry]) -> list[Entry]:
        place = where(entries, kind, **fields)
        entry = entries[place]
        when = {name: to.pop(name) for name in ("at", "step") if name in to}
        entries[place] = attrs.evolve(
            entry, event=attrs.evolve(entry.event, **to), **when
        )
        return entries

    return change


def move(
    to: tuple[type[Event], Mapping[str, object]], kind: type[Event], **fields: object
) -> Change:
    """Let an event happen where another does, right behind it."""

    def change(entries: list[Entry]) -> list[Entry]:
        entry = entries.pop(where(entries, kind, **fields))
        place = where(entries, to[0], **to[1])
        there = entries[place]
        moved = attrs.evolve(entry, at=there.at, step=there.step)
        return [*entries[: place + 1], moved, *entries[place + 1 :]]

    return change


def insert(behind: tuple[type[Event], Mapping[str, object]], *events: Event) -> Change:
    def change(entries: list[Entry]) -> list[Entry]:
        place = where(entries, behind[0], **behind[1])
        there = entries[place]
        new = [attrs.evolve(there, event=event) for event in events]
        return [*entries[: place + 1], *new, *entries[place + 1 :]]

    return change


def late(kind: type[Event], seconds: float, **fields: object) -> Change:
    """Everything from an event on happens later."""

    def change(entries: list[Entry]) -> list[Entry]:
        place = where(entries, kind, **fields)
        later = [
            attrs.evolve(entry, at=entry.at + seconds) for entry in entries[place:]
        ]
        return [*entries[:place], *later]

    return change


ALONE, PAIR = {"path": "app/alone"}, {"path": "app/pair"}
LEFT, RIGHT = {"path": "app/pair/left"}, {"path": "app/pair/right"}
END = (Ended, {"path": "app"})

BROKEN: list[tuple[str, Change, str]] = [
    ("I1", drop(Answered, number=3), "has 0 outcomes"),
    ("I1", twice(Answered, number=3), "has 2 outcomes"),
    ("I1", alter(Answered, {"number": 3}, at=50.0), "ended after 49.5 s"),
    ("I1", alter(Answered, {"number": 3}, outcome="ActorGone"), "a handler has begun"),
    ("I1", alter(Answered, {"number": 3}, outcome="AskTimeout"), "a handler has begun"),
    ("I1", alter(Answered, {"number": 3}, outcome="ActorCrashed"), "handler was done"),
    ("I1", alter(Answered, {"number": 3}, outcome="Rejected"), "its handler in done"),
    ("I1", alter(Answered, {"number": 4}, outcome="reply"), "its handler in raised"),
    (
        "I1",
        alter(Answered, {"number": 4}, outcome="AskTimeout", started=True, at=9.0),
        "nobody told the asker",
    ),
    ("I1", alter(Answered, {"number": 4}, at=9.0), "was told at 9 s of a crash"),
    ("I1", drop(Entered, number=3), "no handler has begun"),
    ("I7", twice(Entered, number=1), "was handled 2 times"),
    ("I7", move((Left, {"number": 2}), Entered, number=1), "which was sent later"),
    ("I10", alter(Idle, ALONE, waiting=1), "1 messages wait for it"),
    ("I11", alter(Sent, {"number": 2}, waiting=4), "has room for 3"),
    ("I15", alter(Ended, {}, outcome="KeyError"), "KeyError escaped"),
    ("I15", alter(Ended, {}, outcome="cancelled"), "nobody did that"),
    ("I15", alter(Ended, {}, outcome="Interrupted"), "no fault did that"),
    ("I15", alter(Ended, {}, outcome="SystemFailed"), "nothing in it had"),
    ("I15", insert((Idle, ALONE), Escalated("app", "alone", ())), "the root gave up"),
    (
        "I15",
        alter(Left, {"number": 4}, ending="interrupted"),
        "an interrupt was swallowed",
    ),
    (
        "I16",
        insert(
            (Idle, RIGHT),
            *(Entered("app/alone", 2, "handle", 9 + n, None) for n in range(65)),
        ),
        "began 65 messages within step",
    ),
    ("I2", drop(Cleaned, **RIGHT, incarnation=3), "app/pair/right#3 has never ended"),
    (
        "I6",
        move((Entered, {"number": 4}), Made, **ALONE, incarnation=2),
        "not of its life",
    ),
    ("I5", twice(Entered, **ALONE, point="stopping"), "was called 2 times"),
    ("I5", alter(Cleaned, ALONE, done=[]), "does not tell of stopping()"),
    ("I5", alter(Cleaned, ALONE, abandoned=["stopping"]), "was cut off after 0 s"),
    ("I13", late(Cleaned, 5, **RIGHT, incarnation=3), "took 5 s, and has 2 s"),
    (
        "I9",
        insert((Leaving, PAIR), Made("app/pair/left", 9)),
        "its supervisor was leaving",
    ),
    (
        "I3",
        insert(
            (BackingOff, ALONE), *[BackingOff("app/alone", Exit("failed"), 1, 0)] * 2
        ),
        "restarted 3 times within 0 s",
    ),
    ("I12", alter(BackingOff, ALONE, delay=99.0), "waits for 99 s, and may for 1 s"),
    ("I12", alter(BackingOff, ALONE, delay=0.0), "was to wait 0 s, and took"),
    ("I12", late(Made, 3, **ALONE, incarnation=2), "was to wait"),
    ("I8", late(Leaving, 3, **PAIR), "nobody was at work"),
    ("M-order", drop(Started, **LEFT), "starts before app/pair/left is up"),
    (
        "M-order",
        move((Leaving, PAIR), Entered, **LEFT, point="stopping", incarnation=2),
        "is stopped while app/pair/right is not down",
    ),
    (
        "M-facts",
        insert((Made, PAIR), Decided("app", ChildStarted("pair"), (), 0.0)),
        "app/pair#1 is not up",
    ),
    (
        "M-facts",
        insert(
            (Idle, ALONE), Decided("app", ChildExited("alone", failed=True), (), 0.0)
        ),
        "app/alone#2 is alive",
    ),
    (
        "M-decisions",
        insert(
            (Idle, ALONE),
            Decided("app", ChildStarted("alone"), (Start("alone", 1),), 0.0),
        ),
        "M6: alone is started while it is up",
    ),
    ("M-wanted", alter(Idle, ALONE, state="stopped"), "permanent and down"),
    (
        "M-escalation",
        insert((Idle, ALONE), Escalated("app/pair", "left", ())),
        "goes on",
    ),
]


@pytest.mark.parametrize(("rule", "change", "what"), BROKEN)
def test_a_run_that_was_doctored_breaks_the_rule(
    rule: str, change: Change, what: str
) -> None:
    run = doctored(change)
    violations = Oracle().rules[rule].violations(run)
    assert any(what in violation for violation in violations), violations


def test_the_good_run_has_all_that_is_doctored_and_breaks_none() -> None:
    kinds = {type(entry.event) for entry in good().entries}
    assert {Made, Failed, Stopped, BackingOff, Idle, Leaving} <= kinds
    Oracle().judge(good())


def test_every_rule_was_broken_once() -> None:
    assert {rule for rule, _, _ in BROKEN} | {"I14"} == {*Oracle().rules}


def test_a_run_without_an_end_breaks_its_rule() -> None:
    run = doctored(lambda entries: entries)
    run.hung = Deadlock("nobody will ever run again", cast("Trace", []), (), FIFO)
    assert Oracle().rules["I14"].violations(run)


def test_a_stop_that_takes_longer_than_all_budgets_breaks_its_rule() -> None:
    run = doctored(late(Ended, 99))
    assert any("may take" in text for text in Oracle().rules["I8"].violations(run))


def test_a_scenario_may_stop_the_system_early() -> None:
    run = run_scenario(Scenario([StopAt(1), TellAt(2, "app/alone", Note())]), TREE)
    assert run.of(Ended)[0].at == 1
    assert not run.of(Idle)


def test_a_failure_counts_from_when_it_happened_not_from_when_it_was_noticed() -> None:
    # Between the two the clock jumps, so that the first has left the window in time.
    tell = TellAt(0, "app/one", Add(1))
    scenario = Scenario(
        [tell, JumpAt(0, 5), tell],
        [
            Fault("app/one", "handle", 1, "crash", 2),
            Fault("app/one", "start", 2, "crash", 2),
        ],
    )
    run = run_scenario(scenario, Tree(lambda: [Child("one", Counter)]))
    assert len(run.lives["app/one"]) == 5
