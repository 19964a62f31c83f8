"""A rate limiter: callers wait for their turn, first come first served."""

from __future__ import annotations

import math

import attrs
import trio

from actors import Actor, Ask, AskTimeout, Ref, open_actor


@attrs.frozen
class Acquire(Ask["RateLimiter", None]):
    """Answered when the caller may go ahead."""

    abandon = "cancel"  # whoever gives up while waiting takes no turn


class RateLimiter(Actor):
    def __init__(self, per_second: float) -> None:
        self.interval = 1 / per_second
        self.next_turn = -math.inf

    @Acquire.handled
    async def acquire(self, m: Acquire) -> None:
        # Others queue in the mailbox meanwhile: one message is handled at a time.
        await trio.sleep_until(self.next_turn)
        self.next_turn = trio.current_time() + self.interval


async def call(limiter: Ref[RateLimiter], begin: float) -> None:
    try:
        await limiter.ask(Acquire(), timeout=0.25)
    except AskTimeout:
        outcome = "gives up"
    else:
        outcome = "goes ahead"
    print(f"{trio.current_time() - begin:.2f} s: a caller {outcome}")


async def main() -> None:
    async with open_actor(lambda: RateLimiter(per_second=10)) as limiter:
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call, limiter, begin)
        await call(limiter, begin)


if __name__ == "__main__":
    trio.run(main)
