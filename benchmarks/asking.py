"""A validator's side with nothing but what asks miners, and what is measured of it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from actors import Actor, Ref
from benchmarks.farm import VALIDATOR
from supervision import BreakerPolicy, Breakers, Child, Supervisor, System
from validator.actors.miner import MinerClient, Result
from validator.actors.rounds import (
    AskMiners,
    ResultTaker,
    Roster,
    Rounds,
    RoundSummary,
    TakeResult,
)
from validator.adapters.fiber.addresses import LOOPBACK
from validator.adapters.fiber.transport import connect
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.settings import Settings

_PAGE = 4096


class Taker(Actor, ResultTaker):
    """Keeps what it is told."""

    def __init__(self, taken: list[Result]) -> None:
        self._taken = taken

    @TakeResult.handled
    def take(self, m: TakeResult) -> None:
        self._taken.append(m.result)


@attrs.frozen
class Round:
    """What one round took."""

    summary: RoundSummary
    results: tuple[Result, ...]
    wall: float
    cpu: float
    """Seconds of this process, all threads."""


@attrs.define
class Asking:
    """Client actors of a farm, and the actor that holds rounds."""

    rounds: Ref[Rounds]
    taker: Ref[Taker]
    roster: Roster
    taken: list[Result]

    async def hold(
        self,
        path: str,
        payload: Payload,
        *,
        deadline: float,
        miners: Sequence[Miner] | None = None,
        answer_limit: int = 64_000,
    ) -> Round:
        """Hold one round, with all miners or some."""
        asked = self.roster
        if miners is not None:
            asked = {miner: self.roster[miner] for miner in miners}
        self.taken.clear()
        question = AskMiners(
            "round", asked, path, payload, deadline, self.taker, answer_limit
        )
        wall, cpu = time.perf_counter(), time.process_time()
        summary = await self.rounds.ask(question)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Round(summary, tuple(self.taken), wall, cpu)


@asynccontextmanager
async def asking(
    miners: Sequence[Miner], *settings: Settings
) -> AsyncGenerator[Asking]:
    """Start a client for each miner; breakers never open, so that rounds are alike.

    ``settings`` are those of all miners, or of each.
    """
    reach = connect(VALIDATOR, allowed=LOOPBACK)

    def child(miner: Miner, settings: Settings) -> Child[MinerClient]:
        return Child(
            miner.hotkey,
            lambda: MinerClient(miner, reach, settings),
            handler_timeout=1000,
        )

    of_each = settings if len(settings) > 1 else settings * len(miners)
    taken: list[Result] = []
    never = BreakerPolicy(failures=10**9)
    clients = Child("miners", lambda: Supervisor(*map(child, miners, of_each)))
    breakers = Child("breakers", lambda: Breakers(lambda _: never), mailbox=1024)
    rounds = Child("rounds", lambda: Rounds(system.ref(breakers), settings[0]))
    taker = Child("taker", lambda: Taker(taken), mailbox=1024)
    system = System(clients, breakers, rounds, taker)
    async with system:
        roster = {
            miner: system.find(f"app/miners/{miner.hotkey}", MinerClient)
            for miner in miners
        }
        yield Asking(system.ref(rounds), system.ref(taker), roster, taken)


@attrs.define
class Watch:
    """Looks each millisecond how late it is, and how much memory there is."""

    late: float = 0.0
    """Seconds that the event loop was late, at the most."""
    blocked: float = 0.0
    """The same without the time that its thread was ready and waited for a core.

    So it holds what the loop itself did in one go, and what it waited for others of
    its process, such as threads that held the interpreter.
    """
    peak: int = 0
    """Bytes resident, at the most."""

    async def run(self) -> None:
        """Watch until cancelled."""
        looks = 0
        while True:
            before, queued = time.perf_counter(), _queued()
            await trio.sleep(0.001)
            late = time.perf_counter() - before - 0.001
            self.late = max(self.late, late)
            self.blocked = max(self.blocked, late - (_queued() - queued))
            if looks % 10 == 0:
                self.peak = max(self.peak, resident())
            looks += 1


def _queued() -> float:
    """Seconds that this thread was ready to run and had no core."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
