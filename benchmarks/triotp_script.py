"""What triotp costs, measured by an interpreter that has it; see `benchmarks.peers`.

Prints CPU seconds per operation as JSON, round by round, and next to them those of a
bare memory channel. It imports nothing of the project: that environment may be
one of its own, with another trio.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

import trio
import trio.testing
from triotp import application, gen_server, node

ROUNDS = 15


async def start(_argument: object) -> None:
    """Be the application: measure, print, end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gen_server.start, sys.modules[__name__], None, "echo")
        await trio.testing.wait_all_tasks_blocked()
        spent: dict[str, list[float]] = {"channel": [], "tell": [], "ask": []}
        for _ in range(ROUNDS):
            spent["channel"].append(await cpu(channel, 4_000))
            spent["tell"].append(await cpu(tell, 1_000))
            spent["ask"].append(await cpu(ask, 500))
        nursery.cancel_scope.cancel()
    print(json.dumps(spent))


async def cpu(operate: Callable[[int], Awaitable[object]], operations: int) -> float:
    """CPU seconds per operation, as the project's own harness takes them."""
    await operate(operations // 10)
    gc.collect()
    gc.disable()
    begin = time.process_time()
    await operate(operations)
    spent = time.process_time() - begin
    gc.enable()
    return spent / operations


async def tell(n: int) -> None:
    for _ in range(n):
        await gen_server.cast("echo", 1)
    await gen_server.call("echo", 1)


async def ask(n: int) -> None:
    for _ in range(n):
        await gen_server.call("echo", 1)


async def channel(n: int) -> None:
    sender, receiver = trio.open_memory_channel[int](64)

    async def handle(message: int) -> None:
        pass

    async def serve() -> None:
        async for message in receiver:
            await handle(message)

    async with trio.open_nursery() as nursery, sender:
        nursery.start_soon(serve)
        for _ in range(n):
            await sender.send(1)


# -- the callbacks of the server, which triotp wants to find in a module --------------


async def init(_argument: object) -> None:
    pass


async def handle_call(
    message: object, _caller: object, state: object
) -> tuple[object, object]:
    return gen_server.Reply(payload=message), state


async def handle_cast(_message: object, state: object) -> tuple[object, object]:
    return gen_server.NoReply(), state


if __name__ == "__main__":
    me = sys.modules[__name__]
    node.run(apps=[application.app_spec(module=me, start_arg=None, permanent=False)])
