"""The miner client: one actor per miner, with its key and its connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import attrs
import trio

from actors import Actor, Ask
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.events import CertificateChanged, HandshakeDone, MinerTimedOut
from validator.ports import Connect, KeyUnknown, MinerConnection, MinerError, Phase
from validator.settings import Settings

T = TypeVar("T")

ANSWER_LIMIT = 2_000_000
"""Bytes of an answer that are read, unless its question says otherwise."""


@attrs.frozen
class MinerAnswered:
    """The miner's decoded JSON, unchecked."""

    miner: Miner
    answer: object = attrs.field(repr=False)
    seconds: float
    clock_offset: float | None = None
    """Seconds that its clock is ahead of ours, as far as it says."""


@attrs.frozen
class MinerFailed:
    """The miner did not answer: data, not an exception, for nothing of ours broke."""

    miner: Miner
    kind: FailureKind
    phase: Phase
    detail: str
    seconds: float
    clock_offset: float | None = None


@attrs.frozen
class NotServing:
    """The miner has registered no address: nothing was sent, and nothing failed."""

    miner: Miner


Result: TypeAlias = MinerAnswered | MinerFailed | NotServing


@attrs.frozen
class AskMiner(Ask["MinerClient", Result]):
    """Send one question; the answer says which miner it is from.

    The first one shakes hands first; so does one for which the miner does not know
    our key any more, once.
    """

    abandon = "cancel"
    path: str
    payload: Payload
    answer_limit: int = ANSWER_LIMIT


@attrs.frozen
class ShakeHands(Ask["MinerClient", MinerFailed | None]):
    """Agree on a new key, whether there is one or not: None, or what went wrong."""

    abandon = "cancel"


class MinerClient(Actor):
    """Speaks to one miner, one question at a time, each exchange within its limit.

    Remembers the certificate of the miner for as long as it lives; one that changes is
    reported, and believed like the one before.
    """

    _connection: MinerConnection

    def __init__(self, miner: Miner, connect: Connect, settings: Settings) -> None:
        self._miner = miner
        self._connect = connect
        self._settings = settings
        self._phase: Phase = "handshake"
        """What the question in hand is at; after an error, where it went wrong."""
        self._certificate: str | None = None

    async def started(self) -> None:
        self._connection = await self.ctx.enter(self._connect(self._miner))

    @AskMiner.handled
    async def ask_miner(self, m: AskMiner) -> Result:
        if not self._miner.serves:
            return NotServing(self._miner)
        begin = trio.current_time()
        answer = await self._tried(lambda: self._answer(m))
        if isinstance(answer, MinerFailed):
            return answer
        seconds, offset = (
            trio.current_time() - begin,
            self._connection.seen.clock_offset,
        )
        return MinerAnswered(self._miner, answer, seconds, offset)

    @ShakeHands.handled
    async def shake_hands(self, m: ShakeHands) -> MinerFailed | None:
        return await self._tried(self._shake_hands)

    async def _tried(self, work: Callable[[], Awaitable[T]]) -> T | MinerFailed:
        """Do what can fail on account of the miner."""
        begin = trio.current_time()
        try:
            return await work()
        except MinerError as error:
            return MinerFailed(
                self._miner,
                error.kind,
                self._phase,
                error.detail,
                trio.current_time() - begin,
                self._connection.seen.clock_offset,
            )
        finally:
            self._compare_certificates()

    async def _answer(self, m: AskMiner) -> object:
        if not self._connection.has_key:
            await self._shake_hands()
        async with self._limit("query", self._settings.query_timeout):
            try:
                return await self._ask(m)
            except KeyUnknown:
                # It expired, or the miner was restarted: once more, with a new one.
                await self._shake_hands()
                return await self._ask(m)

    async def _ask(self, m: AskMiner) -> object:
        return await self._connection.ask(m.path, m.payload, limit=m.answer_limit)

    async def _shake_hands(self) -> None:
        async with self._limit("handshake", self._settings.handshake_timeout):
            await self._connection.handshake()
        self.ctx.emit(HandshakeDone(self.ctx.me.path, self._miner.hotkey))

    @asynccontextmanager
    async def _limit(self, phase: Phase, seconds: float) -> AsyncGenerator[None, None]:
        """Bound a whole exchange, so that one byte a second is cut off too."""
        outer, self._phase = self._phase, phase
        with trio.move_on_after(seconds) as scope:  # noqa: ASYNC100 - the body waits
            yield
        if scope.cancelled_caught:
            path, hotkey = self.ctx.me.path, self._miner.hotkey
            self.ctx.emit(MinerTimedOut(path, hotkey, phase, seconds))
            raise MinerError("timeout", f"{phase} exceeded {seconds:g} s")
        self._phase = outer

    def _compare_certificates(self) -> None:
        before, now = self._certificate, self._connection.seen.certificate
        self._certificate = now
        if before is not None and before != now:
            path, hotkey = self.ctx.me.path, self._miner.hotkey
            self.ctx.emit(CertificateChanged(path, hotkey, before, now or "none"))
