"""Every line marked with ``# E`` must be refused by every checker, and no other."""

from __future__ import annotations

from actors import (
    Actor,
    GetState,
    Inbox,
    Ref,
    Suspend,
    Tell,
    function_actor,
    open_actor,
)
from supervision import (
    Breakers,
    Child,
    StartChild,
    Supervisor,
    System,
    guard,
    pool_of,
)
from tests.typing.accepted import (
    CountLines,
    Desk,
    GetScore,
    Line,
    Paper,
    Ping,
    Reset,
    Save,
    Scorer,
    Scores,
    Store,
    paper,
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


@function_actor
async def clerk(inbox: Inbox[Paper], title: str) -> None:
    line = await inbox.receive(Line)
    line.reply(1)  # E
    line.message.words()  # E
    question = await inbox.receive(CountLines)
    question.reply("three")  # E
    question.reply()  # E
    question.reject(ValueError())  # E
    await inbox.receive(Store)  # E
    inbox.ctx.after(1, question.message)  # E


@function_actor  # E
async def without_inbox(title: str) -> None:
    print(title)


@function_actor  # E
def not_async(inbox: Inbox[Paper]) -> None:
    print(inbox)


async def functions(system: System) -> None:
    paper()  # E
    paper(3)  # E
    paper("news", line=3)  # E
    Child("paper", paper)  # E
    other: Child[Store] = Child("paper", paper("news"))  # E
    async with open_actor(paper("news")) as sheet:
        await sheet.ask(Save(1, 1.0))  # E
        await sheet.ask(Line("x"))  # E
        sheet.tell(CountLines())  # E
    print(other, system)


def no_message(exit_: object) -> str:
    return str(exit_)


class Impatient(Desk):
    async def started(self) -> None:
        self.ctx.after(1, CountLines())  # E
        self.ctx.every(1, CountLines())  # E
        self.ctx.every(1, "message")  # E
        self.ctx.watch(self, as_=Line)  # E
        self.ctx.watch(self.ctx.me, as_=no_message)  # E
        self.ctx.watch(self.ctx.me, as_=lambda _: CountLines())  # E
        store: Ref[Store] = self.ctx.find("app/desk", Desk)  # E
        stores: list[Ref[Store]] = [*self.ctx.members("desks", Desk)]  # E
        await self.ctx.find("app/desk", Desk).ask(Save(1, 1.0))  # E
        print(store, stores)


async def stand_ins(system: System, breakers: Ref[Breakers], desk: Ref[Desk]) -> None:
    desk.tell(GetState())  # E
    state: int = await desk.ask(GetState())  # E
    await desk.send(Suspend())  # E
    pool = pool_of(Child("desks", Desk), size=3)
    await system.ref(pool).ask(Save(1, 1.0))  # E
    pool_of(Desk, size=3)  # E
    pool_of(Child("desks", Desk), size=3, route="random")  # E
    safe = guard(desk, breakers, "desk")
    await safe.ask(GetScore(1))  # E
    safe.tell(CountLines())  # E
    stores: Ref[Store] = guard(desk, breakers, "desk")  # E
    guard(desk, desk, "desk")  # E
    guard(Desk, breakers, "desk")  # E
    print(state, stores, Tell)
