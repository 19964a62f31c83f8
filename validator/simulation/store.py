"""A store in memory: behaves like the real one, forgets when the program ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import attrs
import trio

from validator.domain.dst import Nanotesla
from validator.domain.metagraph import Miner
from validator.domain.scoring import EarnedRow, Excuse, Prediction, ScoredHour, Task
from validator.ports import PRUNED_AT_ONCE, OpenStore, Store
from validator.simulation.soil_store import Claim, MemorySoil


@attrs.define
class _Hour:
    """All that is known about one geomagnetic question, by hotkey."""

    truth: Nanotesla | None = None  # None: not scored yet
    predictions: dict[str, Prediction] = attrs.field(factory=dict)
    # Invariant: every claimed hotkey has a prediction.
    claims: dict[str, Claim] = attrs.field(factory=dict)
    excused: set[str] = attrs.field(factory=set)


@attrs.define
class MemoryStore(MemorySoil):
    """``validator.ports.Store`` in memory; promises what the port does.

    Each method first passes a checkpoint and then acts without another, so being
    cancelled means that nothing was done.
    """

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

    async def register_miners(self, miners: Sequence[Miner]) -> None:
        await trio.lowlevel.checkpoint()
        for miner in miners:
            for other in tuple(self._miners.values()):
                if other.uid == miner.uid and other.hotkey != miner.hotkey:
                    self._forget(other.hotkey)
            self._miners[miner.hotkey] = miner

    async def forget_miners(self, hotkeys: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()
        for hotkey in hotkeys:
            self._forget(hotkey)

    def _forget(self, hotkey: str) -> None:
        self._miners.pop(hotkey, None)
        for known in self._hours.values():
            known.predictions.pop(hotkey, None)
            known.claims.pop(hotkey, None)
            known.excused.discard(hotkey)
        for target in self._targets.values():
            for key in [key for key in target.forecasts if key[1] == hotkey]:
                del target.forecasts[key]
        for scores in self._rows.values():
            scores.pop(hotkey, None)

    async def miners(self) -> Sequence[Miner]:
        await trio.lowlevel.checkpoint()
        return tuple(sorted(self._miners.values(), key=lambda miner: miner.uid))

    async def save_predictions(
        self, predictions: Sequence[Prediction], excuses: Sequence[Excuse] = ()
    ) -> int:
        await trio.lowlevel.checkpoint()
        everything: list[Prediction | Excuse] = [*predictions, *excuses]
        for given in everything:
            known = self._hours.setdefault(given.hour, _Hour())
            if given.hotkey not in self._miners or known.truth is not None:
                continue
            if isinstance(given, Excuse):
                known.excused.add(given.hotkey)
            else:
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
        claim = Claim(owner, incarnation)
        for hotkey in known.predictions:
            known.claims.setdefault(hotkey, claim)
        return tuple(
            prediction
            for hotkey, prediction in sorted(known.predictions.items())
            if known.claims[hotkey] == claim
        )

    async def record_scores(self, outcome: ScoredHour) -> bool:
        await trio.lowlevel.checkpoint()
        known = self._hours.setdefault(outcome.hour, _Hour())
        if known.truth is not None:
            return True
        if known.predictions.keys() - {score.hotkey for score in outcome.scores}:
            return False
        known.truth = outcome.truth
        known.predictions.clear()
        known.claims.clear()
        row = self._rows.setdefault((outcome.hour, "geomagnetic"), {})
        for score in outcome.scores:
            if score.hotkey in self._miners:
                row.setdefault(score.hotkey, score.score)
        return True

    async def release_claims(self, *, owner: str | None) -> int:
        await trio.lowlevel.checkpoint()
        released = 0
        for known in self._hours.values():
            for hotkey, claim in tuple(known.claims.items()):
                if owner in (None, claim.owner):
                    del known.claims[hotkey]
                    released += 1
        for target in self._targets.values():
            if target.claim is not None and owner in (None, target.claim.owner):
                target.claim = None
                released += 1
        return released

    async def score_rows(self, since: datetime) -> Sequence[EarnedRow]:
        await trio.lowlevel.checkpoint()
        return tuple(
            EarnedRow(task, at, dict(scores), self._excused(at, task) - scores.keys())
            for (at, task), scores in sorted(
                self._rows.items(), key=lambda item: item[0]
            )
            if at >= since
        )

    def _excused(self, at: datetime, task: Task) -> frozenset[str]:
        known = self._hours.get(at) if task == "geomagnetic" else None
        return frozenset() if known is None else frozenset(known.excused)

    async def processing_rows(self) -> int:
        await trio.lowlevel.checkpoint()
        return sum(len(known.claims) for known in self._hours.values()) + sum(
            target.claim is not None for target in self._targets.values()
        )

    async def prune(self, before: datetime) -> int:
        await trio.lowlevel.checkpoint()
        hours = sorted(hour for hour in self._hours if hour < before)
        targets = sorted(at for at in self._targets if at < before)
        rows = sorted(key for key in self._rows if key[0] < before)
        for hour in hours[:PRUNED_AT_ONCE]:
            del self._hours[hour]
        for at in targets[:PRUNED_AT_ONCE]:
            del self._targets[at]
        for key in rows[:PRUNED_AT_ONCE]:
            del self._rows[key]
        return sum(min(len(old), PRUNED_AT_ONCE) for old in (hours, targets, rows))
