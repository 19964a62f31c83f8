"""A chain in memory: blocks, registrations, and the weights it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs
import trio

from validator.domain.metagraph import Metagraph, Miner
from validator.ports import Calendar, WeightsRefused

BLOCK = timedelta(seconds=12)
RATE_LIMIT = 50
"""Blocks between two submissions of one validator: ten minutes of data time."""


@attrs.frozen
class Registration:
    """From ``at`` on, ``miner`` has its uid; whoever had it before is out."""

    at: datetime
    miner: Miner


class SimulatedChain:
    """A ``Chain`` whose history is known in advance."""

    def __init__(
        self, registrations: Sequence[Registration], *, calendar: Calendar
    ) -> None:
        self._registrations = sorted(registrations, key=lambda each: each.at)
        self._calendar = calendar
        self._genesis = calendar.now()
        self._set_at = -RATE_LIMIT
        self.weights: Mapping[int, int] = {}
        """The weights accepted last: uid -> u16."""

    @property
    def block(self) -> int:
        """The number of the newest block."""
        return (self._calendar.now() - self._genesis) // BLOCK

    async def metagraph(self) -> Metagraph:
        await trio.lowlevel.checkpoint()
        return Metagraph(self.block, tuple(self._registered().values()))

    def _registered(self) -> dict[int, Miner]:
        now = self._calendar.now()
        latest = {r.miner.uid: r.miner for r in self._registrations if r.at <= now}
        return dict(sorted(latest.items()))

    async def blocks_until_weights(self) -> int:
        await trio.lowlevel.checkpoint()
        return max(0, self._set_at + RATE_LIMIT - self.block)

    async def set_weights(self, weights: Mapping[int, int]) -> int:
        missing = await self.blocks_until_weights()
        if missing:
            raise WeightsRefused(f"too soon by {missing} blocks")
        if unknown := sorted(weights.keys() - self._registered().keys()):
            raise WeightsRefused(f"no miner is registered at uid {unknown}")
        if wrong := {u: w for u, w in weights.items() if not 0 <= w <= 0xFFFF}:
            raise WeightsRefused(f"weights are 16 bits wide, got {wrong}")
        self.weights, self._set_at = dict(weights), self.block
        return self._set_at
