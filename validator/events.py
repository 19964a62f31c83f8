"""What the validator reports, beside the events of the runtime and the tree.

Operators grep for some of these texts (``requirements`` of the product), so the text
belongs to the event: it is filled in with the event's own fields, which the log
carries as keys as well. Texts without a space are ordinary ``noun.verb`` events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

import attrs

from actors.events import Event
from validator.domain.answers import FailureKind
from validator.domain.dst import Nanotesla
from validator.domain.scoring import ScoredHour
from validator.domain.trouble import Trouble
from validator.ports import Phase

Level = Literal["debug", "info", "warning", "error"]


@attrs.frozen
class ValidatorEvent(Event):
    """Base of the validator's own events."""

    text: ClassVar[str]
    level: ClassVar[Level] = "info"


# -- miners -------------------------------------------------------------------------


@attrs.frozen
class HandshakeDone(ValidatorEvent):
    """A fresh symmetric key was agreed on."""

    text = "Handshake successful with miner {hotkey}"
    level = "debug"
    hotkey: str


@attrs.frozen
class MinerTimedOut(ValidatorEvent):
    """An exchange with a miner was cut off."""

    text = "Timeout for miner {hotkey}: {phase} exceeded {seconds:g} s"
    level = "warning"
    hotkey: str
    phase: Phase
    seconds: float


@attrs.frozen
class MinerTrouble(ValidatorEvent):
    """A miner did not answer, for another reason than time."""

    text = "{what} miner {hotkey}: {detail}"
    level = "warning"
    hotkey: str
    what: str
    detail: str


@attrs.frozen
class ClockOff(ValidatorEvent):
    """Most miners' clocks agree that ours is wrong; they refuse one 120 s off."""

    text = "our clock seems to be {seconds:.0f} s behind that of most miners: set it"
    level = "error"
    seconds: float
    """Negative: ours is ahead."""


@attrs.frozen
class NobodyHeard(ValidatorEvent):
    """Not a word came from any miner: the fault is probably ours, and costs nobody."""

    text = "none of {asked} miners was heard of: our network seems to be down"
    level = "error"
    asked: int


@attrs.frozen
class CertificateChanged(ValidatorEvent):
    """A miner's server shows another certificate than before.

    It was renewed, or somebody else answers there now. Nothing follows from it, for
    nothing vouches for the first one either.
    """

    text = "miner.certificate_changed"
    level = "warning"
    hotkey: str
    before: str
    now: str


@attrs.frozen
class RoundStarted(ValidatorEvent):
    """A question goes out to all miners."""

    text = "Querying miners with payload size: {payload_bytes} bytes"
    hour: datetime
    """The hour the question is about, as in all events of its round."""
    miners: int
    payload_bytes: int


@attrs.frozen
class MinerResult:
    """How one miner did in one round; ``failure`` is None for an answer."""

    uid: int
    hotkey: str
    seconds: float
    failure: FailureKind | None = None
    detail: str = ""


@attrs.frozen
class RoundEnded(ValidatorEvent):
    """Every miner has answered or failed, and the answers are stored."""

    text = "Successfully queried {answered} miners"
    hour: datetime
    asked: int
    answered: int
    failed: Mapping[FailureKind, int]
    results: tuple[MinerResult, ...] = attrs.field(repr=False)


@attrs.frozen
class NobodyAnswered(RoundEnded):
    """A round in which no miner gave an answer."""

    text = "No successful responses from any miners"
    level = "warning"


@attrs.frozen
class RoundVoid(ValidatorEvent):
    """A round failed through a fault of ours: nobody is scored for it."""

    text = "round.void"
    level = "error"
    hour: datetime
    why: Trouble


@attrs.frozen
class MinerJoined(ValidatorEvent):
    """A miner was registered, or is seen for the first time."""

    text = "miner.joined"
    level = "debug"
    uid: int
    hotkey: str


@attrs.frozen
class MinerLeft(ValidatorEvent):
    """A miner was deregistered; everything of its is deleted."""

    text = "miner.left"
    uid: int
    hotkey: str


@attrs.frozen
class SlowMetagraphSync(ValidatorEvent):
    """Following the metagraph took longer than it should."""

    text = "Slow metagraph sync: {seconds:.2f}s"
    level = "warning"
    seconds: float


