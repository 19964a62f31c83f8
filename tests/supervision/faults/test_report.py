"""What a failure says: to whom it happened, in which order, and how to see it again."""

from __future__ import annotations

import itertools

import attrs
import pytest
import trio
import trio.lowlevel
from broken import CRASH, TREE, Add, Counter, GetCount, broken, crashes
from hypothesis import Phase, given, settings, strategies as st

from actors.testing import FIFO, OneAtATime, Tape
from supervision import Child
from supervision.testing import (
    AskAt,
    BurstAt,
    Cut,
    Fault,
    InvariantBroken,
    Run,
    Scenario,
    TellAt,
    Tree,
    chart,
    replay,
    run_scenario,
    scenarios,
    simplify,
)
from supervision.testing.charts import HEAD, LANES, TAIL, WIDTH
from supervision.testing.smaller import RUNS


def report_of(error: BaseException) -> str:
    (note,) = error.__notes__
    return note


# -- the report -----------------------------------------------------------------------


def test_it_tells_the_story_and_how_to_see_it_again() -> None:
    scenario = Scenario(
        [AskAt(2, "app/one", GetCount()), TellAt(1, "app/pair/left", Add(3))],
        [CRASH],
        cut=Cut(60, "stop"),
    )
    text = report_of(broken(scenario))
    told, drawn, again = text.strip().split("\n\n")
    assert told.splitlines() == [
        "scenario:",
        "  app (one_for_one): one, pair, pair/left, pair/right",
        "  t=1  tell app/pair/left Add(by=3)",
        "  t=2  ask app/one GetCount(), for 10 s at most",
        "  fault  app/pair/left: crash at handle 1",
        "  stopped before step 60 of the scheduler",
        "  who can run does, the oldest task first",
    ]
    assert "┌ 1 ⚡crash" in drawn
    assert again.startswith("replay:\n  pytest ")


def test_its_last_line_replays_it() -> None:
    error = broken(Scenario([TellAt(1, "app/pair/left", Add(3))], [CRASH]))
    line = report_of(error).splitlines()[-1].strip()
    names: dict[str, object] = {"replay": replay, "tree": TREE, "oracle": crashes()}
    call = line.removeprefix("supervision.testing.").replace(")", ", oracle=oracle)")
    with pytest.raises(InvariantBroken, match="left #1 has failed") as caught:
        eval(call, names)  # noqa: S307 - what a reader would do
    assert caught.value.run.trace.digest() == error.run.trace.digest()


def test_further_violations_are_told_but_not_hundreds() -> None:
    crash = attrs.evolve(CRASH, repeat=9)
    tells = [TellAt(n, "app/pair/left", Add(n)) for n in range(9)]
    text = report_of(broken(Scenario(tells, [crash])))
    also = text.split("\n\n")[0].strip().splitlines()
    assert also[:2] == ["also:", "  app/pair #2 has failed"]
    assert also[-1].startswith("  and ")


def test_who_waited_out_of_turn_is_told_by_name() -> None:
    scenario = Scenario(
        [TellAt(0, "app/pair/left", Add(1)), TellAt(0, "app/one", Add(1))],
        [CRASH],
        Tape(bytes([0, 1, 2, 1])),
    )
    text = report_of(broken(scenario))
    assert "out of turn:\n  at step 1" in text
    assert "the oldest task first" not in text


def test_a_message_that_cannot_be_written_down_is_no_reason_to_fail() -> None:
    scenario = Scenario([TellAt(0, "app/pair/left", Add(object()))], [CRASH])  # type: ignore[arg-type]
    text = report_of(broken(scenario))
    assert "it cannot be replayed by a token: Add" in text


def test_what_came_to_no_end_is_reported_up_to_where_it_hung() -> None:
    class Spinner(Counter):
        @GetCount.handled
        async def get(self, m: GetCount) -> int:
            for _ in itertools.count():
                await trio.lowlevel.checkpoint()
            return 0

    tree = Tree(lambda: [Child("spinner", Spinner)])
    with pytest.raises(InvariantBroken, match="I14") as caught:
        run_scenario(Scenario([AskAt(1, "app/spinner", GetCount())]), tree)
    assert "┌ 1" in report_of(caught.value)


@given(st.data())
@settings(max_examples=20, phases=[Phase.generate])
def test_it_is_never_wider_than_promised(data: st.DataObject) -> None:
    run = run_scenario(data.draw(scenarios(TREE)), TREE)
    lines = chart(run).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) <= HEAD + TAIL + 4


# -- the chart -------------------------------------------------------------------------


def test_it_draws_only_who_had_a_part_in_it() -> None:
    run = run_scenario(Scenario([TellAt(1, "app/one", Add(1))]), TREE)
    head, *lines = chart(run).splitlines()
    assert head.split() == ["t", "(s)", "app", "one"]
    assert lines[-2].strip() == "(3 more had no part in it)"


