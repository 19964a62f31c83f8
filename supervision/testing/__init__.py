"""Whole trees under faults, in virtual time: scenarios as values, rules as an oracle.

    tree = Tree(lambda: [Child("counter", Counter)], messages={"app/counter": [Get()]})

    @given(scenarios(tree))
    def test_survives(scenario: Scenario) -> None:
        run_scenario(scenario, tree)

The layers, each importing only from those below it::

    strategies         what Hypothesis draws; nothing else imports it
    machine            its state machines with async steps
    replaying          a scenario from a token; a scenario made smaller
    running            `run_scenario`: one scenario, played and judged
    reports            what a failure says
    charts, marks      a run as a message sequence chart
    tokens             a scenario as one word
    smaller            leaving out what a scenario does not need
    rules, rules_*     the rules that come with the kit
    reference          what a supervisor may do: pure
    oracle             rules, and what they raise
    history            a finished run, and what rules want to know about it
    scenario           one story as a value, and as JSON
    trees              the tree under test
    planting           how faults get into a tree
    points             what the kit writes into the trace
    scripts, faults    what happens from outside, and from inside: frozen values
    otp                what a real Erlang/OTP did, as data

Nothing here needs pytest, and nothing but `strategies` and `machine` Hypothesis.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from supervision.testing.charts import chart
from supervision.testing.faults import (
    Fault,
    FaultPlan,
    Injected,
    Interrupted,
    crash_loop,
)
from supervision.testing.history import Life, Passage, Run, Sending
from supervision.testing.oracle import InvariantBroken, Oracle, Rule, RuleFailed
from supervision.testing.otp import OtpCase, OtpScenario, otp_cases
from supervision.testing.reference import ReferenceSupervisor
from supervision.testing.replaying import replay, simplify
from supervision.testing.reports import report
from supervision.testing.running import TreeDoesNotStart, run_scenario
from supervision.testing.scenario import Cut, Scenario, WrongTree, from_json, to_json
from supervision.testing.scripts import (
    AskAt,
    BurstAt,
    JumpAt,
    Op,
    RequestAt,
    Script,
    StopAt,
    TellAt,
)
from supervision.testing.tokens import WrongToken, token
from supervision.testing.trees import Node, Tree

if TYPE_CHECKING:
    from supervision.testing.machine import TrioStateMachine, awaited
    from supervision.testing.strategies import scenarios

__all__ = [
    "AskAt",
    "BurstAt",
    "Cut",
    "Fault",
    "FaultPlan",
    "Injected",
    "Interrupted",
    "InvariantBroken",
    "JumpAt",
    "Life",
    "Node",
    "Op",
    "Oracle",
    "OtpCase",
    "OtpScenario",
    "Passage",
    "ReferenceSupervisor",
    "RequestAt",
    "Rule",
    "RuleFailed",
    "Run",
    "Scenario",
    "Script",
    "Sending",
    "StopAt",
    "TellAt",
    "Tree",
    "TreeDoesNotStart",
    "TrioStateMachine",
    "WrongToken",
    "WrongTree",
    "awaited",
    "chart",
    "crash_loop",
    "from_json",
    "otp_cases",
    "replay",
    "report",
    "run_scenario",
    "scenarios",
    "simplify",
    "to_json",
    "token",
]

_BY_HYPOTHESIS = {
    "TrioStateMachine": "machine",
    "awaited": "machine",
    "scenarios": "strategies",
}

# Tracebacks, pickles and documentation name a class by where users import it from.
for _name in __all__:
    if _name not in _BY_HYPOTHESIS and isinstance(_value := globals()[_name], type):
        _value.__module__ = __name__


def __getattr__(name: str) -> object:
    if name in _BY_HYPOTHESIS:
        module = import_module(f"{__name__}.{_BY_HYPOTHESIS[name]}")
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
