"""What cannot be meant gets an error that says so, and never a test that passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from broken import CRASH, TREE, Add, children
from hypothesis import given

from actors import Ask
from supervision.testing import (
    AskAt,
    BurstAt,
    Oracle,
    RuleFailed,
    Run,
    Scenario,
    TellAt,
    Tree,
    crash_loop,
    replay,
    run_scenario,
    scenarios,
    simplify,
    token,
)

ADD = Add(1)
PATH = "app/pair/left"


class GetTotal(Ask[Any, int]):
    """Nobody answers it: it is not sent."""


def wrong(value: object) -> Any:
    return cast("Any", value)


async def awaits(run: Run) -> list[str]:
    return []


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Tree(children, messages=wrong([ADD])), "what to send to whom"),
        (lambda: Tree(children, messages={PATH: wrong(ADD)}), "a list of messages"),
        (lambda: Tree(children, messages={PATH: wrong([Add])}), "got <class"),
        (lambda: Tree(children, messages={PATH: wrong("add")}), "got 'a'"),
        (lambda: TellAt(0, PATH, GetTotal()), "a question is for AskAt"),
        (lambda: BurstAt(0, PATH, wrong("add")), "'add' cannot be told"),
        (lambda: AskAt(0, PATH, ADD), "what is told is for TellAt"),
        (lambda: Scenario(wrong(["add"])), "a script is .* got 'add'"),
        (lambda: Scenario(wrong([CRASH])), "a script is .* got Fault"),
        (lambda: Scenario(faults=wrong([crash_loop(PATH)])), r"\*crash_loop"),
        (lambda: Scenario(cut=wrong(5)), "'cut' must be"),
        (lambda: Scenario(seed=wrong("5")), "'seed' must be"),
        (lambda: run_scenario(wrong(None), TREE), "a scenario is .* got None"),
        (lambda: run_scenario(wrong(TREE), wrong(Scenario())), "a scenario is"),
        (lambda: run_scenario(Scenario(), wrong(children)), "a tree is Tree"),
        (lambda: run_scenario(Scenario(), TREE, oracle=wrong([])), "an oracle is"),
        (lambda: simplify(wrong("x"), TREE), "a scenario is"),
        (lambda: scenarios(wrong(children)), "a tree is Tree"),
        (lambda: replay(wrong(None), TREE), "a token is a text"),
        (lambda: replay("1.x", wrong(children)), "a tree is Tree"),
        (lambda: Oracle(wrong([lambda run: []])), "a rule is Rule"),
        (lambda: Oracle().rule(wrong(lambda run: [])), "a rule has a name"),
        (lambda: Oracle().rule("mine")(wrong(awaits)), "make awaits a plain function"),
    ],
)
def test_what_is_something_else_is_refused(
    make: Callable[[], object], why: str
) -> None:
    with pytest.raises(TypeError, match=why):
        make()


def _raises(run: Run) -> list[str]:
    raise KeyError("pages")


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (_raises, r"_raises\) could not judge the run, as it raised KeyError"),
        (lambda run: None, "could not judge"),
        (lambda run: True, "could not judge"),
        (lambda run: "it was lost", "one text, not several"),
    ],
)
def test_a_rule_that_does_not_judge_lets_nothing_pass(
    check: Callable[[Run], Any], why: str
) -> None:
    oracle = Oracle()
    oracle.rule("mine")(check)
    with pytest.raises(RuleFailed, match=why):
        run_scenario(Scenario(), TREE, oracle=oracle)

    @given(scenarios(TREE))
    def play(scenario: Scenario) -> None:
        run_scenario(scenario, TREE, oracle=oracle)

    with pytest.raises(RuleFailed):
        play()


def test_of_a_tree_that_is_none_a_token_says_nothing() -> None:
    tree = Tree(children, messages={"app/nobody": [ADD]})
    with pytest.raises(ValueError, match="no 'app/nobody' in the tree"):
        replay(token(Scenario(), TREE), tree)
