"""The database actor: every question to the store passes through here.

Messages are questions of the domain, never SQL. Reads are cancelled when nobody waits
for them any more; a write once begun runs to its end or its limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

import attrs
import trio

from actors import Actor, Ask, Rejected
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction, ScoredHour, ScoreRow
from validator.events import DatabaseTimedOut, RowsReset, SlowDatabase
from validator.ports import OpenStore, Store

R = TypeVar("R")

SLOW = 5.0
"""Seconds after which an operation is reported as slow."""


@attrs.frozen
class RegisterMiner(Ask["Database", None]):
    """See `Store.register_miner`."""

    miner: Miner


@attrs.frozen
class ForgetMiner(Ask["Database", None]):
    """See `Store.forget_miner`."""

    hotkey: str


@attrs.frozen
class KnownMiners(Ask["Database", Sequence[Miner]]):
    """See `Store.miners`."""

    abandon = "cancel"


@attrs.frozen
class OpenHour(Ask["Database", None]):
    """See `Store.open_hour`."""

    hour: datetime


@attrs.frozen
class SavePredictions(Ask["Database", int]):
    """See `Store.save_predictions`."""

    predictions: tuple[Prediction, ...]


@attrs.frozen
class PendingHours(Ask["Database", Sequence[datetime]]):
    """See `Store.pending_hours`."""

    abandon = "cancel"
    before: datetime


@attrs.frozen
class ClaimPredictions(Ask["Database", Sequence[Prediction]]):
    """See `Store.claim_predictions`."""

    hour: datetime
    owner: str
    incarnation: int


@attrs.frozen
class RecordScores(Ask["Database", None]):
    """See `Store.record_scores`."""

    outcome: ScoredHour


@attrs.frozen
class ReleaseClaims(Ask["Database", int]):
    """See `Store.release_claims`."""

    owner: str


@attrs.frozen
class ScoreRows(Ask["Database", Sequence[ScoreRow]]):
    """See `Store.score_rows`."""

    abandon = "cancel"
    since: datetime


@attrs.frozen
class ProcessingRows(Ask["Database", int]):
    """See `Store.processing_rows`."""

    abandon = "cancel"


class Database(Actor):
    """Owns one connection to the store, for as long as an incarnation lives.

    Every question is `Rejected` if it exceeds the store's limit. If the database goes
    away the actor fails, and its next incarnation connects anew: the asker of the
    write in hand gets `ActorCrashed` and may repeat it, as writes are idempotent.
    """

    _store: Store

    def __init__(self, open_store: OpenStore) -> None:
        self._open = open_store

    async def started(self) -> None:
        self._store = await self.ctx.enter(self._open())

    async def _timed(self, operation: str, work: Awaitable[R]) -> R:
        path, begin = self.ctx.me.path, trio.current_time()
        try:
            result = await work
        except TimeoutError as error:
            seconds = trio.current_time() - begin
            self.ctx.emit(DatabaseTimedOut(path, operation, seconds))
            raise Rejected(str(error)) from error
        seconds = trio.current_time() - begin
        if seconds > SLOW:
            self.ctx.emit(SlowDatabase(path, operation, seconds))
        return result

    @RegisterMiner.handled
    async def register_miner(self, m: RegisterMiner) -> None:
        work = self._store.register_miner(m.miner)
        await self._timed("register_miner", work)

    @ForgetMiner.handled
    async def forget_miner(self, m: ForgetMiner) -> None:
        await self._timed("forget_miner", self._store.forget_miner(m.hotkey))

    @KnownMiners.handled
    async def known_miners(self, m: KnownMiners) -> Sequence[Miner]:
        return await self._timed("known_miners", self._store.miners())

    @OpenHour.handled
    async def open_hour(self, m: OpenHour) -> None:
        await self._timed("open_hour", self._store.open_hour(m.hour))

    @SavePredictions.handled
    async def save_predictions(self, m: SavePredictions) -> int:
        work = self._store.save_predictions(m.predictions)
        return await self._timed("save_predictions", work)

    @PendingHours.handled
    async def pending_hours(self, m: PendingHours) -> Sequence[datetime]:
        return await self._timed("pending_hours", self._store.pending_hours(m.before))

    @ClaimPredictions.handled
    async def claim_predictions(self, m: ClaimPredictions) -> Sequence[Prediction]:
        work = self._store.claim_predictions(
            m.hour, owner=m.owner, incarnation=m.incarnation
        )
        return await self._timed("claim_predictions", work)

    @RecordScores.handled
    async def record_scores(self, m: RecordScores) -> None:
        await self._timed("record_scores", self._store.record_scores(m.outcome))

    @ReleaseClaims.handled
    async def release_claims(self, m: ReleaseClaims) -> int:
        work = self._store.release_claims(owner=m.owner)
        rows = await self._timed("release_claims", work)
        if rows:
            self.ctx.emit(RowsReset(m.owner, rows))
        return rows

    @ScoreRows.handled
    async def score_rows(self, m: ScoreRows) -> Sequence[ScoreRow]:
        return await self._timed("score_rows", self._store.score_rows(m.since))

    @ProcessingRows.handled
    async def processing_rows(self, m: ProcessingRows) -> int:
        return await self._timed("processing_rows", self._store.processing_rows())
