"""The geomagnetic task: every hour one question to all miners, scored in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import attrs

from actors import Actor, Ask, Ref
from supervision.events import LeftOver
from validator.actors.asking import DatabaseClient
from validator.actors.metagraph import GetRoster, MetagraphFollower
from validator.actors.miner import MinerFailed, NotServing, Result
from validator.actors.questions import (
    ClaimPredictions,
    OpenHour,
    PendingHours,
    RecordScores,
    ReleaseClaims,
    SavePredictions,
)
from validator.actors.rounds import (
    AskMiners,
    ResultTaker,
    Rounds,
    RoundSummary,
    TakeResult,
)
from validator.actors.weights import ScoresChanged, WeightSetter
from validator.domain.answers import AnswerRefused, FailureKind
from validator.domain.dst import DstSeries, Nanotesla
from validator.domain.payload import Payload
from validator.domain.schedule import next_hour
from validator.domain.scoring import Excuse, Prediction, Score, ScoredHour
from validator.domain.tasks import geomagnetic
from validator.events import (
    HourScored,
    MinerResult,
    NobodyAnswered,
    QuestionSkipped,
    RoundEnded,
    RoundStarted,
    RoundVoid,
    ScoringPostponed,
)
from validator.ports import Calendar, DstSource
from validator.settings import Settings

SLOW = 30.0
"""Seconds after which scoring, or a round beyond its own limit, is reported as slow."""


ANSWER_LIMIT = 64_000
"""Bytes of a miner's answer that are read; a forecast has some 150."""


@attrs.frozen
class GetResults(Ask["Geomagnetic", Sequence[Result]]):
    """What has been told so far of the round in hand."""


