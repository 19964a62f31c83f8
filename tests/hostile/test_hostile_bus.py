"""A subscription loses nothing that it does not count, however slow its reader is."""

from __future__ import annotations

import attrs
import trio
from hypothesis import given, settings, strategies as st

from actors._core.runtime import Runtime
from actors.events import Event
from actors.testing import Schedule, World, schedules, simulate


@attrs.frozen
class Said(Event):
    number: int


PACES = st.lists(st.sampled_from([-1, 0, 1, 2, 3]), max_size=12)
"""Rounds to let others run before the next event; -1: as many seconds."""


async def pause(pace: int) -> None:
    if pace < 0:
        await trio.sleep(-pace)
    for _ in range(pace):
        await trio.lowlevel.checkpoint()


@settings(max_examples=2 * settings().max_examples)  # of the profile
@given(PACES, PACES, st.integers(1, 3), st.booleans(), schedules(length=48))
def test_what_is_read_and_what_is_missed_is_all(
    said: list[int], read: list[int], capacity: int, impatient: bool, schedule: Schedule
) -> None:
    got: list[int] = []

    async def main(world: World) -> int:
        got.clear()
        runtime = Runtime()
        subscription = runtime.subscribe(Said, capacity=capacity)
        scope = trio.CancelScope()

        async def reader() -> None:
            paces = iter(read)
            with subscription:
                if impatient:  # it is cancelled, and comes again
                    with scope:
                        event = await anext(subscription, None)
                        got.extend([event.number] if event else [])
                async for event in subscription:
                    got.append(event.number)
                    await pause(next(paces, 0))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            async with trio.open_nursery() as services:
                await services.start(runtime.run)
                for number, pace in enumerate(said):
                    runtime.emit(Said("", number))
                    await pause(pace)
                    if pace == 1:
                        scope.cancel()
                services.cancel_scope.cancel()
        return subscription.missed

    missed = simulate(main, schedule=schedule).value
    assert got == sorted(set(got))
    assert len(got) + missed == len(said)
    assert not said or got[-1] == len(said) - 1, "the latest is never the one missed"
