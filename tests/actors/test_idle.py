"""An actor with nothing to read waits outside its scope, and can be cancelled there."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Ask, open_actor


@attrs.frozen
class Linger(Ask["Worker", None]):
    """Take for ever; the asker may go."""

    abandon = "cancel"


class Worker(Actor):
    """Its ``run()`` fails when told to."""

    def __init__(self, fail: trio.Event) -> None:
        self.fail = fail

    async def run(self) -> None:
        await self.fail.wait()
        raise RuntimeError("run failed")

    @Linger.handled
    async def linger(self, m: Linger) -> None:
        await trio.sleep_forever()


async def test_an_actor_idle_after_an_abandoned_ask_fails_with_its_run() -> None:
    fail = trio.Event()
    with pytest.raises(RuntimeError, match="run failed"):
        async with open_actor(lambda: Worker(fail)) as ref:
            with trio.move_on_after(1):
                await ref.ask(Linger())
            await wait_all_tasks_blocked()
            fail.set()
            await trio.sleep_forever()
