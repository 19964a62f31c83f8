"""Trees of all shapes under everything at once: no rule is broken."""

from __future__ import annotations

from faults.woods import opened, tree
from hypothesis import given, strategies as st

from supervision.testing import Scenario, Tree, run_scenario, scenarios

WOODS = [*map(tree, range(48)), opened()]
CASES = [st.tuples(st.just(tree), scenarios(tree)) for tree in WOODS]


@given(st.sampled_from(CASES).flatmap(lambda case: case))
def test_whatever_happens_no_rule_is_broken(case: tuple[Tree, Scenario]) -> None:
    run_scenario(case[1], case[0])
