"""Supervisors do as Erlang/OTP does; so do the planner alone, and the model of it.

`otp_cases` are what a real OTP did; otp/record.py recorded them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random
from typing import ClassVar, Literal

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from otp import record
from otp_model import OtpSupervisor, World
from planned import PlannedSupervisor
from played import Stage

from supervision.testing.otp import (
    Branch,
    Exits,
    How,
    Operation,
    OtpScenario,
    Worker,
    otp_cases,
)

Maker = type[OtpSupervisor] | type[PlannedSupervisor]
MAKERS: tuple[Maker, ...] = (OtpSupervisor, PlannedSupervisor)


@pytest.fixture(scope="module")
def cases() -> list[tuple[OtpScenario, list[str]]]:
    return [(case.scenario, [*case.steps]) for case in otp_cases()]


@pytest.mark.parametrize("make", MAKERS)
def test_every_recorded_case_goes_as_in_otp(
    make: Maker,
    cases: list[tuple[OtpScenario, list[str]]],
) -> None:
    for scenario, steps in cases:
        assert World(scenario, make).play() == steps, scenario


def test_the_recorded_cases_show_everything_there_is_to_see(
    cases: list[tuple[OtpScenario, list[str]]],
) -> None:
    assert len(cases) >= 500
    assert record.CASES.stat().st_size < 500_000
    happened = ["\n".join(steps) for _, steps in cases]
    marks = ("^root", "!", "|running", "|failed", "|not_found", "|down", "|invalid")
    for mark in marks:
        assert sum(mark in text for text in happened) >= 5, mark


class PatientSupervisor(OtpSupervisor):
    """As in OTP; but who waits behind a failed start has not ended."""

    behind: ClassVar[Literal["undefined", "restarting"]] = "restarting"


BEHIND = OtpScenario(
    Branch(
        "root",
        [
            Worker("a", "temporary", significant=True),
            Worker("b", fails=[2]),
            Worker("c", "transient", significant=True),
        ],
        "rest_for_one",
        "all_significant",
        intensity=2,
    ),
    [Exits("root", [("b", "boom"), ("a", "boom")])],
)
"""a ends while c waits until b, whose start has failed, is started again."""


def test_unlike_in_otp_a_child_that_waits_to_be_restarted_has_not_ended() -> None:
    start, otp = "+root +a +b +c|a b c root|", "-c !b||"
    assert World(BEHIND, OtpSupervisor).play() == [start, otp]
    ours = [start, "-c !b +b +c|b c root|", "-c -b||"]
    assert World(BEHIND, PatientSupervisor).play() == ours
    assert World(BEHIND, PlannedSupervisor).play() == ours


@given(st.randoms(use_true_random=False))
@settings(max_examples=500)
def test_the_planner_does_what_the_model_does(random: Random) -> None:
    pausing = random.random() < 0.2
    scenario = (record.pausing_scenario if pausing else record.scenario)(random)
    expected = World(scenario, PatientSupervisor).play()
    assert World(scenario, PlannedSupervisor).play() == expected


class OurSupervisor(PatientSupervisor):
    """As that; but a supervisor that gives up has failed, to its own as well."""

    gives_up: ClassVar[How] = "boom"


def one_at_a_time(operations: Sequence[Operation]) -> Iterator[Operation]:
    """OTP handles the next exit when the restart for the last is over; we at once."""
    for operation in operations:
        if isinstance(operation, Exits):
            yield from (Exits(operation.supervisor, [e]) for e in operation.exits)
        else:
            yield operation


def test_a_real_system_goes_as_in_otp_wherever_the_two_are_meant_to_agree(
    cases: list[tuple[OtpScenario, list[str]]],
) -> None:
    compared = 0
    for scenario, steps in cases:
        if (
            len(list(one_at_a_time(scenario.operations))) == len(scenario.operations)
            and World(scenario, OurSupervisor).play() == steps
        ):
            compared += 1
            assert Stage(scenario).play() == steps, scenario
    assert compared >= 500


@given(st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_a_real_system_does_what_the_model_does(random: Random) -> None:
    pausing = random.random() < 0.2
    drawn = (record.pausing_scenario if pausing else record.scenario)(random)
    operations = tuple(one_at_a_time(drawn.operations))
    scenario = attrs.evolve(drawn, operations=operations)
    assert Stage(scenario).play() == World(scenario, OurSupervisor).play()


@pytest.mark.real
def test_two_thousand_new_cases_go_as_in_otp() -> None:
    if reason := record.missing():
        pytest.skip(reason)
    seed = Random().getrandbits(32)
    random = Random(seed)
    scenarios = [BEHIND, *(record.scenario(random) for _ in range(2000))]
    for scenario, otp in zip(scenarios, record.ask_otp(scenarios), strict=True):
        model, patient, planner = (
            World(scenario, make).play()
            for make in (OtpSupervisor, PatientSupervisor, PlannedSupervisor)
        )
        assert (otp, planner) == (model, patient), (
            f"seed {seed}\n"
            + differences(
                scenario, OTP=otp, model=model, patient=patient, planner=planner
            )
            + f"\n{scenario}"
        )


def differences(scenario: OtpScenario, **steps_of: list[str]) -> str:
    """Say in which steps they differ, and what happened in each then."""
    whats = ("start", *scenario.operations, "stop")
    lines: list[str] = []
    for n, row in enumerate(zip_longest(*steps_of.values(), fillvalue="(over)")):
        if len(set(row)) > 1:
            lines.append(f"step {n}, {whats[n]}")
            lines += [
                f"  {who:8} {step}" for who, step in zip(steps_of, row, strict=True)
            ]
    return "\n".join(lines)
