"""What the kit has found in the runtime itself, as scenarios that go well now."""

from __future__ import annotations

import attrs
import trio
from faults.woods import BusyHand, End, Hand, Ping

from actors import Actor, Tell
from supervision import Backoff, Child, Intensity, Supervisor
from supervision.testing import (
    AskAt,
    Fault,
    JumpAt,
    RequestAt,
    Scenario,
    Script,
    StopAt,
    TellAt,
    Tree,
    run_scenario,
)

TREE = Tree(
    lambda: [
        Child("first", Hand),
        Child("pair", lambda: Supervisor(Child("left", Hand), Child("right", Hand))),
    ]
)


def test_an_interrupt_in_a_cleanup_ends_the_program_also_if_a_restart_was_due() -> None:
    inner = Child("inner", lambda: Supervisor(Child("hand", Hand)))
    outer = Child("outer", lambda: Supervisor(inner, Child("other", Hand)))
    interrupt = Fault("app/outer/inner", "stopping", 1, "base_exception")
    scenario = Scenario([RequestAt(0, "app/outer/inner", "restart")], [interrupt])
    run_scenario(scenario, Tree(lambda: [outer]))


def test_a_start_that_cannot_be_cancelled_starts_nobody_when_it_is_too_late() -> None:
    run_scenario(
        Scenario(faults=[Fault("app/pair", "start", 1, "shielded_hang")]), TREE
    )


def test_a_supervisor_may_fail_before_it_starts_its_children() -> None:
    run_scenario(Scenario(faults=[Fault("app/pair", "start", 1, "crash")]), TREE)


def test_who_was_too_slow_to_start_is_not_taken_for_its_successor() -> None:
    slow = Fault("app/first", "start", 1, "slow", 2, seconds=0.5)
    script: Script = (RequestAt(0, "app/first", "restart"), JumpAt(0.1, 45))
    run = run_scenario(Scenario(script, [slow]), TREE)
    assert len(run.lives["app/first"]) == 3


def test_all_is_not_looked_at_the_moment_when_somebody_stuck_has_ended() -> None:
    pair = Child(
        "pair",
        lambda: Supervisor(
            Child("left", Hand), Child("right", Hand), strategy="one_for_all"
        ),
    )
    faults = [
        Fault("app/pair/right", "handle", 1, "hang"),
        Fault("app/pair/left", "stopping", 1, "shielded_hang"),  # ends at 60 s
    ]
    script = [AskAt(0, "app/pair/right", Ping())]
    run_scenario(Scenario(script, faults), Tree(lambda: [pair]))


def test_who_is_stuck_may_finish_its_work_when_nobody_waits_any_more() -> None:
    hang = Fault("app/first", "handle", 1, "shielded_hang")
    script: Script = (AskAt(0, "app/first", Ping()), StopAt(0.1))
    run = run_scenario(Scenario(script, [hang]), TREE)
    assert run.sendings[1].handled[0].ending == "done"


def test_a_failure_at_the_very_end_of_the_window_is_no_matter_of_rounding() -> None:
    tree = Tree(
        lambda: [Child("hand", BusyHand)],
        intensity=Intensity(1, within=20),
        backoff=Backoff(0, 1, 0),
    )
    script = (TellAt(0, "app/hand", End()), TellAt(20, "app/hand", End()))
    run_scenario(Scenario(script), tree)


@attrs.frozen
class Note(Tell["Lingering"]):
    """Do nothing."""


class Lingering(Actor):
    """A task of its own takes a second to end."""

    async def started(self) -> None:
        await self.ctx.start(self.linger)

    async def linger(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)

    @Note.handled
    def note(self, m: Note) -> None:
        pass


def test_a_stop_may_take_the_time_that_tasks_of_an_actor_take() -> None:
    tree = Tree(
        lambda: [Child("lingering", Lingering)], messages={"app/lingering": [Note()]}
    )
    run_scenario(Scenario([TellAt(0, "app/lingering", Note())]), tree)
