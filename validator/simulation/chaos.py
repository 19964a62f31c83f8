"""Chaos by plan: tasks of a running demonstration crash, freeze and block the loop.

It comes through the ports, where every task meets the world: a trap is set for a task,
and its next call to the world meets it. So whatever a task is at when that happens
stays half done, and only what supervises it can help.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import product
from random import Random
from typing import Any, Literal, TypeVar, cast, get_args

import attrs
import trio

from actors import Actor, Exit
from validator.app import Ports
from validator.domain.dst import DstSeries
from validator.domain.metagraph import Metagraph, Miner
from validator.domain.payload import Payload
from validator.events import ValidatorEvent
from validator.ports import (
    Chain,
    Connect,
    DstSource,
    MinerConnection,
    OpenDatabase,
    OpenStore,
    Seen,
    Store,
)
from validator.settings import Settings

T = TypeVar("T")

Kind = Literal["crash", "freeze", "block"]
"""crash: the call raises what nobody expects; freeze: it does not return; block: it
keeps the event loop, and so all tasks, from running for a while."""

Task = Literal["database", "metagraph", "weights", "geomagnetic", "miner"]

_GAP = (0.05, 0.45)  # hours of data time from one trap to the next, at least and most


class ChaosError(Exception):
    """What a task crashes with."""


@attrs.frozen
class ChaosMet(ValidatorEvent):
    """A task has walked into a trap."""

    text = "chaos: {kind} in {task}"
    level = "warning"
    kind: Kind
    task: Task
    late: bool
    """Whether what the task wanted was done before."""


@attrs.frozen
class Trap:
    """One fault to come."""

    kind: Kind
    task: Task
    late: bool
    gap: float
    """Hours of data time since the trap before."""


def chaos_plan(seed: int) -> Sequence[Trap]:
    """Draw in which order each kind happens to each task, once.

    Then there is peace: without end it would be more than what a supervisor bears.
    """
    random = Random(f"chaos:{seed}")
    faults = list(product(get_args(Kind), get_args(Task)))
    random.shuffle(faults)
    return [
        Trap(kind, task, late=random.choice((True, False)), gap=random.uniform(*_GAP))
        for kind, task in faults
    ]


class Traps:
    """What is in wait for whom; between the tasks and their ports."""

    def __init__(self, *, block: float) -> None:
        """``block``: how many seconds the loop is blocked."""
        self._block = block
        self._set: dict[Task, deque[Trap]] = {}
        self._calm = trio.Event()
        self.report: Callable[[Trap], None] = lambda _trap: None

    def arm(self, trap: Trap) -> None:
        """Let the next call of its task meet it."""
        self._set.setdefault(trap.task, deque()).append(trap)

    def calm(self) -> None:
        """Remove all traps, and let go on who is frozen."""
        self._set.clear()
        self._calm.set()

    async def meet(self, task: Task, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work of a task, and meet what is in wait for it before or after."""
        traps = self._set.get(task)
        if not traps:
            return await work()
        trap = traps.popleft()
        if not trap.late:
            await self._spring(trap)
            return await work()
        result = await work()
        await self._spring(trap)
        return result

    async def _spring(self, trap: Trap) -> None:
        self.report(trap)
        match trap.kind:
            case "crash":
                raise ChaosError(f"{trap.task} was made to crash")
            case "freeze":
                await self._calm.wait()
            case "block":
                time.sleep(self._block)  # noqa: ASYNC251, TID251 - just what is wanted


class Chaos(Actor):
    """Sets the traps of a plan, one after the other.

    Where it ends, all that is still in wait is removed: stop it before the tasks.
    """

    def __init__(self, plan: Sequence[Trap], traps: Traps, *, hour: float) -> None:
        self._plan = plan
        self._traps = traps
        self._hour = hour

    async def started(self) -> None:
        self._traps.report = self._met

    async def run(self) -> None:
        for trap in self._plan:
            await trio.sleep(trap.gap * self._hour)
            self._traps.arm(trap)

    async def stopping(self, exit_: Exit) -> None:
        self._traps.calm()

    def _met(self, trap: Trap) -> None:
        self.ctx.emit(ChaosMet(self.ctx.me.path, trap.kind, trap.task, trap.late))


# -- the ports ----------------------------------------------------------------------


def spoilt(ports: Ports, traps: Traps) -> Ports:
    """The same world, with traps in it."""
    return attrs.evolve(
        ports,
        chain=_SpoiltChain(ports.chain, traps),
        connect=_spoilt_connect(ports.connect, traps),
        open_database=_spoilt_database(ports.open_database, traps),
        dst=_SpoiltDst(ports.dst, traps),
    )


def hasty(settings: Settings, hour: float) -> Settings:
    """Give up earlier on what is frozen: within a demonstration, not within minutes."""
    return attrs.evolve(
        settings,
        database_timeout=min(settings.database_timeout, max(1.0, 0.5 * hour)),
        source_timeout=min(settings.source_timeout, max(1.0, 0.3 * hour)),
        chain_timeout=min(settings.chain_timeout, max(1.0, 0.3 * hour)),
    )


@attrs.frozen
class _SpoiltChain:
    _chain: Chain
    _traps: Traps

    async def metagraph(self) -> Metagraph:
        return await self._traps.meet("metagraph", self._chain.metagraph)

    async def blocks_until_weights(self) -> int:
        return await self._traps.meet("weights", self._chain.blocks_until_weights)

    async def set_weights(self, weights: Mapping[int, int]) -> int:
        work = partial(self._chain.set_weights, weights)
        return await self._traps.meet("weights", work)


@attrs.frozen
class _SpoiltDst:
    _dst: DstSource
    _traps: Traps

    async def published(self, now: datetime) -> DstSeries:
        work = partial(self._dst.published, now)
        return await self._traps.meet("geomagnetic", work)


@attrs.frozen
class _SpoiltConnection:
    _connection: MinerConnection
    _traps: Traps

    @property
    def has_key(self) -> bool:
        return self._connection.has_key

    async def handshake(self) -> None:
        await self._traps.meet("miner", self._connection.handshake)

    @property
    def seen(self) -> Seen:
        return self._connection.seen

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        work = partial(self._connection.ask, path, payload, limit=limit)
        return await self._traps.meet("miner", work)


def _spoilt_connect(connect: Connect, traps: Traps) -> Connect:
    @asynccontextmanager
    async def spoilt_connection(miner: Miner) -> AsyncGenerator[MinerConnection]:
        async with connect(miner) as connection:
            yield _SpoiltConnection(connection, traps)

    return spoilt_connection


def _spoilt_database(open_database: OpenDatabase, traps: Traps) -> OpenDatabase:
    @asynccontextmanager
    async def spoilt_opening() -> AsyncGenerator[OpenStore]:
        async with open_database() as open_store:
            yield lambda: _spoilt_store(open_store, traps)

    return spoilt_opening


@asynccontextmanager
async def _spoilt_store(open_store: OpenStore, traps: Traps) -> AsyncGenerator[Store]:
    async with open_store() as store:
        yield cast("Store", _SpoiltStore(store, traps))


@attrs.frozen
class _SpoiltStore:
    """All methods of a store, each with a trap."""

    _store: Store
    _traps: Traps

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name)

        async def spoilt_method(*args: object, **kwargs: object) -> object:
            work = partial(method, *args, **kwargs)
            return await self._traps.meet("database", work)

        return spoilt_method
