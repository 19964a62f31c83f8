"""Three workers behind one ref, and a producer that is faster: it is made to wait."""

from __future__ import annotations

import attrs
import trio

from actors import Actor, Ask, Tell
from supervision import Child, System, pool_of


@attrs.frozen
class Resize(Tell["Resizer"]):
    picture: int


@attrs.frozen
class Flush(Ask["Resizer", None]):
    """Answered when all that was sent before has at least been begun."""


class Resizer(Actor):
    @Resize.handled
    async def resize(self, m: Resize) -> None:
        await trio.sleep(0.1 + m.picture / 200)  # the later ones are larger
        print(f"{self.ctx.me.path} has done {m.picture}")

    @Flush.handled
    def flush(self, m: Flush) -> None:
        pass


async def main() -> None:
    # Each worker has one picture in hand, and two more may wait for any of them.
    resizers = pool_of(Child("resizers", Resizer, mailbox=2), size=3)
    async with System(resizers) as system:
        pool, begin = system.ref(resizers), trio.current_time()
        for picture in range(8):
            await pool.send(Resize(picture))  # waits while there is no room
        print(f"accepted the last after {trio.current_time() - begin:.1f} s")
        await pool.ask(Flush(), timeout=5)
    # What a worker has in hand when the block is left is finished.


if __name__ == "__main__":
    trio.run(main)
