"""A counter that many tasks share: no lock, since one message is handled at a time."""

from __future__ import annotations

import attrs
import trio

from actors import Actor, Ask, Ref, Tell, open_actor


@attrs.frozen
class Add(Tell["Counter"]):
    n: int


@attrs.frozen
class GetTotal(Ask["Counter", int]):
    pass


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @Add.handled
    def add(self, m: Add) -> None:
        self.total += m.n

    @GetTotal.handled
    def get_total(self, m: GetTotal) -> int:
        return self.total


async def count(counter: Ref[Counter]) -> None:
    for _ in range(100):
        await counter.send(Add(1))  # waits while the mailbox is full


async def main() -> None:
    async with open_actor(Counter) as counter:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(count, counter)
        print("10 tasks counted to", await counter.ask(GetTotal(), timeout=1))


if __name__ == "__main__":
    trio.run(main)
