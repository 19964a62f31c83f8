"""Mailboxes and replies keep their promises under schedules that mean them ill."""

from __future__ import annotations

from hypothesis import given, settings
from senders import PLANS, Plan, Target, judge, play

from actors.testing import Schedule, World, schedules, simulate
from supervision import Backoff, Child, Intensity, System


def run(plan: Plan, schedule: Schedule) -> None:
    async def main(world: World) -> None:
        child = Child(
            "target",
            lambda: Target(world),
            mailbox=plan.capacity,
            overflow=plan.overflow,
        )
        system = System(
            child,
            backoff=Backoff(first=0.0),
            intensity=Intensity(restarts=20),
            on_event=[world.trace],
            random=world.random,
        )
        async with system:
            await play(world, system.ref(child), plan)
            picture = system.ref(child).snapshot()
            assert picture.mailbox == 0, "what was accepted was left lying"
            assert picture.senders_waiting == 0
            assert picture.peak <= plan.capacity

    judge(simulate(main, schedule=schedule, check=50).trace, plan)


@settings(max_examples=2 * settings().max_examples)  # of the profile
@given(PLANS, schedules(length=48))
def test_every_message_comes_to_one_end(plan: Plan, schedule: Schedule) -> None:
    run(plan, schedule)
