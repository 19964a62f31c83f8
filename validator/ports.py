"""What the actors need from the outside world.

A port names the need; an adapter names the vendor; ``validator.app`` introduces
them. Every port has a fake in ``validator.simulation`` that passes the same
contract tests as the real adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal, Protocol

import attrs

from validator.domain.answers import FailureKind
from validator.domain.dst import DstSeries
from validator.domain.metagraph import MINERS_AT_ONCE, Metagraph, Miner
from validator.domain.payload import Payload
from validator.domain.scoring import EarnedRow, Excuse, Prediction, ScoredHour
from validator.domain.soil import (
    REGIONS_AT_ONCE,
    DueTarget,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
)

Phase = Literal["handshake", "query", "answer"]

PRUNED_AT_ONCE = 24
"""How many hours, targets and score rows `Store.prune` deletes at the most, each."""


class MinerError(Exception):
    """A miner did not give what it should: the miner's failure, never a bug of ours."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind: FailureKind = kind
        self.detail = detail


class KeyUnknown(MinerError):
    """The miner does not know our symmetric key (any more): shake hands again."""


@attrs.frozen
class Seen:
    """What a miner's server has shown of itself, whatever it said."""

    clock_offset: float | None = None
    """Seconds that its clock is ahead of ours, by its latest response that says so."""
    certificate: str | None = None
    """SHA-256 of the certificate it showed last, in hexadecimal digits."""


class MinerConnection(Protocol):
    """One miner's server. Keeps the symmetric key and the connection between calls.

    No call has a time limit of its own: the caller sets a scope round the whole
    exchange. After a cancellation the connection stays usable.
    """

    @property
    def seen(self) -> Seen:
        """What the miner's server has shown so far."""
        ...

    @property
    def has_key(self) -> bool:
        """Whether a handshake has succeeded and its key was not refused since."""
        ...

    async def handshake(self) -> None:
        """Agree on a fresh symmetric key.

        Raises:
            MinerError: the miner refused, answered nonsense or is not there.
        """
        ...

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        """Send one encrypted question to ``path``; return the decoded JSON answer.

        An answer of more than ``limit`` bytes is not read to its end.

        Raises:
            KeyUnknown: shake hands again, then ask once more.
            MinerError: the miner refused, answered nonsense or is not there.
        """
        ...


Connect = Callable[[Miner], AbstractAsyncContextManager[MinerConnection]]
"""Opens a connection object for one miner (no I/O yet) and closes it at the end."""


class WeightsRefused(Exception):
    """The chain did not accept the weights; says why. Nothing was changed."""


class Chain(Protocol):
    """The subnet's chain, as seen by a validator."""

    async def metagraph(self) -> Metagraph:
        """Who is registered now, and as of which block."""
        ...

    async def blocks_until_weights(self) -> int:
        """How many blocks must pass before weights may be set; 0: now."""
        ...

    async def set_weights(self, weights: Mapping[int, int]) -> int:
        """Submit weights (uid -> u16) and wait until they are in a block; return it.

        Raises:
            WeightsRefused: too soon, unknown uid, or the chain said no.
        """
        ...


class DstSource(Protocol):
    """Where observed Dst values come from."""

    async def published(self, now: datetime) -> DstSeries:
        """All hourly values known at ``now``: an hour's value once the hour is over."""
        ...


class Calendar(Protocol):
    """Data time: UTC as the tasks see it.

    In production it runs with the wall clock; in the demonstration an hour takes
    seconds. Timeouts never use it: they run on trio's clock.
    """

    def now(self) -> datetime:
        """The present data time, UTC."""
        ...

    async def sleep_until(self, when: datetime) -> None:
        """Wait until data time reaches ``when``; at once if it is past."""
        ...


class SoilStore(Protocol):
    """The soil-moisture side of the `Store`, which has promises for all methods.

    A page begins behind ``after``, the key of the last one of the page before, and has
    at most ``limit`` entries; an empty one is the end. What is stored meanwhile makes
    no page repeat or leave out what was there before.
    """

    async def save_regions(self, prepared: Sequence[PreparedRegion]) -> None:
        """Store regions and their images as not sent yet.

        One that exists, by (target, number) or by (target, box), is left as it is; one
        of a closed target is dropped.
        """
        ...

    async def regions(self, target_time: datetime) -> Sequence[Region]:
        """All regions of a target, sent or not, by number."""
        ...

    async def unsent_regions(
        self, target_time: datetime, *, after: int = -1, limit: int = REGIONS_AT_ONCE
    ) -> Sequence[PreparedRegion]:
        """A page of the regions of an open target that were not sent, by number."""
        ...

    async def region_sent(self, target_time: datetime, number: int) -> None:
        """Record that the region went out to all miners."""
        ...

    async def save_soil_forecasts(self, forecasts: Sequence[SoilForecast]) -> int:
        """Store forecasts; return how many belong to a known miner.

        Those of unknown hotkeys or regions, and for closed targets, are dropped. One
        that exists for (target, number, hotkey) is left as it is.
        """
        ...

    async def soil_forecasts(
        self,
        target_time: datetime,
        number: int,
        *,
        after: str = "",
        limit: int = MINERS_AT_ONCE,
    ) -> Sequence[SoilForecast]:
        """A page of the forecasts of one region, by hotkey."""
        ...

    async def due_targets(
        self, *, until: datetime, now: datetime
    ) -> Sequence[DueTarget]:
        """The open targets <= ``until`` that are not to be retried after ``now``."""
        ...

    async def claim_target(
        self, target_time: datetime, *, owner: str, incarnation: int
    ) -> bool:
        """Mark an open target as processing by this owner; False if it is another's.

        It stays so until it is scored, postponed, abandoned or released.
        """
        ...

    async def record_soil_scores(self, outcome: ScoredTarget) -> None:
        """Store scores and history, and close the target.

        Its images and forecasts are deleted. Scores of unknown hotkeys or regions are
        dropped. A target that is closed, or that there is not, is left as it is.
        """
        ...

    async def postpone_target(
        self, target_time: datetime, *, attempt: int, retry_at: datetime, error: str
    ) -> None:
        """Record that the ``attempt``-th try (from 1) to score an open target failed.

        The claim is released. An attempt that is recorded already is left as it is.
        """
        ...

    async def abandon_target(self, target_time: datetime) -> None:
        """Close a target without scores; its images and forecasts are deleted."""
        ...