# -- tasks --------------------------------------------------------------------------


@attrs.frozen
class QuestionSkipped(ValidatorEvent):
    """No question goes out this hour."""

    text = "question.skipped"
    level = "warning"
    hour: datetime
    why: str


@attrs.frozen
class HourScored(ValidatorEvent):
    """The value of an hour is known and the answers about it are scored."""

    text = "hour.scored"
    hour: datetime
    truth: Nanotesla
    scored: int
    outcome: ScoredHour = attrs.field(repr=False)


@attrs.frozen
class ScoringPostponed(ValidatorEvent):
    """Some answers about an hour are in work elsewhere; the next hour tries again."""

    text = "scoring.postponed"
    level = "warning"
    hour: datetime


@attrs.frozen
class WeightsSet(ValidatorEvent):
    """The chain has accepted weights."""

    text = "weights.set"
    block: int
    miners: int
    through: datetime
    """The latest scored hour they are computed from."""
    weights: Mapping[int, int] = attrs.field(repr=False)


@attrs.frozen
class NothingEarned(ValidatorEvent):
    """No miner has earned anything, so there are no weights to be set."""

    text = "weights.none"
    level = "debug"
    rows: int
    """How many scored hours there are."""


@attrs.frozen
class WeightsPostponed(ValidatorEvent):
    """The chain did not accept weights; they are computed and tried again."""

    text = "weights.postponed"
    level = "warning"
    why: str


# -- database -----------------------------------------------------------------------


@attrs.frozen
class DatabaseTimedOut(ValidatorEvent):
    """A database operation exceeded its limit and was cancelled."""

    text = "Database operation timed out: {operation}"
    level = "error"
    operation: str
    seconds: float


@attrs.frozen
class SlowDatabase(ValidatorEvent):
    """A database operation took longer than it should."""

    text = "Slow database operation: {operation} took {seconds:.2f}s"
    level = "warning"
    operation: str
    seconds: float


@attrs.frozen
class ManyDatabaseFailures(ValidatorEvent):
    """The database has failed so many times in a row that the pool is reset."""

    text = "Multiple consecutive database failures"
    level = "error"
    failures: int
    last: str
    """What the last one was."""


@attrs.frozen
class ResettingPool(ValidatorEvent):
    """All connections are closed, after transactions under way had their time."""

    text = "Resetting database connection pool"
    level = "warning"


@attrs.frozen
class PoolReset(ValidatorEvent):
    """New connections work."""

    text = "Reset database connection pool"
    seconds: float
    """Since the reset began; mostly the time for which the database was down."""


@attrs.frozen
class SlowHealthCheck(ValidatorEvent):
    """The database took long for the least that can be asked."""

    text = "Slow DB health check: {seconds:.2f}s"
    level = "warning"
    seconds: float


@attrs.frozen
class HealthCheckFailed(ValidatorEvent):
    """The database did not answer."""

    text = "Database health check failed: {error}"
    level = "error"
    error: str


@attrs.frozen
class RowsReset(ValidatorEvent):
    """Rows that an incarnation left in work are pending again."""

    text = "Reset hanging database operations"
    rows: int


@attrs.frozen
class LeaseTaken(ValidatorEvent):
    """From now on it is this validator that sets weights."""

    text = "lease.taken"


@attrs.frozen
class LeaseElsewhere(ValidatorEvent):
    """Another validator runs with the same database and hotkey."""

    text = (
        "Another validator is running with this database and hotkey; "
        "this one sets no weights"
    )
    level = "error"


@attrs.frozen
class LeaseUncertain(ValidatorEvent):
    """The lease may be lost with its connection; until it is taken anew, no weights."""

    text = "lease.uncertain"
    level = "warning"
    why: str


@attrs.frozen
class Pruned(ValidatorEvent):
    """What is older than what is kept was deleted from the database."""

    text = "database.pruned"
    rows: int
    """Hours, targets and score rows, each with all that belonged to it."""
    before: datetime


@attrs.frozen
class PruningPostponed(ValidatorEvent):
    """The database could not do it now; it is tried again."""

    text = "database.pruning_postponed"
    level = "warning"
    why: str
