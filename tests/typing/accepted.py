"""User code that every checker must accept, with the types it infers."""

from __future__ import annotations

from typing import assert_type

import attrs

from actors import Actor, Ask, Deferred, Ref, Tell, open_actor
from supervision import Breakers, Child, StartChild, Supervisor, System, guard


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
