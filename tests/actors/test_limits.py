"""Time limits apply to what they were set for, and to nothing after it."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from actors import Actor, ActorCrashed, Ask, Ref, Tell, open_actor
from actors.events import Cleaned, Event
from supervision import Child, System


@attrs.frozen
class LookUp(Ask["Cached", int]):
    pass


class Cached(Actor):
    """Answers at once, within an operation."""

    @LookUp.handled
    async def look_up(self, m: LookUp) -> int:
        async with self.ctx.operation("look up"):
            return 1


async def test_an_operation_that_never_waited_leaves_no_limit_behind() -> None:
    async with open_actor(Cached, handler_timeout=5) as cached:
        await cached.ask(LookUp())
        await trio.sleep(100)
        assert cached.gone is None


async def test_a_timeout_that_is_no_number_is_refused_and_harms_nobody() -> None:
    async with open_actor(Cached) as cached:
        with pytest.raises(ValueError, match="nan"):
            await cached.ask(LookUp(), timeout=math.nan)
        assert await cached.ask(LookUp(), timeout=2) == 1


async def test_a_step_cut_off_in_a_nursery_costs_no_other_its_turn(
    events: list[Event],
) -> None:
    done: list[str] = []

    class Messy(Actor):
        async def started(self) -> None:
            self.ctx.cleanup("last", self._last)
            self.ctx.cleanup("messy", self._messy)

        async def _last(self) -> None:
            done.append("last")

        async def _messy(self) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("messy")

    async with open_actor(Messy, cleanup=1, on_event=[events.append]):
        pass
    assert done == ["last"]
    (cleaned,) = [event for event in events if isinstance(event, Cleaned)]
    assert [name for name, _ in cleaned.failed] == ["messy"]


# -- of handlers --------------------------------------------------------------------


@attrs.frozen
class Step(Ask["Stepper", float]):
    """Be busy for some time in one step, and wait for some time then."""

    busy: float
    wait: float = 0


@attrs.frozen
class Before(Tell["Stepper"]):
    """The same, for nobody."""

    busy: float
    wait: float = 0


class Stepper(Actor):
    @Before.handled
    async def before(self, m: Before) -> None:
        await self.step(Step(m.busy, m.wait))

    @Step.handled
    async def step(self, m: Step) -> float:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(m.busy)
        if m.wait:
            await trio.sleep(m.wait)
        return trio.current_time()


async def end_of(stepper: Ref[Stepper], message: Step) -> tuple[str, float]:
    """How and when that ended."""
    try:
        await stepper.ask(message)
    except ActorCrashed as error:
        return type(error.__cause__).__name__, trio.current_time()
    return "done", trio.current_time()


@pytest.mark.parametrize("before", [Before(3), Before(0, 3), Before(2, 1)])
@pytest.mark.parametrize("busy", [0, 1, 4.5])
async def test_a_limit_counts_from_the_begin_of_its_own_handler(
    before: Before, busy: float
) -> None:
    stepper = Child("stepper", Stepper, handler_timeout=5)
    async with System(stepper) as system:
        ref = system.ref(stepper)
        ref.tell(before)
        assert await end_of(ref, Step(busy, 100)) == ("HandlerTimeout", 3 + 5)


async def test_of_handlers_within_their_limits_none_is_cut_off() -> None:
    async with open_actor(Stepper, handler_timeout=5) as stepper:
        for n in range(1, 10):
            assert await stepper.ask(Step(2, 2.9)) == pytest.approx(4.9 * n)


async def test_a_handler_that_does_not_wait_has_no_limit() -> None:
    async with open_actor(Stepper, handler_timeout=5) as stepper:
        assert await stepper.ask(Step(100)) == 100
        await trio.sleep(100)
        assert await stepper.ask(Step(0, 4.9)) == pytest.approx(204.9)


async def test_a_handler_that_waits_when_its_limit_is_over_is_cut_off_at_once() -> None:
    stepper = Child("stepper", Stepper, handler_timeout=5)
    async with System(stepper) as system:
        assert await end_of(system.ref(stepper), Step(7, 1)) == ("HandlerTimeout", 7)


async def test_without_a_limit_a_handler_takes_as_long_as_it_likes() -> None:
    async with open_actor(Stepper, handler_timeout=None) as stepper:
        assert await stepper.ask(Step(1, 1e6)) == 1 + 1e6
