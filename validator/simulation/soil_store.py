"""The soil-moisture side of the store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs
import trio

from validator.domain.metagraph import MINERS_AT_ONCE, Miner
from validator.domain.scoring import Task
from validator.domain.soil import (
    REGIONS_AT_ONCE,
    DueTarget,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
)


@attrs.frozen
class Claim:
    """Who has something in work."""

    owner: str
    incarnation: int


@attrs.define
class _Target:
    """All that is known about one target."""

    closed: bool = False
    attempts: int = 0
    retry_at: datetime | None = None
    claim: Claim | None = None
    regions: dict[int, Region] = attrs.field(factory=dict)
    # Invariant: none of these two when closed.
    images: dict[int, bytes] = attrs.field(factory=dict)
    forecasts: dict[tuple[int, str], SoilForecast] = attrs.field(factory=dict)
    sent: set[int] = attrs.field(factory=set)

    def has(self, region: Region) -> bool:
        return region.number in self.regions or any(
            region.box == known.box for known in self.regions.values()
        )

    def close(self) -> None:
        self.closed, self.claim = True, None
        self.images.clear()
        self.forecasts.clear()


@attrs.define
class MemorySoil:
    """``validator.ports.SoilStore`` in memory; see `MemoryStore`."""

    _miners: dict[str, Miner] = attrs.field(factory=dict, init=False)
    _targets: dict[datetime, _Target] = attrs.field(factory=dict, init=False)
    _rows: dict[tuple[datetime, Task], dict[str, float]] = attrs.field(
        factory=dict, init=False
    )
    """The scores of both tasks, by hotkey."""

    def _open(self, target_time: datetime) -> _Target | None:
        target = self._targets.get(target_time)
        return None if target is None or target.closed else target

    async def save_regions(self, prepared: Sequence[PreparedRegion]) -> None:
        await trio.lowlevel.checkpoint()
        for each in prepared:
            region = each.region
            target = self._targets.setdefault(region.target_time, _Target())
            if not target.closed and not target.has(region):
                target.regions[region.number] = region
                target.images[region.number] = each.image

    async def regions(self, target_time: datetime) -> Sequence[Region]:
        await trio.lowlevel.checkpoint()
        target = self._targets.get(target_time, _Target())
        return tuple(region for _, region in sorted(target.regions.items()))

    async def unsent_regions(
        self, target_time: datetime, *, after: int = -1, limit: int = REGIONS_AT_ONCE
    ) -> Sequence[PreparedRegion]:
        await trio.lowlevel.checkpoint()
        target = self._targets.get(target_time, _Target())
        page = [
            PreparedRegion(target.regions[number], image)
            for number, image in sorted(target.images.items())
            if number > after and number not in target.sent
        ]
        return tuple(page[:limit])

    async def region_sent(self, target_time: datetime, number: int) -> None:
        await trio.lowlevel.checkpoint()
        target = self._targets.get(target_time)
        if target is not None and number in target.regions:
            target.sent.add(number)

    async def save_soil_forecasts(self, forecasts: Sequence[SoilForecast]) -> int:
        await trio.lowlevel.checkpoint()
        for given in forecasts:
            target = self._open(given.target_time)
            if (
                target is not None
                and given.number in target.regions
                and given.hotkey in self._miners
            ):
                target.forecasts.setdefault((given.number, given.hotkey), given)
        return sum(given.hotkey in self._miners for given in forecasts)

    async def soil_forecasts(
        self,
        target_time: datetime,
        number: int,
        *,
        after: str = "",
        limit: int = MINERS_AT_ONCE,
    ) -> Sequence[SoilForecast]:
        await trio.lowlevel.checkpoint()
        target = self._targets.get(target_time, _Target())
        page = [
            forecast
            for (region, hotkey), forecast in sorted(
                target.forecasts.items(), key=lambda item: item[0]
            )
            if region == number and hotkey > after
        ]
        return tuple(page[:limit])

    async def due_targets(
        self, *, until: datetime, now: datetime
    ) -> Sequence[DueTarget]:
        await trio.lowlevel.checkpoint()
        return tuple(
            DueTarget(at, target.attempts)
            for at, target in sorted(self._targets.items(), key=lambda item: item[0])
            if not target.closed
            and at <= until
            and (target.retry_at is None or target.retry_at <= now)
        )

    async def claim_target(
        self, target_time: datetime, *, owner: str, incarnation: int
    ) -> bool:
        await trio.lowlevel.checkpoint()
        claim, target = Claim(owner, incarnation), self._open(target_time)
        if target is None or target.claim not in (None, claim):
            return False
        target.claim = claim
        return True

    async def record_soil_scores(self, outcome: ScoredTarget) -> None:
        await trio.lowlevel.checkpoint()
        target = self._open(outcome.target_time)
        if target is None:
            return
        target.close()
        kept = tuple(
            score
            for score in outcome.scores
            if score.hotkey in self._miners and score.number in target.regions
        )
        means = ScoredTarget(outcome.target_time, kept).means()
        row = self._rows.setdefault((outcome.target_time, "soil_moisture"), {})
        for hotkey, mean in means.items():
            row.setdefault(hotkey, mean)

    async def postpone_target(
        self, target_time: datetime, *, attempt: int, retry_at: datetime, error: str
    ) -> None:
        await trio.lowlevel.checkpoint()
        target = self._open(target_time)
        if target is not None and target.attempts < attempt:
            target.attempts, target.retry_at = attempt, retry_at
            target.claim = None

    async def abandon_target(self, target_time: datetime) -> None:
        await trio.lowlevel.checkpoint()
        target = self._open(target_time)
        if target is not None:
            target.close()
