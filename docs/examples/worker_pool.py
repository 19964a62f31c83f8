"""Three workers and a producer that is faster: it waits, and memory stays bounded."""

from __future__ import annotations

from itertools import cycle

import attrs
import trio

from actors import Actor, Ask, Tell
from supervision import Child, System


@attrs.frozen
class Resize(Tell["Worker"]):
    picture: int


@attrs.frozen
class Finish(Ask["Worker", int]):
    """Answered with the number of pictures done, after all that were sent before."""


class Worker(Actor):
    def __init__(self) -> None:
        self.done = 0

    @Resize.handled
    async def resize(self, m: Resize) -> None:
        await trio.sleep(0.1)
        self.done += 1

    @Finish.handled
    def finish(self, m: Finish) -> int:
        return self.done


async def main() -> None:
    # Each worker has one picture in hand, and room for one more.
    children = [Child(f"worker-{n}", Worker, mailbox=1) for n in range(3)]
    async with System(*children) as system:
        workers = [system.ref(child) for child in children]
        begin = trio.current_time()
        for picture, worker in zip(range(10), cycle(workers), strict=False):
            await worker.send(Resize(picture))
            print(f"{trio.current_time() - begin:.1f} s: picture {picture} accepted")
        done = [await worker.ask(Finish(), timeout=5) for worker in workers]
        print(f"{trio.current_time() - begin:.1f} s: done, by worker: {done}")


if __name__ == "__main__":
    trio.run(main)
