"""A pool is one ref for several workers: nobody waits while one of them is idle."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st
from parts import AT_ONCE, CALM
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    AskCycle,
    AskTimeout,
    MailboxFull,
    Ref,
    Rejected,
    Resume,
    Suspend,
    Tell,
    Unhandled,
)
from actors.events import DeadLetter, Event
from supervision import Child, Metrics, System, pool_of
from supervision.events import Waited


@attrs.frozen
class Work(Ask["Worker", str]):
    """The answer is who did it."""

    seconds: float = 0.0
    key: Hashable = 0
    fails: bool = False


@attrs.frozen
class Refuse(Ask["Worker", None]):
    pass


@attrs.frozen
class Note(Tell["Worker"]):
    text: str


@attrs.frozen
class Strange(Ask[Actor, None]):
    """Nobody handles this."""


@attrs.frozen
class Relay(Ask[Any, str]):
    """Asks the pool on behalf of somebody."""


class Worker(Actor):
    def __init__(self, log: list[Any] | None = None) -> None:
        self.log = [] if log is None else log

    @Work.handled
    async def work(self, m: Work) -> str:
        self.log.append(m)
        await trio.sleep(m.seconds)
        if m.fails:
            raise ValueError("crash")
        return f"{self.ctx.me.path.rpartition('/')[2]}:{self.ctx.incarnation}"

    @Refuse.handled
    def refuse(self, m: Refuse) -> None:
        raise Rejected("not by us")

    @Note.handled
    def note(self, m: Note) -> None:
        self.log.append(m.text)


def by_key(message: Any) -> Hashable:
    key: Hashable = message.key
    return key


async def gather(ref: Ref[Worker], *asks: Work) -> list[str]:
    """All at once; the answers in the order of the asks, with the time of each."""
    answers = [""] * len(asks)

    async def ask(n: int, message: Work) -> None:
        try:
            answer = await ref.ask(message)
        except (ActorCrashed, ActorGone) as error:
            answer = type(error).__name__
        answers[n] = f"{answer} at {trio.current_time():g}"

    async with trio.open_nursery() as nursery:
        for n, message in enumerate(asks):
            nursery.start_soon(ask, n, message)
            await wait_all_tasks_blocked()
    return answers


async def test_idle_workers_come_first_and_the_rest_waits_in_the_pool() -> None:
    scorers = pool_of(Child("scorers", Worker), size=2)
    async with System(scorers) as system:
        ref = system.ref(scorers)
        answers = await gather(ref, Work(3), Work(1), Work(1), Work(5))
        assert answers == ["0:1 at 3", "1:1 at 1", "1:1 at 2", "1:1 at 7"]
        assert ref.path == "app/scorers"


async def test_the_queue_of_the_pool_is_bounded_and_senders_wait() -> None:
    scorers = pool_of(Child("scorers", Worker, mailbox=1), size=2)
    async with System(scorers) as system, trio.open_nursery() as nursery:
        ref = system.ref(scorers)
        for _ in range(4):
            nursery.start_soon(ref.ask, Work(3))
            await wait_all_tasks_blocked()
        (picture,) = system.snapshot().children
        assert (picture.mailbox, picture.senders_waiting) == (1, 1)
        assert not ref.tell(Note("no room"))
        with pytest.raises(AskTimeout) as caught:
            await ref.ask(Work(), timeout=1)
        assert not caught.value.started


async def test_round_robin_gives_each_its_turn() -> None:
    scorers = pool_of(Child("scorers", Worker), size=3, route="round_robin")
    async with System(scorers) as system:
        answers = [await system.ref(scorers).ask(Work()) for _ in range(7)]
        assert answers == ["0:1", "1:1", "2:1", "0:1", "1:1", "2:1", "0:1"]


async def test_later_workers_have_work_only_when_there_is_much() -> None:
    scorers = pool_of(Child("scorers", Worker), size=3, route="first")
    async with System(scorers) as system:
        ref = system.ref(scorers)
        assert [await ref.ask(Work()) for _ in range(3)] == ["0:1"] * 3
        answers = await gather(ref, Work(3), Work(1), Work(1), Work(1))
        assert answers == ["0:1 at 3", "1:1 at 1", "2:1 at 1", "1:1 at 2"]


async def test_who_waited_for_a_worker_is_reported(events: list[Event]) -> None:
    class Asks(Actor):
        def __init__(self, ref: Ref[Worker]) -> None:
            self._ref = ref

        @Relay.handled
        async def relay(self, m: Relay) -> str:
            return await self._ref.ask(Work(1))

    scorers = pool_of(Child("scorers", Worker), size=1)
    asks = Child("asks", lambda: Asks(system.ref(scorers)), handler_timeout=None)
    system = System(scorers, asks, on_event=[Metrics(), events.append])
    async with system, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(system.ref(scorers).ask, Work(5))
        await wait_all_tasks_blocked()
        nursery.start_soon(system.ref(asks).ask, Relay())

    waits = [event for event in events if isinstance(event, Waited)]
    assert [event.path for event in waits] == ["app/scorers", "app/scorers", "app/asks"]
    assert {event.what for event in waits} == {"scorers"}


async def test_the_workers_of_a_pool_stop_at_the_same_time() -> None:
    scorers = pool_of(Child("scorers", Worker, shutdown=2), size=3)
    async with trio.open_nursery() as nursery:
        async with System(scorers) as system:
            for _ in range(3):
                nursery.start_soon(gather, system.ref(scorers), Work(30))  # noqa: ASYNC111
            await wait_all_tasks_blocked()
            begin = trio.current_time()
        assert trio.current_time() - begin == pytest.approx(2)


async def test_messages_of_one_key_are_handled_by_one_worker_in_order() -> None:
    log: list[Any] = []
    scorers = pool_of(Child("s", lambda: Worker(log)), size=3, route=by_key)
    async with System(scorers) as system:
        asks = [Work(seconds=n % 3, key=f"k{n % 5}") for n in range(30)]
        answers = await gather(system.ref(scorers), *asks)
    workers: dict[Hashable, set[str]] = {}
    for ask, answer in zip(asks, answers, strict=True):
        workers.setdefault(ask.key, set()).add(answer.partition(" ")[0])
    assert all(len(who) == 1 for who in workers.values())
    assert len(set.union(*workers.values())) > 1
    for key in workers:
        assert [m for m in log if m.key == key] == [m for m in asks if m.key == key]


@pytest.mark.parametrize("route", ["idle", "round_robin", by_key])
async def test_what_waits_survives_the_crash_of_a_worker(route: Any) -> None:
    scorers = pool_of(Child("s", Worker), size=1, route=route, backoff=AT_ONCE)
    async with System(scorers) as system:
        answers = await gather(system.ref(scorers), Work(1, fails=True), Work(), Work())
        assert answers == ["ActorCrashed at 1", "0:2 at 1", "0:2 at 1"]


async def test_a_worker_that_backs_off_is_given_nothing() -> None:
    scorers = pool_of(Child("s", Worker), size=2)
    async with System(scorers) as system:
        ref = system.ref(scorers)
        assert await gather(ref, Work(fails=True)) == ["ActorCrashed at 0"]
        assert {await ref.ask(Work()) for _ in range(4)} == {"1:1"}


async def test_answers_rejections_and_tells_go_where_they_would() -> None:
    log: list[Any] = []
    scorers = pool_of(Child("s", lambda: Worker(log)), size=2)
    events: list[Event] = []
    async with System(scorers, on_event=[events.append]) as system:
        ref = system.ref(scorers)
        with pytest.raises(Rejected, match="not by us"):
            await ref.ask(Refuse())
        assert ref.tell(Note("one"))
        await ref.send(Note("two"))
        await wait_all_tasks_blocked()
        assert sorted(log) == ["one", "two"]
        with pytest.raises(Unhandled):
            await ref.ask(Strange())
        assert await ref.ask(Work()) in ("0:1", "1:1")
    assert not any(isinstance(e, DeadLetter) for e in events)


async def test_an_asker_that_leaves_costs_nobody_a_turn() -> None:
    log: list[Any] = []
    scorers = pool_of(Child("s", lambda: Worker(log)), size=1, route="round_robin")
    async with System(scorers) as system, trio.open_nursery() as nursery:
        ref = system.ref(scorers)
        nursery.start_soon(ref.ask, Work(10))
        await wait_all_tasks_blocked()
        for _ in range(3):
            with pytest.raises(AskTimeout):
                await ref.ask(Work(key="late"), timeout=1)
        assert await ref.ask(Work(key="patient")) == "0:1"
    assert [m.key for m in log] == [0, "patient"]


async def test_a_pool_at_its_end_finishes_what_is_begun_and_refuses_the_rest() -> None:
    scorers = pool_of(Child("s", Worker), size=1)
    answers: list[str] = []

    async def ask(system: System) -> None:
        answers.extend(await gather(system.ref(scorers), Work(2), Work(1)))

    async with trio.open_nursery() as nursery:
        async with System(scorers) as system:
            nursery.start_soon(ask, system)  # noqa: ASYNC111 - it outlives the system
            await wait_all_tasks_blocked()
    assert sorted(answers) == ["0:1 at 2", "ActorGone at 0"]


async def test_a_suspended_pool_gives_out_nothing() -> None:
    scorers = pool_of(Child("s", Worker), size=1)
    async with System(scorers) as system, trio.open_nursery() as nursery:
        ref = system.ref(scorers)
        nursery.start_soon(ref.ask, Work(1))
        nursery.start_soon(ref.ask, Work(1))
        await wait_all_tasks_blocked()
        await ref.ask(Suspend())
        await trio.sleep(10)
        (picture,) = system.snapshot().children
        assert (picture.state, picture.mailbox) == ("suspended", 1)
        await ref.ask(Resume())
        assert await ref.ask(Work()) == "0:1"


async def test_a_pool_that_was_restarted_goes_on_with_what_waits() -> None:
    scorers = pool_of(Child("s", Worker), size=1)
    async with System(scorers) as system, trio.open_nursery() as nursery:
        ref = system.ref(scorers)
        answers: list[str] = []

        async def ask() -> None:
            answers.extend(await gather(ref, Work(2), Work(1), Work(1)))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await system.restart(scorers)
    assert answers == ["0:1 at 2", "0:2 at 3", "0:2 at 4"]


async def test_a_worker_that_asks_who_asked_the_pool_is_refused() -> None:
    @attrs.frozen
    class Start(Ask["Boss", str]):
        pass

    class Boss(Actor):
        @Start.handled
        async def begin(self, m: Start) -> str:
            return await system.ref(askers).ask(AskBack())

    @attrs.frozen
    class AskBack(Ask["Asker", str]):
        pass

    class Asker(Actor):
        @AskBack.handled
        async def ask(self, m: AskBack) -> str:
            try:
                return await system.ref(boss).ask(Start())
            except AskCycle:
                return "refused"

    boss, askers = Child("boss", Boss), pool_of(Child("askers", Asker), size=1)
    async with System(boss, askers) as system:
        assert await system.ref(boss).ask(Start()) == "refused"


def test_what_is_no_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 worker"):
        pool_of(Child("s", Worker), size=0)
    with pytest.raises(ValueError, match="route must be 'idle'"):
        pool_of(Child("s", Worker), size=1, route="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="are always restarted"):
        pool_of(Child("s", Worker, restart="temporary"), size=1)


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.integers(0, 3), st.booleans(), st.floats(0, 3)),
        max_size=30,
    ),
    st.sampled_from(["idle", "round_robin", by_key]),
    st.integers(1, 3),
    st.integers(1, 4),
)
@settings(max_examples=100)
def test_every_ask_has_one_outcome_and_none_is_done_twice(
    asks: list[tuple[float, int, bool, float]], route: Any, size: int, mailbox: int
) -> None:
    log: list[Any] = []
    outcomes: list[str] = []

    async def scenario() -> None:
        child = Child("s", lambda: Worker(log), mailbox=mailbox)
        pool = pool_of(child, size=size, route=route, intensity=CALM)
        async with System(pool) as system, trio.open_nursery() as nursery:
            for n, (seconds, key, fails, patience) in enumerate(asks):
                work = Work(seconds, (key, n), fails)
                nursery.start_soon(ask, system.ref(pool), work, patience)

    async def ask(ref: Ref[Worker], work: Work, patience: float) -> None:
        try:
            outcomes.append(
                await ref.ask(work, timeout=30 if patience > 1 else patience)
            )
        except (ActorCrashed, AskTimeout, MailboxFull) as error:
            outcomes.append(type(error).__name__)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    assert len(outcomes) == len(asks)
    assert len(set(log)) == len(log), "none is done twice"
