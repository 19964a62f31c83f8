"""The miner client: one actor per miner, with its key and its connection."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from actors import Actor, Ask
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.events import HandshakeDone, MinerTimedOut
from validator.ports import Connect, KeyUnknown, MinerConnection, MinerError, Phase
from validator.settings import Settings


@attrs.frozen
class MinerAnswered:
    """The miner's decoded JSON, unchecked."""

    miner: Miner
    answer: object
    seconds: float


@attrs.frozen
class MinerFailed:
    """The miner did not answer: data, not an exception, for nothing of ours broke."""

    miner: Miner
    kind: FailureKind
    phase: Phase
    detail: str
    seconds: float


@attrs.frozen
class AskMiner(Ask["MinerClient", MinerAnswered | MinerFailed]):
    """Send one question; the answer says which miner it is from.

    The first one shakes hands first; so does one for which the miner does not know
    our key any more, once.
    """

    abandon = "cancel"
    path: str
    question: Mapping[str, object] = attrs.field(repr=False)


class MinerClient(Actor):
    """Speaks to one miner, one question at a time, each exchange within its limit."""

    _connection: MinerConnection

    def __init__(self, miner: Miner, connect: Connect, settings: Settings) -> None:
        self._miner = miner
        self._connect = connect
        self._settings = settings
        self._phase: Phase = "handshake"
        """What the question in hand is at; after an error, where it went wrong."""

    async def started(self) -> None:
        self._connection = await self.ctx.enter(self._connect(self._miner))

    @AskMiner.handled
    async def ask_miner(self, m: AskMiner) -> MinerAnswered | MinerFailed:
        begin = trio.current_time()
        try:
            if not self._connection.has_key:
                await self._shake_hands()
            answer = await self._query(m)
        except MinerError as error:
            return MinerFailed(
                self._miner,
                error.kind,
                self._phase,
                error.detail,
                trio.current_time() - begin,
            )
        return MinerAnswered(self._miner, answer, trio.current_time() - begin)

    async def _query(self, m: AskMiner) -> object:
        async with self._limit("query", self._settings.query_timeout):
            try:
                return await self._connection.ask(m.path, m.question)
            except KeyUnknown:
                # It expired, or the miner was restarted: once more, with a new one.
                await self._shake_hands()
                return await self._connection.ask(m.path, m.question)

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
