"""What is between a handler and trio passes on all that trio may do to it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, ActorCrashed, Ask, open_actor
from actors._core.watched import Watched


@attrs.frozen
class Wait(Ask["Odd", None]):
    pass


class NotOfTrio:
    """Such as a future of asyncio."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield "what trio does not know"


class Odd(Actor):
    @Wait.handled
    async def wait(self, m: Wait) -> None:
        await NotOfTrio()


async def test_a_handler_that_awaits_what_is_not_trios_is_told_so() -> None:
    with pytest.raises(TypeError, match="what trio does not know"):
        async with open_actor(Odd) as odd:
            with pytest.raises(ActorCrashed) as caught:
                await odd.ask(Wait())
            assert isinstance(caught.value.__cause__, TypeError)
            await trio.sleep_forever()


def test_a_handler_whose_run_is_given_up_is_closed() -> None:
    """As when the program that hosts the run as a guest ends without it."""
    log: list[str] = []

    async def handler() -> None:
        try:
            await NotOfTrio()
        finally:
            log.append("closed")

    async def task() -> None:
        await Watched(handler(), lambda: log.append("waits"))

    running = task()
    running.send(None)
    assert log == ["waits"]
    running.close()
    assert log == ["waits", "closed"]
