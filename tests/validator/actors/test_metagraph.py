"""The metagraph follower: whole crowds come and go in few units of the database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import attrs
import trio

from actors import Actor
from actors.events import Event
from supervision import Child, GetChildren, Supervisor, System
from validator.actors.asking import DatabaseClient
from validator.actors.metagraph import MetagraphFollower
from validator.actors.questions import (
    Database,
    ForgetMiners,
    Question,
    RegisterMiners,
)
from validator.domain.metagraph import Metagraph, Miner
from validator.events import MinerJoined, MinerLeft
from validator.ports import Chain, MinerConnection
from validator.settings import Settings
from validator.simulation.calendar import SimulatedCalendar
from validator.simulation.store import MemoryStore

NOW = datetime(2015, 3, 17, 20, tzinfo=UTC)


@attrs.define
class Registered:
    """A chain that can only be looked at."""

    miners: tuple[Miner, ...]

    async def metagraph(self) -> Metagraph:
        await trio.lowlevel.checkpoint()
        return Metagraph(1, self.miners)


def crowd(first: str) -> tuple[Miner, ...]:
    return tuple(Miner(uid, f"{first}{uid}", "127.0.0.1", 1) for uid in range(256))


async def test_a_subnet_of_newcomers_takes_eight_units_and_one_of_leavers_few(
    events: list[Event],
) -> None:
    store, chain = MemoryStore(), Registered(crowd("a"))
    asked: list[Question[Any]] = []

    class Answers(Actor, Database):
        @Question.handled
        async def answer(self, m: Question[Any]) -> Any:
            asked.append(m)
            return await m.put(store)

    @asynccontextmanager
    async def connect(_miner: Miner) -> AsyncGenerator[MinerConnection]:
        await trio.lowlevel.checkpoint()
        yield cast("MinerConnection", None)  # nobody is asked anything

    calendar = SimulatedCalendar(NOW, hour=3600)
    database, miners = Child("database", Answers), Child("miners", Supervisor)
    follower = Child(
        "follower",
        lambda: MetagraphFollower(
            chain=cast("Chain", chain),  # that is all it uses
            database=DatabaseClient(system.ref(database)),
            miners=system.ref(miners),
            connect=connect,
            calendar=calendar,
            settings=Settings(),
        ),
        handler_timeout=None,
    )
    system = System(database, miners, follower, on_event=[events.append])
    async with system:
        assert await store.miners() == chain.miners
        assert len([m for m in asked if isinstance(m, RegisterMiners)]) == 8
        children = await system.ref(miners).ask(GetChildren(), timeout=1)
        assert set(children) == {miner.hotkey for miner in chain.miners}

        chain.miners = crowd("a")[:200]
        calendar.go()
        await trio.sleep(301)
        assert await store.miners() == chain.miners
        assert len([m for m in asked if isinstance(m, ForgetMiners)]) == 6

    assert len([e for e in events if isinstance(e, MinerJoined)]) == 256
    assert len([e for e in events if isinstance(e, MinerLeft)]) == 56
