"""Rounds: one question to many miners at once, each result told as it comes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import suppress
from functools import partial

import attrs
import trio

from actors import (
    Actor,
    ActorError,
    ActorGone,
    Ask,
    AskTimeout,
    Deferred,
    Ref,
    Tell,
)
from supervision import Backoff, BreakerPolicy, Breakers, ResetBreaker
from supervision.breaker import Outcome, Permit, Refused
from supervision.breakers import Admit, Settle
from validator.actors.miner import (
    ANSWER_LIMIT,
    AskMiner,
    MinerAnswered,
    MinerClient,
    MinerFailed,
    NotServing,
    Result,
    ShakeHands,
)
from validator.actors.permits import Permits
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.domain.trouble import Trouble, clock_error, trouble
from validator.events import ClockOff, MinerTimedOut, MinerTrouble, NobodyHeard
from validator.settings import Settings

Roster = Mapping[Miner, Ref[MinerClient]]

ALL_MINERS = "all miners"
"""Key of the breaker that opens when all fail at once."""

SENDING = 256_000
"""Bytes that sending a question holds at the most, however large it is: pieces of it,
encrypted, on their way through TLS."""

PATIENCE = 1.0
"""Seconds after which a round does without its breakers."""


def miner_policy(key: Hashable) -> BreakerPolicy:
    """When miners are not asked: the policy for the breakers of the rounds.

    A miner that failed five times is greeted before each round instead of asked, and
    asked again if it answers that. Time alone would let it miss rounds. When all fail,
    once is enough, and time is all there is.
    """
    if key == ALL_MINERS:
        return BreakerPolicy(failures=1, wait=Backoff(first=30.0, cap=300.0))
    day = 86_400.0
    return BreakerPolicy(failures=5, wait=Backoff(first=day, cap=day))


class ResultTaker:
    """Who is told how a round goes."""


@attrs.frozen
class TakeResult(Tell[ResultTaker]):
    """How one miner did in a round."""

    round: str
    result: Result


@attrs.frozen
class RoundSummary:
    """How a round went; its results have been told before."""

    asked: int
    """Miners that were told of; those not serving are not among them."""
    answered: int
    failed: Mapping[FailureKind, int]
    trouble: Trouble | None = None
    """Not None: the fault is ours, and the round says nothing about any miner."""
    clock_error: float | None = None
    """Seconds that our clock is behind that of most miners, if it is wrong."""


@attrs.frozen
class AskMiners(Ask["Rounds", RoundSummary]):
    """Ask all of ``miners`` at once; each result is sent to ``to`` as it comes.

    The summary is the reply, after the last. What has not come ``deadline`` seconds
    after the beginning has failed by a timeout, so there is one result of each miner.
    The round waits while ``to`` has no room: do not ask from one of its handlers.
    If whoever asks does not wait any longer, the round is abandoned.

    When all failed a short while ago, nobody is asked: the summary says so at once.
    """

    abandon = "cancel"
    round: str
    """What the results are marked with."""
    miners: Roster = attrs.field(repr=False)
    endpoint: str
    payload: Payload
    deadline: float
    to: Ref[ResultTaker]
    answer_limit: int = ANSWER_LIMIT


class Rounds(Actor):
    """Asks miners; any number of rounds at once share what may be under way."""

    _permits: Permits

    def __init__(self, breakers: Ref[Breakers], settings: Settings) -> None:
        self._breakers = breakers
        self._settings = settings

    async def started(self) -> None:
        self._permits = Permits(
            self.ctx,
            count=self._settings.miners_at_once,
            size=self._settings.bytes_in_flight,
        )

    @AskMiners.handled
    def ask_miners(self, m: AskMiners) -> Deferred[RoundSummary]:
        return self.ctx.defer(partial(self._hold, m))

    async def _hold(self, m: AskMiners) -> RoundSummary:
        together = await self._admit(ALL_MINERS, m.deadline)
        if isinstance(together, Refused):
            return RoundSummary(0, 0, {}, "network")
        round_ = _Round(self, m)
        async with trio.open_nursery() as nursery:
            for miner, client in m.miners.items():
                nursery.start_soon(round_.ask, miner, client)
        summary = round_.summary()
        self._report(m, summary)
        self._settle_all(round_, summary)
        down = summary.trouble == "network"
        self._settle(ALL_MINERS, together, "failed" if down else "ok", "nobody heard")
        return summary

    def _report(self, m: AskMiners, summary: RoundSummary) -> None:
        path = self.ctx.me.path
        if summary.clock_error is not None:
            self.ctx.emit(ClockOff(path, summary.clock_error))
        if summary.trouble == "network":
            self.ctx.emit(NobodyHeard(path, summary.asked))

    # -- breakers ---------------------------------------------------------------------

    async def admit(
        self, miner: Miner, client: Ref[MinerClient], deadline: float
    ) -> Permit | MinerFailed | None:
        """Whether the miner is to be asked: None means without a breaker.

        One that failed too often is greeted first, and spared a failure of the round
        if that goes well.
        """
        seconds = deadline - trio.current_time()
        permit = await self._admit(miner.hotkey, seconds)
        if not isinstance(permit, Refused):
            return permit
        failed = await client.ask(ShakeHands(), timeout=seconds)
        if failed is not None:
            detail = f"{failed.detail}; before that {permit.last_failure}"
            return attrs.evolve(failed, kind="breaker_open", detail=detail)
        await self._breakers.ask(ResetBreaker(miner.hotkey), timeout=PATIENCE)
        again = await self._admit(miner.hotkey, seconds)
        return None if isinstance(again, Refused) else again

    async def _admit(self, key: Hashable, seconds: float) -> Permit | Refused | None:
        # Not by a guarded ref: whether a failure counts is known only at the end of
        # the round. Twice the time, so that the permit outlives it.
        try:
            return await self._breakers.ask(
                Admit(key, 2 * max(seconds, 1.0)), timeout=PATIENCE
            )
        except ActorError:
            return None  # a breaker must not be what keeps us from asking

    def _settle_all(self, round_: _Round, summary: RoundSummary) -> None:
        for hotkey, (permit, result) in round_.done.items():
            outcome, failure = _verdict(result, summary)
            self._settle(hotkey, permit, outcome, failure)

    def _settle(
        self, key: Hashable, permit: Permit | None, outcome: Outcome, failure: str
    ) -> None:
        if permit is not None:
            self._breakers.tell(Settle(key, permit, outcome, failure))


class _Round:
    """One round while it lasts."""

    def __init__(self, rounds: Rounds, m: AskMiners) -> None:
        self._rounds = rounds
        self._permits = rounds._permits
        self._emit = rounds.ctx.emit
        self._path = rounds.ctx.me.path
        self._m = m
        self._ends = trio.current_time() + m.deadline
        self._cost = min(2 * len(m.payload), SENDING) + m.answer_limit
        self.done: dict[str, tuple[Permit | None, Result]] = {}
        """Hotkey -> how it went."""

    async def ask(self, miner: Miner, client: Ref[MinerClient]) -> None:
        """Ask one miner, and tell what came of it."""
        permit: Permit | None = None
        begin = trio.current_time()
        try:
            admitted = await self._rounds.admit(miner, client, self._ends)
            if isinstance(admitted, MinerFailed):
                result: Result = admitted
            else:
                permit = admitted
                result = await self._ask(miner, client)
        except ActorError as error:
            result = self._unanswered(miner, error, trio.current_time() - begin)
        self.done[miner.hotkey] = (permit, result)
        if isinstance(result, MinerFailed):
            self._complain(result)
        with suppress(ActorGone):  # then so is who asked, or will not miss it
            await self._m.to.send(TakeResult(self._m.round, result))

    async def _ask(self, miner: Miner, client: Ref[MinerClient]) -> Result:
        m = self._m
        begin = trio.current_time()
        with trio.move_on_at(self._ends) as waiting:
            async with self._permits.take(self._cost):
                waiting.deadline = math.inf
                left = max(1e-3, self._ends - trio.current_time())
                question = AskMiner(m.endpoint, m.payload, m.answer_limit)
                return await client.ask(question, timeout=left)
        # Others had all there are: not the fault of this miner, which saw no question.
        detail = "no permit before the deadline of the round"
        return MinerFailed(miner, "ours", "query", detail, trio.current_time() - begin)

    def _unanswered(
        self, miner: Miner, error: ActorError, seconds: float
    ) -> MinerFailed:
        if isinstance(error, AskTimeout):
            self._emit(MinerTimedOut(self._path, miner.hotkey, "query", seconds))
            detail = f"no answer at the deadline of the round, {self._m.deadline:g} s"
            return MinerFailed(miner, "timeout", "query", detail, seconds)
        # Its client is being restarted, or has just been stopped because the miner
        # was deregistered: no answer, whatever the reason.
        return MinerFailed(miner, "ours", "query", error.detail, seconds)

    def _complain(self, failed: MinerFailed) -> None:
        if failed.kind in ("timeout", "breaker_open"):
            return  # whoever was waiting has said so; the breaker, when it opened
        what = "Failed handshake with" if failed.phase == "handshake" else "Error with"
        if failed.phase == "query":
            what = _COMPLAINTS.get(failed.kind, what)
        self._emit(MinerTrouble(self._path, failed.miner.hotkey, what, failed.detail))

    def summary(self) -> RoundSummary:
        """What came of it, once all is done."""
        results = [result for _, result in self.done.values()]
        failed: list[FailureKind] = [
            each.kind for each in results if isinstance(each, MinerFailed)
        ]
        answered = sum(isinstance(each, MinerAnswered) for each in results)
        error = clock_error(
            [
                each.clock_offset
                for each in results
                if not isinstance(each, NotServing) and each.clock_offset is not None
            ]
        )
        found = trouble(answered=answered, failed=failed, clock_error=error)
        asked = answered + len(failed)
        return RoundSummary(asked, answered, Counter(failed), found, error)


_COMPLAINTS: Mapping[FailureKind, str] = {
    "refused": "HTTP error from",
    "unreachable": "Request error from",
}


def _verdict(result: Result, summary: RoundSummary) -> tuple[Outcome, str]:
    """What a result says about its miner."""
    if isinstance(result, MinerAnswered):
        return "ok", ""
    if isinstance(result, NotServing) or summary.trouble is not None:
        return "no verdict", ""
    if result.kind in ("ours", "breaker_open"):
        return "no verdict", ""
    if result.kind == "refused" and summary.clock_error is not None:
        return "no verdict", ""  # it may have refused the time of our request
    return "failed", f"{result.kind}: {result.detail}"
