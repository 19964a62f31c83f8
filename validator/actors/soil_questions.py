"""What the database can be asked about soil moisture; see ``questions``."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime

import attrs

from validator.actors.questions import Question
from validator.domain.metagraph import MINERS_AT_ONCE
from validator.domain.soil import (
    REGIONS_AT_ONCE,
    DueTarget,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
)
from validator.ports import Store


@attrs.frozen
class SaveRegions(Question[None]):
    """See `SoilStore.save_regions`."""

    prepared: tuple[PreparedRegion, ...] = attrs.field(
        validator=attrs.validators.max_len(REGIONS_AT_ONCE)
    )

    def put(self, store: Store) -> Awaitable[None]:
        return store.save_regions(self.prepared)


@attrs.frozen
class KnownRegions(Question[Sequence[Region]]):
    """See `SoilStore.regions`."""

    abandon = "cancel"
    target_time: datetime

    def put(self, store: Store) -> Awaitable[Sequence[Region]]:
        return store.regions(self.target_time)


@attrs.frozen
class UnsentRegions(Question[Sequence[PreparedRegion]]):
    """See `SoilStore.unsent_regions`."""

    abandon = "cancel"
    target_time: datetime
    after: int = -1

    def put(self, store: Store) -> Awaitable[Sequence[PreparedRegion]]:
        return store.unsent_regions(self.target_time, after=self.after)


@attrs.frozen
class RegionSent(Question[None]):
    """See `SoilStore.region_sent`."""

    target_time: datetime
    number: int

    def put(self, store: Store) -> Awaitable[None]:
        return store.region_sent(self.target_time, self.number)


@attrs.frozen
class SaveSoilForecasts(Question[int]):
    """See `SoilStore.save_soil_forecasts`."""

    forecasts: tuple[SoilForecast, ...] = attrs.field(
        validator=attrs.validators.max_len(MINERS_AT_ONCE)
    )

    def put(self, store: Store) -> Awaitable[int]:
        return store.save_soil_forecasts(self.forecasts)


@attrs.frozen
class SoilForecasts(Question[Sequence[SoilForecast]]):
    """See `SoilStore.soil_forecasts`."""

    abandon = "cancel"
    target_time: datetime
    number: int
    after: str = ""

    def put(self, store: Store) -> Awaitable[Sequence[SoilForecast]]:
        return store.soil_forecasts(self.target_time, self.number, after=self.after)


@attrs.frozen
class DueTargets(Question[Sequence[DueTarget]]):
    """See `SoilStore.due_targets`."""

    abandon = "cancel"
    until: datetime
    now: datetime

    def put(self, store: Store) -> Awaitable[Sequence[DueTarget]]:
        return store.due_targets(until=self.until, now=self.now)


@attrs.frozen
class ClaimTarget(Question[bool]):
    """See `SoilStore.claim_target`."""

    target_time: datetime
    owner: str
    incarnation: int

    def put(self, store: Store) -> Awaitable[bool]:
        return store.claim_target(
            self.target_time, owner=self.owner, incarnation=self.incarnation
        )


@attrs.frozen
class RecordSoilScores(Question[None]):
    """See `SoilStore.record_soil_scores`."""

    outcome: ScoredTarget

    def put(self, store: Store) -> Awaitable[None]:
        return store.record_soil_scores(self.outcome)


@attrs.frozen
class PostponeTarget(Question[None]):
    """See `SoilStore.postpone_target`."""

    target_time: datetime
    attempt: int
    retry_at: datetime
    error: str

    def put(self, store: Store) -> Awaitable[None]:
        return store.postpone_target(
            self.target_time,
            attempt=self.attempt,
            retry_at=self.retry_at,
            error=self.error,
        )


@attrs.frozen
class AbandonTarget(Question[None]):
    """See `SoilStore.abandon_target`."""

    target_time: datetime

    def put(self, store: Store) -> Awaitable[None]:
        return store.abandon_target(self.target_time)
