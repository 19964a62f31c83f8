"""User code that every checker must accept, with the types it infers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_type

import attrs

from actors import (
    Actor,
    Ask,
    Deferred,
    Envelope,
    Exit,
    GetState,
    Inbox,
    Ref,
    Rejected,
    Resume,
    Suspend,
    Tell,
    Timer,
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


@attrs.frozen
class Save(Ask["Store", int]):
    uid: int
    score: float


@attrs.frozen
class Reset(Tell["Store"]):
    pass


@attrs.frozen
class Ping(Ask[Actor, str]):
    """Any actor may handle it."""


@attrs.frozen
class GetScore(Ask["Scores", "float | None"]):
    abandon = "cancel"
    uid: int


class Scores:
    """An interface: a plain nominal class."""


class Store(Actor):
    def __init__(self) -> None:
        self.saved: list[Save] = []

    @Save.handled
    async def save(self, m: Save) -> int:
        self.saved.append(m)
        return len(self.saved)

    @Reset.handled
    def reset(self, m: Reset) -> None:
        self.saved.clear()

    @Ping.handled
    def ping(self, m: Ping) -> Deferred[str]:
        async def work() -> str:
            return "store"

        return self.ctx.defer(work)


class LoudStore(Store):
    async def save(self, m: Save) -> int:
        return 100 * await super().save(m)


class Scorer(Actor, Scores):
    @attrs.frozen
    class Forget(Ask["Scorer", bool]):
        uid: int

    def __init__(self, db: Ref[Store]) -> None:
        self.db = db

    @GetScore.handled
    async def score(self, m: GetScore) -> float | None:
        return float(await self.db.ask(Save(m.uid, 1.0), timeout=2.0))

    @Forget.handled
    def forget(self, m: Forget) -> bool:
        return True


async def in_a_system() -> None:
    store = Child("store", Store, mailbox=128)
    scorer = Child("scorer", lambda: Scorer(system.ref(store)), restart="transient")
    assert_type(store, Child[Store])
    assert_type(scorer, Child[Scorer])
    system = System(store, scorer)
    async with system:
        scores = system.ref(scorer)
        assert_type(scores, Ref[Scorer])
        assert_type(await scores.ask(GetScore(7), timeout=5), "float | None")
        assert_type(await scores.ask(Scorer.Forget(7)), bool)
        interface: Ref[Scores] = scores
        assert_type(await interface.ask(GetScore(7)), "float | None")
        breakers = await system.start(Child("breakers", Breakers))
        guarded = guard(scores, breakers, "scorer", lambda reply: reply is not None)
        assert_type(guarded, Ref[Scorer])
        assert_type(await guarded.ask(GetScore(7), timeout=5), "float | None")
        assert_type(system.ref(store).tell(Reset()), bool)
        await system.ref(store).send(Reset())
        assert_type(await system.ref(store).ask(Ping()), str)
        late = await system.start(Child("late", LoudStore))
        assert_type(late, Ref[LoudStore])
        assert_type(await late.ask(Save(1, 2.0)), int)
        pool = await system.start(Child("pool", lambda: Supervisor(store)))
        assert_type(await pool.ask(StartChild(Child("two", LoudStore))), Ref[LoudStore])


async def alone() -> None:
    async with open_actor(Store) as db, open_actor(lambda: Scorer(db)) as scorer:
        assert_type(db, Ref[Store])
        assert_type(await scorer.ask(GetScore(1)), "float | None")
    assert_type(await Store().save(Save(1, 1.0)), int)
    Store().reset(Reset())


# -- functions as actors -------------------------------------------------------


class Paper:
    """What the function below accepts."""


@attrs.frozen
class Line(Tell[Paper]):
    text: str


@attrs.frozen
class CountLines(Ask[Paper, int]):
    pass


@attrs.frozen
class Ended(Tell[Paper]):
    exit_: Exit


@function_actor
async def paper(inbox: Inbox[Paper], title: str, *, lines: int = 0) -> None:
    inbox.ctx.every(60, Line(title))
    first = await inbox.receive(Line)
    assert_type(first, Envelope[Line])
    assert_type(first.message.text, str)
    question = await inbox.receive(CountLines)
    question.reply(lines)
    question.reject(Rejected("no more paper"))
    either = await inbox.receive(Line, CountLines)
    lines += either.message == Line("end")
    async for envelope in inbox:
        assert_type(envelope, Envelope[Any])
        match envelope.message:
            case CountLines():
                envelope.reply(lines)
            case _:
                lines += 1


async def with_functions() -> None:
    child = Child("paper", paper("news", lines=3))
    assert_type(child, Child[Paper])
    async with System(child) as system, open_actor(paper("more")) as more:
        assert_type(more, Ref[Paper])
        assert_type(await system.ref(child).ask(CountLines()), int)
        assert_type(more.tell(Line("x")), bool)
        assert_type(await more.ask(GetState()), Mapping[str, object])


# -- timers, news of others, and looking them up --------------------------------


class Desk(Actor, Paper):
    """A class that accepts the same."""

    timer: Timer

    async def started(self) -> None:
        self.timer = self.ctx.after(1, Line("once"), key="line")
        self.timer = self.ctx.every(1, Line("often"), jitter=0.1)
        store = self.ctx.find("app/store", Store)
        assert_type(store, Ref[Store])
        self.ctx.watch(store, as_=Ended)
        self.ctx.watch(self.ctx.me, as_=lambda exit_: Line(exit_.kind))
        assert_type(self.ctx.members("papers", Paper), Sequence[Ref[Paper]])
        assert_type(await store.stopped(), Exit)

    @Line.handled
    def line(self, m: Line) -> None:
        pass

    @Ended.handled
    async def ended(self, m: Ended) -> None:
        pass


async def what_all_understand(system: System, anybody: Ref[Actor]) -> None:
    found = system.find("app/desk", Desk)
    for ref in (anybody, found, system.root):
        assert_type(await ref.ask(GetState()), Mapping[str, object])
        await ref.ask(Suspend(), timeout=1)
        await ref.ask(Resume())


# -- refs that stand for others --------------------------------------------------


async def in_front_of_others(breakers: Ref[Breakers]) -> None:
    pool = pool_of(Child("desks", Desk), size=3, route=repr)
    assert_type(pool, Child[Desk])
    async with System(pool) as system:
        desks = system.ref(pool)
        assert_type(desks.tell(Line("to anybody")), bool)
        safe: Ref[Paper] = guard(desks, breakers, "desks")
        await safe.send(Line("through a breaker"))