class Store(SoilStore, Protocol):
    """What must survive a restart. Each method is one transaction: all or nothing.

    Every write is idempotent by key, so that a caller who does not know whether
    its write was committed may repeat it.

    All methods raise ``TimeoutError`` when the operation's limit passes,
    ``StoreUnavailable`` when the database cannot be reached, went away or is full, and
    ``OutcomeUnknown``, which is the only one of them after which a write may be stored.
    """

    async def ping(self) -> None:
        """Make sure that the database answers."""
        ...

    async def register_miners(self, miners: Sequence[Miner]) -> None:
        """Remember each of ``miners``, in this order, as the occupant of its uid.

        A hotkey that is already known keeps what it earned and is moved. Another
        hotkey found at the uid is forgotten first, as by ``forget_miners``.
        """
        ...

    async def forget_miners(self, hotkeys: Sequence[str]) -> None:
        """Delete the miners and everything of theirs: predictions, history, scores."""
        ...

    async def miners(self) -> Sequence[Miner]:
        """The remembered miners, by uid."""
        ...

    async def save_predictions(
        self, predictions: Sequence[Prediction], excuses: Sequence[Excuse] = ()
    ) -> int:
        """Store predictions as pending; return how many belong to a known miner.

        Those of unknown hotkeys are dropped (the miner was deregistered meanwhile).
        A prediction that exists for (hour, hotkey) is left as it is, and counted; so
        is one for an hour that is already scored. The same goes for excuses, without
        being counted. The hours count as asked.
        """
        ...

    async def pending_hours(self, before: datetime) -> Sequence[datetime]:
        """Hours < ``before`` that were asked and not yet scored, in order."""
        ...

    async def open_hour(self, hour: datetime) -> None:
        """Record that the question about ``hour`` went out, answered or not."""
        ...

    async def claim_predictions(
        self, hour: datetime, *, owner: str, incarnation: int
    ) -> Sequence[Prediction]:
        """Mark the hour's pending predictions as processing by this owner; return them.

        Rows this same owner and incarnation already holds are returned again.
        """
        ...

    async def record_scores(self, outcome: ScoredHour) -> bool:
        """Store the scores and the history of one hour; delete its predictions.

        Scores of hotkeys that are no longer known are dropped. An hour that is
        already scored is left as it is. So is one with a prediction that ``outcome``
        has no score for, as it came late or is in work elsewhere, and False returned.
        """
        ...

    async def release_claims(self, *, owner: str | None) -> int:
        """Set rows held by any incarnation of ``owner`` back to pending; how many.

        None: whoever holds them.
        """
        ...

    async def score_rows(self, since: datetime) -> Sequence[EarnedRow]:
        """What was scored about times >= ``since``, oldest first, by known miners."""
        ...

    async def processing_rows(self) -> int:
        """How many rows are marked as processing by anybody."""
        ...

    async def prune(self, before: datetime) -> int:
        """Delete some of what is about times < ``before``, the oldest first.

        Returns how many hours, targets and score rows went, with all that belonged to
        them; 0: nothing is left. What is asked and not scored goes as well.
        """
        ...


class StoreUnavailable(Exception):
    """The database cannot be reached or cannot do it now; nothing was stored."""


class ConnectionLost(StoreUnavailable):
    """The connection is gone, and nothing was stored: open another."""


class OutcomeUnknown(Exception):
    """The connection was lost before the database confirmed a write.

    It may be stored or not. Open another connection and repeat it: that does no harm.
    """


OpenStore = Callable[[], AbstractAsyncContextManager[Store]]
"""Opens one connection to the database; closes it at the end, also when cancelled."""

OpenDatabase = Callable[[], AbstractAsyncContextManager[OpenStore]]
"""Makes sure that the database can be used, and starts whatever drives connections.

All connections have to be closed before the block ends; those that are not are lost.
"""


class Lease(Protocol):
    """The right to act for a hotkey, which only one validator has at a time."""

    async def take(self) -> bool:
        """Take it, unless somebody else has it; tell whether it is ours.

        Whoever has it may take it again and again, and so knows that it still has it.

        Raises:
            StoreUnavailable: the connection is lost, and the lease with it.
            TimeoutError: so it may be.
        """
        ...


OpenLease = Callable[[], AbstractAsyncContextManager[Lease]]
"""Connects to whoever gives the lease out; gives it back at the end of the block."""
