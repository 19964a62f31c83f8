"""The weight setter: when there are new scores and the chain allows, it submits."""

from __future__ import annotations

from datetime import datetime

import attrs
import trio

from actors import Actor, Ref, Tell
from validator.actors.asking import DatabaseClient
from validator.actors.lease import LeaseHolder, MaySetWeights
from validator.actors.questions import ScoreRows
from validator.domain.weights import WINDOW, compute_weights, quantise
from validator.events import NothingEarned, WeightsPostponed, WeightsSet
from validator.ports import Calendar, Chain, WeightsRefused
from validator.settings import Settings


@attrs.frozen
class ScoresChanged(Tell["WeightSetter"]):
    """There are scores of one more hour."""

    hour: datetime


class WeightSetter(Actor):
    """Sets weights after every change of the scores, as soon as the chain allows.

    Weights are computed when they can be set, never before: what is submitted is
    always the newest. They are not set unless the lease is ours. Its first incarnation
    also submits what an earlier process may have left unsubmitted.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        database: DatabaseClient,
        lease: Ref[LeaseHolder],
        calendar: Calendar,
        settings: Settings,
    ) -> None:
        self._chain = chain
        self._database = database
        self._lease = lease
        self._calendar = calendar
        self._settings = settings
        # Set from the start, for scores may have changed before this incarnation.
        self._changed = trio.Event()
        self._changed.set()

    @ScoresChanged.handled
    def scores_changed(self, m: ScoresChanged) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            while not await self._try_to_set():
                when = self._calendar.now() + self._settings.weights_interval
                await self._calendar.sleep_until(when)

    async def _try_to_set(self) -> bool:
        """Submit if the chain allows; True when nothing is left to be submitted."""
        hard = self._settings.chain_timeout
        async with self.ctx.operation("weight_setting", soft=hard / 2, hard=hard):
            if await self._chain.blocks_until_weights() > 0:
                return False
            # What changes from here on is not among the rows read below.
            self._changed = trio.Event()
            now, limit = self._calendar.now(), self._settings.database_timeout
            rows = await self._database.ask(ScoreRows(now - WINDOW), timeout=limit)
            # Who sits where is asked of the chain, and last: a newcomer may have come
            # since anybody looked, and must not get what its predecessor earned.
            seats = {m.hotkey: m.uid for m in (await self._chain.metagraph()).miners}
            seated = [row.seated(seats) for row in rows]
            weights = quantise(compute_weights(seated, now=now, uids=[*seats.values()]))
            path = self.ctx.me.path
            if not weights:
                self.ctx.emit(NothingEarned(path, len(rows)))
                return True
            if not await self._lease.ask(MaySetWeights(), timeout=limit):
                self.ctx.emit(WeightsPostponed(path, "the lease is not ours"))
                return False
            try:
                block = await self._chain.set_weights(weights)
            except WeightsRefused as refusal:
                self.ctx.emit(WeightsPostponed(path, str(refusal)))
                return False
        through = max(row.at for row in rows)
        self.ctx.emit(WeightsSet(path, block, len(weights), through, weights))
        return True
