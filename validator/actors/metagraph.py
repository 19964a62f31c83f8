"""The metagraph follower: who is registered has a client, and nobody else has."""

from __future__ import annotations

import attrs
import trio

from actors import Actor, Ask, Ref, Tell
from supervision import Child, GetChildren, StartChild, StopChild, Supervisor
from validator.actors.asking import DatabaseClient
from validator.actors.miner import MinerClient
from validator.actors.questions import (
    ForgetMiners,
    KnownMiners,
    RegisterMiners,
)
from validator.actors.rounds import Roster
from validator.domain.metagraph import (
    FORGOTTEN_AT_ONCE,
    MINERS_AT_ONCE,
    Miner,
    changes,
    in_chunks,
)
from validator.events import MinerJoined, MinerLeft, SlowMetagraphSync
from validator.ports import Calendar, Chain, Connect
from validator.settings import Settings

PROMPTLY = 30.0
"""Seconds for starting or stopping a client, which waits for nobody outside."""

SLOW = 30.0
"""Seconds after which a sync is reported as slow."""


@attrs.frozen
class GetRoster(Ask["MetagraphFollower", Roster]):
    """The registered miners and their clients, by uid."""


@attrs.frozen
class Sync(Tell["MetagraphFollower"]):
    """Look at the chain now."""


class MetagraphFollower(Actor):
    """Starts a client for every miner that joins, and stops those of miners that left.

    The database learns of it first: a newcomer is registered, and its predecessor
    at that uid forgotten, before anybody can ask the newcomer anything.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        database: DatabaseClient,
        miners: Ref[Supervisor],
        connect: Connect,
        calendar: Calendar,
        settings: Settings,
    ) -> None:
        self._chain = chain
        self._database = database
        self._miners = miners
        self._connect = connect
        self._calendar = calendar
        self._settings = settings
        self._clients: dict[Miner, Ref[MinerClient]] = {}

    async def started(self) -> None:
        # Clients of an earlier incarnation: which miner each was for died with it.
        for name in await self._miners.ask(GetChildren(), timeout=PROMPTLY):
            await self._miners.ask(StopChild(name), timeout=PROMPTLY)
        await self._sync()

    async def run(self) -> None:
        while True:
            when = self._calendar.now() + self._settings.metagraph_interval
            await self._calendar.sleep_until(when)
            await self.ctx.me.send(Sync())

    @GetRoster.handled
    def roster(self, m: GetRoster) -> Roster:
        return dict(self._clients)

    @Sync.handled
    async def sync(self, m: Sync) -> None:
        await self._sync()

    async def _sync(self) -> None:
        begin = trio.current_time()
        async with self.ctx.operation(
            "metagraph_sync", soft=SLOW, hard=self._settings.chain_timeout
        ):
            registered = (await self._chain.metagraph()).miners
        seconds = trio.current_time() - begin
        if seconds > SLOW:
            self.ctx.emit(SlowMetagraphSync(self.ctx.me.path, seconds))
        # A client that is gone belonged to a supervisor that was restarted.
        serving = [m for m, client in self._clients.items() if client.gone is None]
        delta = changes(serving, registered)
        for miner in delta.left:
            await self._miners.ask(StopChild(miner.hotkey), timeout=PROMPTLY)
        self._clients = {m: self._clients[m] for m in serving if m in registered}
        await self._forget_all_but({miner.hotkey for miner in registered})
        for joined in in_chunks(delta.joined, MINERS_AT_ONCE):
            await self._register(joined)
            for miner in joined:
                await self._join(miner)
        self._clients = dict(
            sorted(self._clients.items(), key=lambda item: item[0].uid)
        )

    async def _forget_all_but(self, hotkeys: set[str]) -> None:
        limit = self._settings.database_timeout
        known = await self._database.ask(KnownMiners(), timeout=limit)
        gone = [miner for miner in known if miner.hotkey not in hotkeys]
        for some in in_chunks(gone, FORGOTTEN_AT_ONCE):
            question = ForgetMiners(tuple(miner.hotkey for miner in some))
            await self._database.ask(question, timeout=limit)
            for miner in some:
                self.ctx.emit(MinerLeft(self.ctx.me.path, miner.uid, miner.hotkey))

    async def _register(self, miners: tuple[Miner, ...]) -> None:
        limit = self._settings.database_timeout
        await self._database.ask(RegisterMiners(miners), timeout=limit)

    async def _join(self, miner: Miner) -> None:
        child = Child(
            miner.hotkey,
            lambda: MinerClient(miner, self._connect, self._settings),
            # The limits of the exchanges end a question long before this does.
            handler_timeout=2 * self._settings.round_timeout,
        )
        client = await self._miners.ask(StartChild(child), timeout=PROMPTLY)
        self._clients[miner] = client
        self.ctx.emit(MinerJoined(self.ctx.me.path, miner.uid, miner.hotkey))
