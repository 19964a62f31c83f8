"""Every line marked with ``# E`` must be refused by every checker, and no other."""

from __future__ import annotations

from actors import Actor, Ref, open_actor
from supervision import Child, StartChild, Supervisor, System
from tests.typing.accepted import (
    GetScore,
    Ping,
    Reset,
    Save,
    Scorer,
    Scores,
    Store,
)


class WrongReply(Actor):
    @Save.handled  # E
    async def save(self, m: Save) -> str:
        return ""


class WrongReplyAtOnce(Actor):
    @Save.handled  # E
    def save(self, m: Save) -> str:
        return ""


class WrongMessage(Actor):
    @Save.handled  # E
    async def save(self, m: GetScore) -> int:
        return 1


class AnswersATell(Actor):
    @Reset.handled  # E
    async def reset(self, m: Reset) -> int:
        return 1


class TakesNoMessage(Actor):
    @Save.handled  # E
    def save(self) -> int:
        return 1


class WrongOverride(Store):
    async def save(self, m: Save) -> str:  # E
        return ""


async def use(
    store: Ref[Store],
    actor: Ref[Actor],
    scores: Ref[Scores],
    system: System,
    supervisor: Ref[Supervisor],
) -> None:
    await store.ask(GetScore(1))  # E
    await actor.ask(Save(1, 1.0))  # E
    await scores.ask(Ping())  # E
    await store.ask(Reset())  # E
    store.tell(Save(1, 1.0))  # E
    await store.send(Ping())  # E
    reply: str = await store.ask(Save(1, 1.0))  # E
    other: Ref[Scorer] = store  # E
    narrow: Ref[Scorer] = scores  # E
    late: Ref[Scorer] = await system.start(Child("late", Store))  # E
    pooled: Ref[Scorer] = await supervisor.ask(StartChild(Child("x", Store)))  # E
    await system.ref(Child("store", Store)).ask(GetScore(1))  # E
    Child("store", Store())  # E
    async with open_actor(Store) as db:
        await db.ask(GetScore(1))  # E
    print(reply, other, narrow, late, pooled)
