"""The same with pykka, whose actors are threads. Only imported if it is there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pykka

from benchmarks.echo import GET, PUT
from benchmarks.harness import Operate


def _answer(_self: object, message: object) -> object:
    return message


# Not a class statement, which type checkers refuse where pykka is not installed.
Echo: Any = type("Echo", (pykka.ThreadingActor,), {"on_receive": _answer})


@asynccontextmanager
async def tell() -> AsyncIterator[Operate]:
    """Tell one actor, and wait until all are handled."""
    ref = Echo.start()

    async def operate(n: int) -> None:
        for _ in range(n):
            ref.tell(PUT)
        ref.ask(GET)

    try:
        yield operate
    finally:
        ref.stop()


@asynccontextmanager
async def ask() -> AsyncIterator[Operate]:
    """Ask one actor, one question after the other."""
    ref = Echo.start()

    async def operate(n: int) -> None:
        for _ in range(n):
            ref.ask(GET)

    try:
        yield operate
    finally:
        ref.stop()


@asynccontextmanager
async def spawn() -> AsyncIterator[Operate]:
    """Start actors, one after the other."""
    refs: list[Any] = []

    async def operate(n: int) -> None:
        refs.extend(Echo.start() for _ in range(n))

    try:
        yield operate
    finally:
        for ref in refs:
            ref.stop()


@asynccontextmanager
async def restart() -> AsyncIterator[Operate]:
    """Stop an actor and start another: the nearest that pykka has to a restart."""
    refs = [Echo.start()]

    async def operate(n: int) -> None:
        for _ in range(n):
            refs.pop().stop()
            refs.append(Echo.start())

    try:
        yield operate
    finally:
        refs.pop().stop()
