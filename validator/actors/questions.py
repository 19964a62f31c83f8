"""What the database can be asked: questions of the domain, never SQL.

Whoever answers has a `Store`, and each question knows which method of it to call: so
a connection needs no handler for each of them, and a new question is one class here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import TypeVar

import attrs

from actors import Ask
from actors.events import Event
from validator.domain.metagraph import FORGOTTEN_AT_ONCE, MINERS_AT_ONCE, Miner
from validator.domain.scoring import EarnedRow, Excuse, Prediction, ScoredHour
from validator.events import RowsReset
from validator.ports import Store

R = TypeVar("R")


class Database:
    """Who answers these questions: what a ref to it is a ref of."""


@attrs.frozen
class Question(Ask[Database, R]):
    """One method of the `Store`: one transaction.

    A write, once begun, runs to its end or its limit, whether anybody waits for it or
    not. A read says ``abandon = "cancel"``: it ends when nobody waits for it any more.
    """

    @property
    def operation(self) -> str:
        """What it is called in events and errors."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def put(self, store: Store) -> Awaitable[R]:
        """Ask the store."""
        raise NotImplementedError

    def report(self, path: str, answer: R) -> Event | None:
        """What is worth an event about this answer, given by the actor at ``path``."""
        return None


@attrs.frozen
class Ping(Question[None]):
    """See `Store.ping`."""

    abandon = "cancel"

    def put(self, store: Store) -> Awaitable[None]:
        return store.ping()


@attrs.frozen
class RegisterMiners(Question[None]):
    """See `Store.register_miners`."""

    miners: tuple[Miner, ...] = attrs.field(
        validator=attrs.validators.max_len(MINERS_AT_ONCE)
    )

    def put(self, store: Store) -> Awaitable[None]:
        return store.register_miners(self.miners)


@attrs.frozen
class ForgetMiners(Question[None]):
    """See `Store.forget_miners`."""

    hotkeys: tuple[str, ...] = attrs.field(
        validator=attrs.validators.max_len(FORGOTTEN_AT_ONCE)
    )

    def put(self, store: Store) -> Awaitable[None]:
        return store.forget_miners(self.hotkeys)


@attrs.frozen
class KnownMiners(Question[Sequence[Miner]]):
    """See `Store.miners`."""

    abandon = "cancel"

    def put(self, store: Store) -> Awaitable[Sequence[Miner]]:
        return store.miners()


@attrs.frozen
class OpenHour(Question[None]):
    """See `Store.open_hour`."""

    hour: datetime

    def put(self, store: Store) -> Awaitable[None]:
        return store.open_hour(self.hour)


@attrs.frozen
class SavePredictions(Question[int]):
    """See `Store.save_predictions`."""

    predictions: tuple[Prediction, ...]
    excuses: tuple[Excuse, ...] = ()

    def put(self, store: Store) -> Awaitable[int]:
        return store.save_predictions(self.predictions, self.excuses)


@attrs.frozen
class PendingHours(Question[Sequence[datetime]]):
    """See `Store.pending_hours`."""

    abandon = "cancel"
    before: datetime

    def put(self, store: Store) -> Awaitable[Sequence[datetime]]:
        return store.pending_hours(self.before)


@attrs.frozen
class ClaimPredictions(Question[Sequence[Prediction]]):
    """See `Store.claim_predictions`."""

    hour: datetime
    owner: str
    incarnation: int

    def put(self, store: Store) -> Awaitable[Sequence[Prediction]]:
        return store.claim_predictions(
            self.hour, owner=self.owner, incarnation=self.incarnation
        )


@attrs.frozen
class RecordScores(Question[bool]):
    """See `Store.record_scores`."""

    outcome: ScoredHour

    def put(self, store: Store) -> Awaitable[bool]:
        return store.record_scores(self.outcome)


@attrs.frozen
class ReleaseClaims(Question[int]):
    """See `Store.release_claims`."""

    owner: str | None

    def put(self, store: Store) -> Awaitable[int]:
        return store.release_claims(owner=self.owner)

    def report(self, path: str, answer: int) -> Event | None:
        return RowsReset(self.owner or path, answer) if answer else None


@attrs.frozen
class ScoreRows(Question[Sequence[EarnedRow]]):
    """See `Store.score_rows`."""

    abandon = "cancel"
    since: datetime

    def put(self, store: Store) -> Awaitable[Sequence[EarnedRow]]:
        return store.score_rows(self.since)


@attrs.frozen
class ProcessingRows(Question[int]):
    """See `Store.processing_rows`."""

    abandon = "cancel"

    def put(self, store: Store) -> Awaitable[int]:
        return store.processing_rows()


@attrs.frozen
class Prune(Question[int]):
    """See `Store.prune`."""

    before: datetime

    def put(self, store: Store) -> Awaitable[int]:
        return store.prune(self.before)
