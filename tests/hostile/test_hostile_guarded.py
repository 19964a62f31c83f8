"""A circuit breaker is never wedged, and nobody votes who has learnt nothing."""

from __future__ import annotations

import attrs
import trio
from hypothesis import example, given, settings, strategies as st
from senders import PLANS, Ended, Handled, Op, Plan, Question, Target, send

from actors.events import Event, Started
from actors.testing import FIFO, Schedule, Trace, World, schedules, simulate
from supervision import (
    Backoff,
    BreakerPolicy,
    Breakers,
    Child,
    GetBreakers,
    Intensity,
    System,
    guard,
)
from supervision.events import BreakerClosed, BreakerHalfOpen, BreakerOpened


@attrs.frozen
class Asked(Event):
    """Somebody is about to ask."""

    number: int


ASKS = PLANS.map(
    lambda plan: Plan(
        plan.capacity,
        "wait",
        tuple(
            tuple(Op("ask", o.work, o.pause, o.patience, o.gives_up) for o in ops)
            for ops in plan.senders
        ),
    )
)


QUICK = Op("ask", "quick", 0, None, gives_up=False)

LATER, MUCH_LATER = attrs.evolve(QUICK, pause=1), attrs.evolve(QUICK, pause=2)
SLOW = attrs.evolve(QUICK, work="slow")

WAITS_WHILE_IT_OPENS = Plan(
    1,
    "wait",
    (
        (QUICK, QUICK, MUCH_LATER),
        (QUICK, LATER, attrs.evolve(SLOW, patience=0.05), LATER),
        (QUICK, LATER, SLOW),
    ),
)
"""One asks before it opens, and is handled when a probe is under way."""


@example(WAITS_WHILE_IT_OPENS, 1, 1, FIFO)
@settings(max_examples=2 * settings().max_examples)  # of the profile
@given(ASKS, st.integers(1, 2), st.integers(1, 2), schedules(length=48))
def test_it_opens_and_closes_by_its_rule_and_never_wedges(
    plan: Plan, failures: int, probes: int, schedule: Schedule
) -> None:
    policy = BreakerPolicy(
        failures=failures,
        probes=probes,
        wait=Backoff(first=0.1, factor=1, cap=0.1),
        lease=1000,
    )

    async def main(world: World) -> None:
        breakers = Child("breakers", lambda: Breakers(lambda _key: policy))
        target = Child("target", lambda: Target(world), mailbox=plan.capacity)
        system = System(
            breakers,
            target,
            backoff=Backoff(first=0.0),
            intensity=Intensity(restarts=20),
            on_event=[world.trace],
            random=world.random,
        )
        async with system:
            ref = guard(system.ref(target), system.ref(breakers), "key")

            async def send_all(sender: int, ops: tuple[Op, ...]) -> None:
                for turn, op in enumerate(ops):
                    await trio.sleep(0.05 * op.pause)
                    world.trace(Asked(ref.path, 100 * sender + turn))
                    await send(world, ref, 100 * sender + turn, op)

            async with trio.open_nursery() as nursery:
                for sender, ops in enumerate(plan.senders):
                    nursery.start_soon(send_all, sender, ops)
            await trio.sleep(10)
            for number in range(probes + 1):
                assert await ref.ask(Question(9000 + number, "quick")) >= 9000
            status = (await system.ref(breakers).ask(GetBreakers()))["key"]
            assert (status.state, status.permits) == ("closed", 0)

    judge(simulate(main, schedule=schedule, check=50).trace, plan, probes)


def judge(trace: Trace, plan: Plan, probes: int) -> None:
    works = {op.work for ops in plan.senders for op in ops}
    may_fail = "crashes" in works or any(
        op.patience is not None and not op.gives_up
        for ops in plan.senders
        for op in ops
    )
    if not may_fail:
        assert not trace.events(BreakerOpened), "it opened, and nothing had failed"
    state, before, under_way = "closed", set[int](), set[int]()
    for entry in trace:
        match entry.event:
            case BreakerHalfOpen():
                state, under_way = "half_open", set()
            case BreakerOpened():
                state = "open"
            case BreakerClosed():
                state = "closed"
            case Asked(_, number) if state == "closed":
                before.add(number)  # it is no probe, however long it may have to wait
            case Handled(_, number):
                under_way.add(number)
                if state == "half_open":
                    assert len(under_way - before) <= probes, "too many probes"
            case Ended(_, number):
                under_way.discard(number)
            case Started("app/target"):
                under_way.clear()
            case _:
                pass
