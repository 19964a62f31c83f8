"""Seeing a failure again, without Hypothesis."""

from __future__ import annotations

from supervision.testing.history import Run
from supervision.testing.oracle import Oracle, usual
from supervision.testing.running import play, run_scenario
from supervision.testing.scenario import Scenario, check_scenario
from supervision.testing.smaller import smallest
from supervision.testing.tokens import read_token
from supervision.testing.trees import Tree


def replay(token: str, tree: Tree, *, oracle: Oracle | None = None) -> Run:
    """Play the scenario of a token once more: what it led to, it leads to again.

    Args:
        token: of the failure's report.
        tree: as it was found with.
        oracle: the same.

    Raises:
        InvariantBroken: as it did then.
        RuleFailed: a rule could not judge.
        WrongToken: it is none, or one of another version of this package.
        WrongTree: it was found with another tree.
    """
    return run_scenario(read_token(token, tree), tree, oracle=oracle)


def simplify(
    scenario: Scenario, tree: Tree, *, oracle: Oracle | None = None
) -> Scenario:
    """Leave out of a scenario what it does not need to break the same rule.

    For what was found without Hypothesis, which shrinks by itself. It plays it about a
    hundred times at the most.

    Raises:
        RuleFailed: a rule could not judge.
        ValueError: it breaks no rule.
        WrongTree: it was made for another tree.
    """
    check_scenario(scenario, tree)
    rules = usual(oracle)
    broken = rules.verdict(play(scenario, tree))
    if broken is None:
        raise ValueError(f"{scenario} breaks no rule, so nothing of it is needed")
    smaller = smallest(broken, lambda again: rules.verdict(play(again, tree)))
    return smaller.run.scenario
