"""Time limits apply to what they were set for, and to nothing after it."""

from __future__ import annotations

import math

import attrs
import pytest
import trio

from actors import Actor, Ask, open_actor
from actors.events import Cleaned, Event


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
