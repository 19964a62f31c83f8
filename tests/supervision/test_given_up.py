"""What shields itself is given up once, whoever notices first."""

from __future__ import annotations

import attrs
import trio

from actors import Actor, Tell
from actors.events import DeadLetter
from actors.testing import World, simulate
from supervision import Child, System, SystemFailed


@attrs.frozen
class Go(Tell["Shielded"]):
    pass


class Shielded(Actor):
    @Go.handled
    async def hang(self, m: Go) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)


def test_what_a_stuck_handler_has_in_hand_is_one_dead_letter() -> None:
    async def main(world: World) -> None:
        child = Child("child", Shielded, handler_timeout=1, cleanup=1, shutdown=1)
        system = System(child, on_event=[world.trace], shutdown=10)
        try:
            async with system:
                system.ref(child).tell(Go())
                await trio.sleep(3)  # it is frozen, and then found stuck as well
        except SystemFailed:
            pass

    letters = simulate(main).trace.events(DeadLetter)
    assert [(letter.message, letter.reason) for letter in letters] == [
        (Go(), "crashed")
    ]
