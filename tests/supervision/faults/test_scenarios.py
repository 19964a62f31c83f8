"""A user's tree under faults, as a user writes it; and what cannot be meant."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given, strategies as st

from actors import Actor, Ask, Tell
from actors.testing import FIFO, OneAtATime, Tape
from supervision import Child, Supervisor
from supervision.events import Stuck
from supervision.testing import (
    AskAt,
    Cut,
    Fault,
    InvariantBroken,
    Oracle,
    RequestAt,
    RuleFailed,
    Run,
    Scenario,
    TellAt,
    Tree,
    TreeDoesNotStart,
    WrongTree,
    crash_loop,
    from_json,
    run_scenario,
    scenarios,
    simplify,
    to_json,
)
from supervision.testing.faults import Kind


@attrs.frozen
class Increment(Tell["Counter"]):
    by: int


@attrs.frozen
class GetCount(Ask["Counter", int]):
    pass


class Counter(Actor):
    def __init__(self) -> None:
        self.count = 0

    @Increment.handled
    def increment(self, m: Increment) -> None:
        self.count += m.by

    @GetCount.handled
    async def get(self, m: GetCount) -> int:
        await trio.sleep(0.1)
        return self.count


def children() -> list[Child[Counter] | Child[Supervisor]]:
    pair = [Child("left", Counter, mailbox=4), Child("right", Counter, mailbox=4)]
    return [
        Child("counter", Counter, mailbox=4),
        Child("pair", lambda: Supervisor(*pair, strategy="one_for_all")),
    ]


PATHS = ("app/counter", "app/pair/left", "app/pair/right")
TREE = Tree(children, messages={path: [Increment(1), GetCount()] for path in PATHS})


@given(scenarios(TREE))
def test_a_tree_survives_whatever_happens(scenario: Scenario) -> None:
    run_scenario(scenario, TREE)


LOSSY = Tree(
    children,
    messages={path: st.builds(Increment, st.integers(0, 9)) for path in PATHS},
    unreliable=["app/counter"],
)


@given(scenarios(LOSSY))
def test_messages_may_be_drawn_and_lost_doubled_and_late(scenario: Scenario) -> None:
    run_scenario(scenario, LOSSY)
    assert from_json(to_json(scenario, LOSSY), LOSSY) == scenario


@pytest.mark.parametrize(
    ("kind", "handled"), [("drop", []), ("duplicate", [1.0, 1.0]), ("delay", [2.0])]
)
def test_what_is_unreliable_loses_doubles_and_delays(
    kind: Kind, handled: list[float]
) -> None:
    fault = Fault("app/counter", "deliver", 1, kind)
    script = [TellAt(1, "app/counter", Increment(1))]
    run = run_scenario(Scenario(script, [fault]), LOSSY)
    assert [each.entered.at for each in run.sendings[1].handled] == handled


@given(scenarios(TREE))
def test_a_scenario_is_the_same_after_a_round_trip_through_json(
    scenario: Scenario,
) -> None:
    assert from_json(to_json(scenario, TREE), TREE) == scenario


def test_the_same_scenario_leads_to_the_same_run() -> None:
    loop = crash_loop("app/pair/left")
    scenario = Scenario([AskAt(0, "app/pair/left", GetCount())], loop, seed=3)
    once, again = run_scenario(scenario, TREE), run_scenario(scenario, TREE)
    assert once.trace.digest() == again.trace.digest()


def test_the_shape_of_a_tree_is_that_of_its_actors_and_policies() -> None:
    same = Tree(children, messages=TREE.messages)
    assert same.shape == TREE.shape
    other = Tree(children, messages=TREE.messages, strategy="one_for_all")
    assert other.shape != TREE.shape


def test_a_scenario_for_another_tree_is_refused() -> None:
    other = Tree(children, messages=TREE.messages, strategy="one_for_all")
    with pytest.raises(WrongTree, match="made for a tree of shape"):
        run_scenario(Scenario(shape=TREE.shape), other)
    with pytest.raises(WrongTree, match="made for a tree of shape"):
        from_json(to_json(Scenario(), TREE), other)


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(faults=[Fault("app/nobody", "start", 1, "crash")]),
        Scenario([TellAt(0, "app/nobody", Increment(1))]),
        Scenario([RequestAt(0, "app/nobody", "stop")]),
    ],
)
def test_a_scenario_that_names_somebody_unknown_is_refused(scenario: Scenario) -> None:
    with pytest.raises(WrongTree, match=r"there is no 'app/nobody'.*app/pair/right"):
        run_scenario(scenario, TREE)


def test_a_fault_where_none_can_strike_is_refused() -> None:
    with pytest.raises(WrongTree, match="is a supervisor: strike its children"):
        run_scenario(Scenario(faults=[Fault("app/pair", "handle", 1, "crash")]), TREE)
    lost = Fault("app/counter", "deliver", 1, "drop")
    with pytest.raises(WrongTree, match="never lost, doubled or late; declare it"):
        run_scenario(Scenario(faults=[lost]), TREE)


def test_messages_for_somebody_unknown_are_refused() -> None:
    tree = Tree(children, messages={"app/nobody": [GetCount()]})
    with pytest.raises(ValueError, match="no 'app/nobody' in the tree"):
        run_scenario(Scenario(), tree)


def test_a_tree_that_does_not_even_start_says_so() -> None:
    def broken() -> Counter:
        raise OSError("no disk")

    with pytest.raises(TreeDoesNotStart, match="even without a fault"):
        run_scenario(Scenario(), Tree(lambda: [Child("broken", broken)]))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Fault("a", "start", 0, "crash"), "counted from 1"),
        (
            lambda: Fault("a", "nowhere", 1, "crash"),  # type: ignore[arg-type]
            "point must be one of start",
        ),
        (
            lambda: Fault("a", "start", 1, "explode"),  # type: ignore[arg-type]
            "kind must be one of crash",
        ),
        (lambda: Fault("a", "start", 1, "drop"), "happen at 'deliver'"),
        (lambda: Fault("a", "start", 1, "slow", seconds=-1), "not negative"),
        (lambda: TellAt(-1, "a", Increment(1)), "at must be finite"),
        (
            lambda: RequestAt(0, "a", "explode"),  # type: ignore[arg-type]
            "verb must be one of stop",
        ),
        (lambda: Cut(0, "cancel"), "from 1 up"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_made(
    make: object, why: str
) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=why):
        make()


class Deaf(Actor):
    """Cannot be ended, ever."""

    @Increment.handled
    async def increment(self, m: Increment) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


DEAF = Tree(lambda: [Child("deaf", Deaf)], messages={"app/deaf": [Increment(1)]})


def test_who_cannot_be_ended_is_found_out_before_much_time_is_lost() -> None:
    scenario = Scenario([TellAt(0, "app/deaf", Increment(1))], schedule=OneAtATime(1))
    with pytest.raises(
        InvariantBroken, match=r"I14: Livelock(.|\n)*app/deaf"
    ) as caught:
        run_scenario(scenario, DEAF)
    assert len(caught.value.run.of(Stuck)) < 200  # two a minute
    smaller = simplify(scenario, DEAF)
    assert smaller == attrs.evolve(scenario, schedule=FIFO)


def test_of_what_hangs_out_of_turn_the_turns_that_matter_are_left() -> None:
    oracle = Oracle(())

    @oracle.rule("out-of-turn")
    def out_of_turn(run: Run) -> list[str]:
        return ["it was"] if run.hung is not None and run.hung.schedule else []

    scenario = Scenario([TellAt(0, "app/deaf", Increment(1))], schedule=OneAtATime(1))
    schedule = simplify(scenario, DEAF, oracle=oracle).schedule
    assert isinstance(schedule, Tape)
    assert len(schedule.choices.replace(b"\0", b"")) == 1


def test_a_rule_of_ones_own_is_asked_too() -> None:
    oracle = Oracle()

    @oracle.rule("quiet")
    def quiet(run: Run) -> list[str]:
        return [f"{sending.event.path} was told" for sending in run.sendings.values()]

    run_scenario(Scenario(), TREE, oracle=oracle)
    with pytest.raises(AssertionError, match="quiet: app/counter was told"):
        run_scenario(
            Scenario([TellAt(0, "app/counter", Increment(1))]), TREE, oracle=oracle
        )
    with pytest.raises(ValueError, match="'quiet' already"):
        oracle.rule("quiet")


def test_a_rule_that_raises_has_not_judged() -> None:
    oracle = Oracle()

    @oracle.rule("broken")
    def broken(run: Run) -> list[str]:
        raise KeyError("oops")

    with pytest.raises(RuleFailed, match=r"rule 'broken'.*could not judge"):
        run_scenario(Scenario(), TREE, oracle=oracle)
