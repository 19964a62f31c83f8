"""Supervisors do as Erlang/OTP does; so do the planner alone, and the model of it.

`cases.json` holds what a real OTP did; otp/record.py made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from random import Random
from typing import ClassVar

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from otp import record
from otp_model import (
    Exits,
    How,
    Operation,
    OtpSupervisor,
    Scenario,
    World,
    from_json,
)
from planned import PlannedSupervisor
from played import Stage

Maker = type[OtpSupervisor] | type[PlannedSupervisor]
MAKERS: tuple[Maker, ...] = (OtpSupervisor, PlannedSupervisor)


@pytest.fixture(scope="module")
def cases() -> list[tuple[Scenario, list[str]]]:
    recorded = json.loads(record.CASES.read_text())
    return [(from_json(scenario), steps) for scenario, steps in recorded]


@pytest.mark.parametrize("make", MAKERS)
def test_every_recorded_case_goes_as_in_otp(
    make: Maker,
    cases: list[tuple[Scenario, list[str]]],
) -> None:
    for scenario, steps in cases:
        assert World(scenario, make).play() == steps, scenario


def test_the_recorded_cases_show_everything_there_is_to_see(
    cases: list[tuple[Scenario, list[str]]],
) -> None:
    assert len(cases) >= 500
    assert record.CASES.stat().st_size < 500_000
    happened = ["\n".join(steps) for _, steps in cases]
    marks = ("^root", "!", "|running", "|failed", "|not_found", "|down", "|invalid")
    for mark in marks:
        assert sum(mark in text for text in happened) >= 5, mark


@given(st.randoms(use_true_random=False))
@settings(max_examples=500)
def test_the_planner_does_what_the_model_does(random: Random) -> None:
    pausing = random.random() < 0.2
    scenario = (record.pausing_scenario if pausing else record.scenario)(random)
    expected = World(scenario, OtpSupervisor).play()
    assert World(scenario, PlannedSupervisor).play() == expected


class OurSupervisor(OtpSupervisor):
    """As in OTP; but a supervisor that gives up has failed, to its own as well."""

    gives_up: ClassVar[How] = "boom"


def one_at_a_time(operations: Sequence[Operation]) -> Iterator[Operation]:
    """OTP handles the next exit when the restart for the last is over; we at once."""
    for operation in operations:
        if isinstance(operation, Exits):
            yield from (Exits(operation.supervisor, [e]) for e in operation.exits)
        else:
            yield operation


def test_a_real_system_goes_as_in_otp_wherever_the_two_are_meant_to_agree(
    cases: list[tuple[Scenario, list[str]]],
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
    scenarios = [record.scenario(random) for _ in range(2000)]
    for scenario, otp in zip(scenarios, record.ask_otp(scenarios), strict=True):
        model, planner = (World(scenario, make).play() for make in MAKERS)
        assert otp == model == planner, (
            f"seed {seed}\n{differences(scenario, otp, model, planner)}\n{scenario}"
        )


def differences(
    scenario: Scenario, otp: list[str], model: list[str], planner: list[str]
) -> str:
    """Say in which steps the three differ, and what happened in each then."""
    whats = ("start", *scenario.operations, "stop")
    rows = enumerate(zip_longest(otp, model, planner, fillvalue="(over before)"))
    return "\n".join(
        f"step {n}, {whats[n]}\n  OTP      {row[0]}\n  model    {row[1]}"
        f"\n  planner  {row[2]}"
        for n, row in rows
        if len(set(row)) > 1
    )
