"""Probes: actors that stand in for others, note what they get, and do as told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import trio

from actors import Ask, Envelope, Inbox, Message, Rejected, function_actor

M = TypeVar("M", bound=Message[Any])
P = TypeVar("P")
R = TypeVar("R")


class Probe(Generic[P]):
    """Stands in for an actor of type ``P``, in a simulation or an ordinary test.

    It is a factory, so it goes where the class of the real one would::

        store = Probe[Store]()
        child = Child("store", store)      # or: async with open_actor(store) as ref
        ...
        request = await store.expect(Load)
        request.reply("what was loaded")

    It takes whatever it is sent, at once. What it was told by `answer` to answer, it
    answers; everything else waits for `expect`, asks unanswered. Restarted, it goes on
    with the same script; what was unanswered has ended in `ActorCrashed`.
    """

    def __init__(self) -> None:
        self.received: list[Message[Any]] = []
        """All messages so far, in order."""
        self._script: dict[type, object] = {}
        self._unseen: deque[Envelope[Any]] = deque()
        self._arrived = trio.Event()

    def __call__(self) -> P:
        """Make the actor, for one incarnation."""
        return cast("P", _listen(self)())

    def answer(
        self, kind: type[Ask[P, R]], how: R | Exception | Callable[[Any], R]
    ) -> None:
        """Answer all messages of a class from now on.

        With a value; with what a function makes of the message; with a `Rejected`; or
        not at all, by failing with any other exception. The latest word counts.
        """
        self._script[kind] = how

    async def expect(self, kind: type[M], *, within: float = 5.0) -> Envelope[M]:
        """Wait for the next message that has not been seen; it is to be a ``kind``.

        Cancellation loses no message. ``within`` is seconds of trio time.

        Raises:
            AssertionError: none came, or another kind.
        """
        with trio.move_on_after(within):
            while not self._unseen:
                self._arrived = trio.Event()
                await self._arrived.wait()
        if not self._unseen:
            raise AssertionError(
                f"no {kind.__name__} came within {within:g} s; received so far: "
                f"{self.received}"
            )
        envelope = self._unseen.popleft()
        if not isinstance(envelope.message, kind):
            raise AssertionError(  # noqa: TRY004 - it is what a test waits for
                f"expected {kind.__name__}, but {envelope.message!r} came first"
            )
        return envelope

    def expect_nothing(self) -> None:
        """Make sure that all messages have been seen, or answered by the script.

        Raises:
            AssertionError: naming the others.
        """
        if self._unseen:
            others = [envelope.message for envelope in self._unseen]
            raise AssertionError(f"nothing more was expected, but {others} came")

    def take(self, envelope: Envelope[Any]) -> None:
        """Note a message that has come, and answer it if the script says how."""
        message = envelope.message
        self.received.append(message)
        if type(message) not in self._script:
            self._unseen.append(envelope)
            self._arrived.set()
            return
        how: Any = self._script[type(message)]
        if isinstance(how, Rejected):
            envelope.reject(how)
        elif isinstance(how, Exception):
            raise how
        else:
            envelope.reply(how(message) if callable(how) else how)


@function_actor
async def _listen(inbox: Inbox[Any], probe: Probe[Any]) -> None:
    while True:
        probe.take(await inbox.receive())
