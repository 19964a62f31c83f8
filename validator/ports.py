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
from validator.domain.metagraph import Metagraph, Miner
from validator.domain.payload import Payload
from validator.domain.scoring import Prediction, ScoredHour, ScoreRow

Phase = Literal["handshake", "query", "answer"]


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


class Store(Protocol):
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

    async def register_miner(self, miner: Miner) -> None:
        """Remember ``miner`` as the occupant of its uid.

        A hotkey that is already known keeps what it earned and is moved. Another
        hotkey found at the uid is forgotten first, as by ``forget_miner``.
        """
        ...

    async def forget_miner(self, hotkey: str) -> None:
        """Delete the miner and everything of its: predictions, history, scores."""
        ...

    async def miners(self) -> Sequence[Miner]:
        """The remembered miners, by uid."""
        ...

    async def save_predictions(self, predictions: Sequence[Prediction]) -> int:
        """Store predictions as pending; return how many belong to a known miner.

        Those of unknown hotkeys are dropped (the miner was deregistered meanwhile).
        A prediction that exists for (hour, hotkey) is left as it is, and counted; so
        is one for an hour that is already scored. The hours count as asked.
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

    async def record_scores(self, outcome: ScoredHour) -> None:
        """Store the scores and the history of one hour; delete its predictions.

        Scores of hotkeys that are no longer known are dropped. An hour that is
        already scored is left as it is.
        """
        ...

    async def release_claims(self, *, owner: str) -> int:
        """Set rows held by any incarnation of ``owner`` back to pending; how many."""
        ...

    async def score_rows(self, since: datetime) -> Sequence[ScoreRow]:
        """Scored hours >= ``since``, oldest first, with the scores of known miners."""
        ...

    async def processing_rows(self) -> int:
        """How many rows are marked as processing by anybody."""
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
