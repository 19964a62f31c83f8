"""A pool keeps the promises of one actor, but for the order."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from senders import PLANS, Plan, Target, judge, play

from actors.testing import Schedule, World, schedules, simulate
from supervision import Backoff, Child, Intensity, System, pool_of
from supervision.pool import Route

ROUTES: st.SearchStrategy[Route] = st.sampled_from(
    ["idle", "round_robin", lambda m: m.number // 100]
)


@settings(max_examples=2 * settings().max_examples)  # of the profile
@given(PLANS, st.integers(1, 3), ROUTES, schedules(length=48))
def test_every_message_comes_to_one_end(
    plan: Plan, size: int, route: Route, schedule: Schedule
) -> None:
    async def main(world: World) -> None:
        worker = Child(
            "pool",
            lambda: Target(world),
            mailbox=plan.capacity,
            overflow=plan.overflow,
        )
        pool = pool_of(
            worker,
            size=size,
            route=route,
            backoff=Backoff(first=0.0),
            intensity=Intensity(restarts=20),
        )
        system = System(pool, on_event=[world.trace], random=world.random)
        async with system:
            # What no worker can take yet waits where it came from.
            await play(world, system.ref(pool), plan, in_hand=1)
            picture = system.ref(pool).snapshot()
            assert picture.mailbox == 0, "what was accepted was left lying"
            assert picture.senders_waiting == 0

    by_key = callable(route)
    trace = simulate(main, schedule=schedule, check=50).trace
    judge(trace, plan, in_order=by_key or size == 1)