def test_of_many_it_draws_those_who_matter() -> None:
    many = Tree(lambda: [Child(f"c{n}", Counter) for n in range(20)])
    run = run_scenario(Scenario(), many)
    said = ["app/c7 is not what it should be"]
    head = chart(run, said).splitlines()[0].split()
    assert head[2:] == ["app", "c7"]
    assert len(chart(run).splitlines()[0].split()) == 2 + LANES


def test_a_burst_is_one_mark_and_a_long_story_is_folded() -> None:
    run = run_scenario(Scenario([BurstAt(0, "app/one", Add(1))]), TREE)
    assert "» 1-4 Add(by=1)" in chart(run)
    tells = [TellAt(n, "app/one", Add(1)) for n in range(100)]
    assert "lines are left out" in chart(run_scenario(Scenario(tells), TREE))


def test_waiting_takes_one_line() -> None:
    run = run_scenario(Scenario([TellAt(17, "app/one", Add(1))]), TREE)
    lines = [line.strip() for line in chart(run).splitlines()]
    assert [line for line in lines if "⋮" in line] == ["⋮  17 s", "⋮  60 s"]


# -- leaving out what is not needed ----------------------------------------------------


NOISE = (
    TellAt(0, "app/one", Add(1)),
    AskAt(1, "app/pair/right", GetCount()),
    BurstAt(2, "app/one", Add(2)),
)
SLOW = Fault("app/pair/right", "start", 1, "slow")


def test_what_a_scenario_does_not_need_is_left_out() -> None:
    needed = TellAt(1, "app/pair/left", Add(3))
    scenario = Scenario(
        [*NOISE, needed],
        [SLOW, attrs.evolve(CRASH, repeat=4), Fault("app", "stopping", 1, "slow")],
        Tape(bytes([3, 0, 7, 2] * 20)),
        Cut(300, "stop"),
        seed=7,
    )
    smaller = simplify(scenario, TREE, oracle=crashes())
    assert smaller == Scenario([needed], [CRASH])


def test_what_a_seed_has_drawn_becomes_a_tape_or_nothing() -> None:
    scenario = Scenario(
        [TellAt(1, "app/pair/left", Add(3))], [CRASH], OneAtATime(3), seed=7
    )
    assert simplify(scenario, TREE, oracle=crashes()).schedule == FIFO


def test_it_is_never_another_rule_that_is_broken_in_the_end() -> None:
    oracle = crashes(times=2)

    @oracle.rule("never-fails-at-all")
    def never_fails_at_all(run: Run) -> list[str]:
        return ["somebody has failed" for life in run.all_lives() if life.failed]

    twice = [TellAt(1, "app/pair/left", Add(n)) for n in (1, 2, 3)]
    scenario = Scenario(twice, [attrs.evolve(CRASH, repeat=3)])
    smaller = simplify(scenario, TREE, oracle=oracle)
    assert broken(smaller, oracle).rule == "never-fails"
    assert len(smaller.script) == 2


def test_it_takes_a_bounded_number_of_runs() -> None:
    played: list[Run] = []
    oracle = crashes()

    @oracle.rule("count")
    def count(run: Run) -> list[str]:
        played.append(run)
        return ["always"] if len(run.scenario.script) == 60 else []

    script = [TellAt(n, "app/one", Add(1)) for n in range(60)]
    scenario = Scenario(script, schedule=Tape(bytes([1] * 500)))
    simplify(scenario, TREE, oracle=oracle)
    assert len(played) <= RUNS + 1


def test_a_scenario_that_breaks_nothing_cannot_be_simplified() -> None:
    with pytest.raises(ValueError, match="breaks no rule"):
        simplify(Scenario(), TREE)


# -- with Hypothesis -------------------------------------------------------------------


def test_hypothesis_is_told_the_smallest_and_reports_are_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[Run] = []

    def count(run: Run, violations: list[str]) -> str:
        reported.append(run)
        return "the report"

    monkeypatch.setattr("supervision.testing.reports.report", count)
    crash = st.builds(lambda n: attrs.evolve(CRASH, repeat=n), st.integers(1, 3))
    plans = st.builds(
        Scenario,
        st.just([*NOISE, TellAt(1, "app/pair/left", Add(3))]),
        st.lists(crash, min_size=1, max_size=3),
    )

    @settings(max_examples=30, database=None)
    @given(plans)
    def fails(scenario: Scenario) -> None:
        run_scenario(scenario, TREE, oracle=crashes())

    with pytest.raises(InvariantBroken) as caught:
        fails()
    assert caught.value.__notes__[0] == "the report"
    (run,) = reported
    assert run.scenario == Scenario([TellAt(1, "app/pair/left", Add(3))], [CRASH])
