"""A store in memory: behaves like the real one, forgets when the program ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import attrs
import trio

from validator.domain.dst import Nanotesla
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction, Score, ScoredHour, ScoreRow
from validator.ports import OpenStore, Store


@attrs.frozen
class _Claim:
    owner: str
    incarnation: int


@attrs.define
class _Hour:
    """All that is known about one geomagnetic question, by hotkey."""

    truth: Nanotesla | None = None  # None: not scored yet
    predictions: dict[str, Prediction] = attrs.field(factory=dict)
    # Invariant: every claimed hotkey has a prediction.
    claims: dict[str, _Claim] = attrs.field(factory=dict)
    scores: dict[str, Score] = attrs.field(factory=dict)

    def forget(self, hotkey: str) -> None:
        self.predictions.pop(hotkey, None)
        self.claims.pop(hotkey, None)
        self.scores.pop(hotkey, None)


@attrs.define
class MemoryStore:
    """``validator.ports.Store`` in memory; promises what the port does.

    Each method first passes a checkpoint and then acts without another, so being
    cancelled means that nothing was done.
    """

    _miners: dict[str, Miner] = attrs.field(factory=dict, init=False)
    _hours: dict[datetime, _Hour] = attrs.field(factory=dict, init=False)

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[OpenStore]:
        """An ``OpenDatabase``: what is stored is still there at the next opening."""
        await trio.lowlevel.checkpoint()
        yield self.open

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Store]:
        """An ``OpenStore``, to one and the same store."""
        await trio.lowlevel.checkpoint()
        yield self

    async def ping(self) -> None:
        await trio.lowlevel.checkpoint()

    async def register_miner(self, miner: Miner) -> None:
        await trio.lowlevel.checkpoint()
        for other in tuple(self._miners.values()):
            if other.uid == miner.uid and other.hotkey != miner.hotkey:
                self._forget(other.hotkey)
        self._miners[miner.hotkey] = miner

    async def forget_miner(self, hotkey: str) -> None:
        await trio.lowlevel.checkpoint()
        self._forget(hotkey)

    def _forget(self, hotkey: str) -> None:
        self._miners.pop(hotkey, None)
        for known in self._hours.values():
            known.forget(hotkey)

    async def miners(self) -> Sequence[Miner]:
        await trio.lowlevel.checkpoint()
        return tuple(sorted(self._miners.values(), key=lambda miner: miner.uid))

    async def save_predictions(self, predictions: Sequence[Prediction]) -> int:
        await trio.lowlevel.checkpoint()
        for given in predictions:
            known = self._hours.setdefault(given.hour, _Hour())
            if given.hotkey in self._miners and known.truth is None:
                known.predictions.setdefault(given.hotkey, given)
        return sum(given.hotkey in self._miners for given in predictions)

    async def pending_hours(self, before: datetime) -> Sequence[datetime]:
        await trio.lowlevel.checkpoint()
        return tuple(
            hour
            for hour, known in sorted(self._hours.items())
            if hour < before and known.truth is None
        )

    async def open_hour(self, hour: datetime) -> None:
        await trio.lowlevel.checkpoint()
        self._hours.setdefault(hour, _Hour())

    async def claim_predictions(
        self, hour: datetime, *, owner: str, incarnation: int
    ) -> Sequence[Prediction]:
        await trio.lowlevel.checkpoint()
        known = self._hours.get(hour, _Hour())
        claim = _Claim(owner, incarnation)
        for hotkey in known.predictions:
            known.claims.setdefault(hotkey, claim)
        return tuple(
            prediction
            for hotkey, prediction in sorted(known.predictions.items())
            if known.claims[hotkey] == claim
        )

    async def record_scores(self, outcome: ScoredHour) -> None:
        await trio.lowlevel.checkpoint()
        known = self._hours.setdefault(outcome.hour, _Hour())
        if known.truth is not None:
            return
        known.truth = outcome.truth
        known.predictions.clear()
        known.claims.clear()
        for score in outcome.scores:
            if score.hotkey in self._miners:
                known.scores.setdefault(score.hotkey, score)

    async def release_claims(self, *, owner: str) -> int:
        await trio.lowlevel.checkpoint()
        released = 0
        for known in self._hours.values():
            for hotkey, claim in tuple(known.claims.items()):
                if claim.owner == owner:
                    del known.claims[hotkey]
                    released += 1
        return released

    async def score_rows(self, since: datetime) -> Sequence[ScoreRow]:
        await trio.lowlevel.checkpoint()
        return tuple(
            ScoreRow("geomagnetic", hour, self._by_uid(known))
            for hour, known in sorted(self._hours.items())
            if hour >= since and known.truth is not None
        )

    def _by_uid(self, known: _Hour) -> dict[int, float]:
        return {self._miners[key].uid: s.score for key, s in known.scores.items()}

    async def processing_rows(self) -> int:
        await trio.lowlevel.checkpoint()
        return sum(len(known.claims) for known in self._hours.values())