class Geomagnetic(Actor, ResultTaker):
    """At every full hour: ask about the next hour, then score what can be scored.

    What it works on is in the database, so that a restart loses no question that was
    answered: hours asked and not yet scored are found there, whoever asked.
    """

    def __init__(
        self,
        *,
        database: DatabaseClient,
        metagraph: Ref[MetagraphFollower],
        rounds: Ref[Rounds],
        weights: Ref[WeightSetter],
        source: DstSource,
        calendar: Calendar,
        settings: Settings,
    ) -> None:
        self._database = database
        self._metagraph = metagraph
        self._rounds = rounds
        self._weights = weights
        self._source = source
        self._calendar = calendar
        self._settings = settings
        # Of the round in hand; what is still told of others is not ours to keep.
        self._round = ""
        self._results: list[Result] = []

    async def started(self) -> None:
        self.ctx.cleanup("reset hanging rows", self._release_claims)
        # Of an earlier life that could not do it itself.
        if rows := await self._release_claims():
            self.ctx.emit(LeftOver(self.ctx.me.path, "hanging rows", rows))

    async def _release_claims(self) -> int:
        owner, limit = self.ctx.me.path, self._settings.database_timeout
        return await self._database.ask(ReleaseClaims(owner), timeout=limit)

    async def run(self) -> None:
        while True:
            hour = next_hour(self._calendar.now())
            await self._calendar.sleep_until(hour)
            limit = self._settings.source_timeout
            async with self.ctx.operation("data_fetch", soft=limit / 2, hard=limit):
                known = await self._source.published(hour)
            # Asking comes first: the hour waits for nobody, while what a failure
            # keeps from being scored now is scored an hour later.
            await self._ask_all(known, hour)
            async with self.ctx.operation("scoring", soft=SLOW):
                await self._score_all(known, hour)

    # -- asking -----------------------------------------------------------------------

    async def _ask_all(self, known: DstSeries, now: datetime) -> None:
        question = geomagnetic.question(known, now)
        path, limit = self.ctx.me.path, self._settings.database_timeout
        if isinstance(question, geomagnetic.NotAskable):
            hour = geomagnetic.target(now)
            self.ctx.emit(QuestionSkipped(path, hour, question.detail))
            return
        summary = await self._hold_round(question)
        if summary.trouble is not None:
            self.ctx.emit(RoundVoid(path, question.hour, summary.trouble))
            return
        # In the order they were told, and so after the last of the results.
        results = await self.ctx.me.ask(GetResults(), timeout=limit)
        predictions, excuses, outcomes = _sort_out(question.hour, results)
        save = SavePredictions(predictions, excuses)
        await self._database.ask(save, timeout=limit)
        # Also when nobody answered; but not before it is known whose fault that is.
        await self._database.ask(OpenHour(question.hour), timeout=limit)
        failed: Counter[FailureKind] = Counter(
            outcome.failure for outcome in outcomes if outcome.failure is not None
        )
        event = RoundEnded if predictions else NobodyAnswered
        counts = len(outcomes), len(predictions)
        self.ctx.emit(event(path, question.hour, *counts, failed, outcomes))

    async def _hold_round(self, question: geomagnetic.Question) -> RoundSummary:
        path, deadline = self.ctx.me.path, self._settings.round_timeout
        limit = self._settings.database_timeout
        roster = await self._metagraph.ask(GetRoster(), timeout=limit)
        payload = Payload.of(question.payload)
        self._round, self._results = f"geomagnetic {question.hour.isoformat()}", []
        self.ctx.emit(RoundStarted(path, question.hour, len(roster), len(payload)))
        ask = AskMiners(
            self._round,
            roster,
            geomagnetic.PATH,
            payload,
            deadline,
            self.ctx.me,
            ANSWER_LIMIT,
        )
        async with self.ctx.operation("miner_query", soft=deadline + SLOW):
            return await self._rounds.ask(ask, timeout=deadline + 2 * SLOW)

    @TakeResult.handled
    def take_result(self, m: TakeResult) -> None:
        if m.round == self._round:
            self._results.append(m.result)

    @GetResults.handled
    def results(self, m: GetResults) -> Sequence[Result]:
        return tuple(self._results)

    # -- scoring ----------------------------------------------------------------------

    async def _score_all(self, known: DstSeries, now: datetime) -> None:
        pending = await self._database.ask(
            PendingHours(now), timeout=self._settings.database_timeout
        )
        for hour in pending:
            truth = known.get(hour)
            if truth is not None:  # otherwise it is not published yet
                await self._score(hour, truth)

    async def _score(self, hour: datetime, truth: Nanotesla) -> None:
        path, limit = self.ctx.me.path, self._settings.database_timeout
        claim = ClaimPredictions(hour, path, self.ctx.incarnation)
        predictions = await self._database.ask(claim, timeout=limit)
        scores = tuple(
            Score(p.hotkey, p.value, geomagnetic.score(p.value, truth))
            for p in predictions
        )
        outcome = ScoredHour(hour, truth, scores)
        if not await self._database.ask(RecordScores(outcome), timeout=limit):
            # There are answers that are not ours to score: late, or another's work.
            self.ctx.emit(ScoringPostponed(path, hour))
            return
        self.ctx.emit(HourScored(path, hour, truth, len(scores), outcome))
        self._weights.tell(ScoresChanged(hour))


def _sort_out(
    hour: datetime, results: Sequence[Result]
) -> tuple[tuple[Prediction, ...], tuple[Excuse, ...], tuple[MinerResult, ...]]:
    """Turn what miners sent into predictions, and into one outcome per miner.

    Miners that a fault of ours has cost the question are excused.
    """
    predictions: list[Prediction] = []
    excuses: list[Excuse] = []
    outcomes: list[MinerResult] = []
    for result in results:
        if isinstance(result, NotServing):
            continue
        uid, hotkey = result.miner.uid, result.miner.hotkey
        failure, detail = None, ""
        if isinstance(result, MinerFailed):
            failure, detail = result.kind, result.detail
            if failure == "ours":
                excuses.append(Excuse(hour, hotkey))
        else:
            value = geomagnetic.parse_answer(result.answer)
            if isinstance(value, AnswerRefused):
                failure, detail = value.kind, value.detail
            else:
                predictions.append(Prediction(hour, hotkey, value))
        outcomes.append(MinerResult(uid, hotkey, result.seconds, failure, detail))
    outcomes.sort(key=lambda outcome: outcome.uid)
    return tuple(predictions), tuple(excuses), tuple(outcomes)
