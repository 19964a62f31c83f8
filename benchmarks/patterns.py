"""Many senders, a ring, a fan-out: against what a trio user writes without us.

That is a task which reads a memory channel of 64 with ``async for`` and awaits its
handler. It has no answers, no limits, and nobody who notices when it dies.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import attrs
import trio

from actors import Actor, Tell
from benchmarks.finish import Finish
from benchmarks.harness import Case, Operate, cheaper, measure
from benchmarks.table import Row
from supervision import Child, System

MANY_TO_ONE = Row("100 senders -> 1", 2, 4)
RING = Row("ring of 100, 100 tokens", 2.6, 6)
FAN_OUT = Row("fan-out to 10,000", 1.3, 2.5)


@attrs.frozen
class Token(Tell["Node"]):
    left: int
    """How often it is still to be passed on."""


class Target(Protocol):
    """Where a token can be sent: a ref, or the sending end of a channel."""

    async def send(self, token: Token, /) -> None: ...


class Node:
    """What is done with a token, by actors and by plain tasks alike."""

    def __init__(self, finish: Finish) -> None:
        self.finish = finish
        self.next: Target | None = None

    async def handle(self, token: Token) -> None:
        """Pass it on, or count it."""
        if token.left and self.next is not None:
            await self.next.send(Token(token.left - 1))
        else:
            self.finish.one()


class NodeActor(Node, Actor):
    token = Token.handled(Node.handle)


Run = Callable[[Sequence[Node]], AbstractAsyncContextManager[Sequence[Target]]]
Make = Callable[[Finish], Node]


@asynccontextmanager
async def as_actors(nodes: Sequence[Node]) -> AsyncIterator[Sequence[Target]]:
    """Run each node as an actor of one system."""
    children = [Child(str(n), partial(_given, node)) for n, node in enumerate(nodes)]
    async with System(*children) as system:
        yield [system.ref(child) for child in children]


def _given(node: Node) -> Node:
    return node


@asynccontextmanager
async def as_tasks(nodes: Sequence[Node]) -> AsyncIterator[Sequence[Target]]:
    """Run each node as a task that reads a channel."""

    async def serve(node: Node, inbox: trio.MemoryReceiveChannel[Token]) -> None:
        async for token in inbox:
            await node.handle(token)

    targets: list[Target] = []
    async with trio.open_nursery() as nursery:
        for node in nodes:
            sender, receiver = trio.open_memory_channel[Token](64)
            nursery.start_soon(serve, node, receiver)  # noqa: ASYNC113 - the sender waits
            targets.append(sender)
        yield targets
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def many_to_one(make: Make, run: Run) -> AsyncIterator[Operate]:
    """100 tasks send to one node as fast as it lets them."""
    finish = Finish()

    async def operate(n: int) -> None:
        each, token = n // 100, Token(0)

        async def send() -> None:
            for _ in range(each):
                await target.send(token)

        finish.expect(100 * each)
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(send)
            await finish.wait()

    async with run([make(finish)]) as (target,):
        yield operate


@asynccontextmanager
async def ring(make: Make, run: Run) -> AsyncIterator[Operate]:
    """100 nodes pass 100 tokens round, until each has come far enough."""
    finish = Finish()
    nodes = [make(finish) for _ in range(100)]

    async def operate(n: int) -> None:
        finish.expect(100)
        for target in targets:
            await target.send(Token(n // 100 - 1))
        await finish.wait()

    async with run(nodes) as targets:
        for node, after in zip(nodes, [*targets[1:], targets[0]], strict=True):
            node.next = after
        yield operate


@asynccontextmanager
async def fan_out(make: Make, run: Run) -> AsyncIterator[Operate]:
    """One sends to each of 10,000 nodes, and waits for all."""
    finish = Finish()

    async def operate(n: int) -> None:
        token = Token(0)
        for _ in range(max(1, n // len(targets))):
            finish.expect(len(targets))
            for target in targets:
                await target.send(token)
            await finish.wait()

    async with run([make(finish) for _ in range(10_000)]) as targets:
        yield operate


def rows() -> Iterator[Row]:
    """Measure each pattern both ways."""
    for row, pattern, operations, rounds in (
        (MANY_TO_ONE, many_to_one, 4_000, 21),
        (RING, ring, 10_000, 15),
        (FAN_OUT, fan_out, 10_000, 15),
    ):
        actors = Case(partial(pattern, NodeActor, as_actors), operations)
        naive = Case(partial(pattern, Node, as_tasks), operations)
        spent = measure({"actors": actors, "naive": naive}, rounds=rounds)
        yield row.found(*cheaper(spent, "actors", "naive"))
