"""Waiting for oneself is refused at once; what is no such thing is let through."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import attrs
import pytest
import trio
import trio.lowlevel
from jobs import Do, Later, Ping, Told, Worker, asks, sleeps, system_of
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    Ask,
    AskCycle,
    Inbox,
    Ref,
    function_actor,
    open_actor,
)
from supervision import Child, Supervisor, System


async def test_a_cycle_over_three_actors_is_refused_and_named() -> None:
    system, (a, b, c) = system_of("abc", restart="temporary")
    async with system:
        with pytest.raises(ActorCrashed) as caught:
            await a.ask(Do(asks(b, Do(asks(c, Do(asks(a, Ping())))))))
        error: BaseException | None = caught.value
        while error is not None and not isinstance(error, AskCycle):
            error = error.__cause__
        assert "app/c -> app/a -> app/b -> app/c" in str(error)
        assert trio.current_time() == 0


async def test_two_who_are_busy_with_notes_and_ask_each_other_are_found_out() -> None:
    system, (a, b) = system_of("ab", restart="temporary")
    outcomes: list[str] = []

    async def wait_and_ask(delay: float, other: Ref[Worker], worker: Worker) -> None:
        await trio.sleep(delay)
        try:
            outcomes.append(await other.ask(Ping()))
        except AskCycle:
            outcomes.append("refused")

    async with system:
        a.tell(Told(partial(wait_and_ask, 1, b)))
        b.tell(Told(partial(wait_and_ask, 2, a)))
        await trio.sleep(3)
    assert outcomes == ["refused", "app/b"]


async def test_a_wait_for_room_is_part_of_a_cycle() -> None:
    system, (a, b) = system_of("ab", mailbox=1, restart="temporary")

    async def nothing(worker: Worker) -> None:
        pass

    async def send(worker: Worker) -> None:
        await a.send(Told(nothing))  # fills it
        with pytest.raises(AskCycle, match="app/b -> app/a -> app/b"):
            await a.send(Told(nothing))

    async with system:
        await a.ask(Do(asks(b, Do(send))))

    system, (a, b) = system_of("ab", mailbox=1, restart="temporary")
    refused = False

    async def blocked(worker: Worker) -> None:
        await trio.sleep(1)
        b.tell(Told(nothing))
        await b.send(Told(nothing))

    async def ask_the_blocked(worker: Worker) -> None:
        nonlocal refused
        await trio.sleep(2)
        with pytest.raises(AskCycle, match="app/b -> app/a -> app/b"):
            await a.ask(Ping())
        refused = True

    async with system:
        a.tell(Told(blocked))
        b.tell(Told(ask_the_blocked))
        await trio.sleep(3)
    assert refused


async def test_a_child_that_asks_the_supervisor_that_starts_it_is_found_out() -> None:
    class Curious(Actor):
        async def started(self) -> None:
            with pytest.raises(AskCycle, match="app/x would wait for itself"):
                await system.root.ask(GetName())

    @attrs.frozen
    class GetName(Ask[Supervisor, str]):
        pass

    system = System(Child("x", Curious), name="app")
    async with system:
        assert trio.current_time() == 0


async def test_parallel_asks_of_one_handler_are_part_of_a_cycle() -> None:
    system, (a, b) = system_of("ab", restart="temporary")
    errors: list[AskCycle] = []

    async def ask(ref: Ref[Worker]) -> None:
        try:
            await ref.ask(Ping())
        except AskCycle as error:
            errors.append(error)

    async def in_parallel(worker: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, a)
            nursery.start_soon(ask, b)

    async with system:
        await a.ask(Do(in_parallel))
    assert [error.path for error in errors] == ["app/a"]


@pytest.mark.real
async def test_a_question_from_a_thread_of_a_handler_is_part_of_a_cycle() -> None:
    def in_thread(ref: Ref[Worker]) -> str:
        with pytest.raises(AskCycle):
            trio.from_thread.run(ref.ask, Ping())
        return "refused"

    async def job(worker: Worker) -> str:
        return await trio.to_thread.run_sync(in_thread, worker.ctx.me)

    async with open_actor(Worker) as worker:
        assert await worker.ask(Do(job)) == "refused"


# -- what is no cycle ---------------------------------------------------------


async def test_a_body_beside_the_messages_may_ask_its_own_actor() -> None:
    class Selfish(Worker):
        heard = ""

        async def run(self) -> None:
            Selfish.heard = await self.ctx.me.ask(Ping())

    async with open_actor(Selfish, name="me"):
        await wait_all_tasks_blocked()
    assert Selfish.heard == "me"


async def test_a_deferred_answer_may_ask_its_own_actor_and_its_asker() -> None:
    system, (a, b) = system_of("ab")
    async with system:
        assert await a.ask(Later(asks(a, Ping()))) == "app/a"
        assert await a.ask(Later(asks(b, Do(asks(a, Ping()))))) == "app/a"


async def test_who_asks_for_a_deferred_answer_does_not_wait_for_the_reader() -> None:
    system, (a, b) = system_of("ab")

    async def slow(worker: Worker) -> str:
        await trio.sleep(1)
        return "at last"

    async with system, trio.open_nursery() as nursery:
        nursery.start_soon(a.ask, Do(asks(b, Later(slow))))
        await wait_all_tasks_blocked()
        assert a.snapshot().waits_for == []
        # Has to wait until `a` is done, but will be served.
        assert await b.ask(Do(asks(a, Ping()))) == "app/a"
        assert trio.current_time() == 1


async def test_who_waits_by_two_ways_for_the_same_is_no_cycle() -> None:
    system, (a, b, c, d, e) = system_of("abcde")

    async def ask_both(worker: Worker) -> None:
        async with trio.open_nursery() as nursery:
            for ref in (b, c):
                nursery.start_soon(ref.ask, Do(asks(d, Do(sleeps(1)))))

    async with system, trio.open_nursery() as nursery:
        nursery.start_soon(a.ask, Do(ask_both))
        await wait_all_tasks_blocked()
        assert {*a.snapshot().waits_for} == {"app/b", "app/c"}
        assert await e.ask(Do(asks(a, Ping()))) == "app/a"
        assert trio.current_time() == 2


async def test_a_timer_of_an_actor_may_lead_to_any_question() -> None:
    system, (a, b) = system_of("ab")
    heard: list[str] = []

    async def tick(worker: Worker) -> None:
        heard.append(await b.ask(Ping()))

    async def set_timer(worker: Worker) -> None:
        worker.ctx.after(1, Told(tick))

    async with system:
        # The timer is set while `b` waits for `a`, and fires when it does not.
        await b.ask(Do(asks(a, Do(set_timer))))
        await trio.sleep(2)
    assert heard == ["app/b"]


async def test_a_restart_leaves_no_wait_behind() -> None:
    system, (a, b) = system_of("ab")

    async def fail(worker: Worker) -> None:
        with trio.move_on_after(1):
            await b.ask(Do(sleeps(2)))
        raise ValueError("after it has waited")

    async with system:
        with suppress(ActorCrashed):
            await a.ask(Do(fail))
        assert a.snapshot().waits_for == []
        assert await b.ask(Do(asks(a, Ping()))) == "app/a"


class Hall:
    """What the functions here accept."""


@attrs.frozen
class Enter(Ask[Hall, str]):
    pass


@attrs.frozen
class Greet(Ask[Hall, str]):
    pass


async def test_a_function_may_receive_while_its_own_tasks_ask() -> None:
    @function_actor
    async def porter(inbox: Inbox[Hall], worker: Ref[Worker]) -> None:
        async def show_in() -> None:
            enter.reply(await worker.ask(Do(greet)))

        async with trio.open_nursery() as nursery:
            enter = await inbox.receive(Enter)
            nursery.start_soon(show_in)
            (await inbox.receive(Greet)).reply("welcome")

    async def greet(worker: Worker) -> str:
        return await hall.ask(Greet())

    async with open_actor(Worker) as worker, open_actor(porter(worker)) as hall:
        assert await hall.ask(Enter()) == "welcome"


async def test_a_function_that_asks_who_waits_for_it_is_found_out() -> None:
    @function_actor
    async def porter(inbox: Inbox[Hall], worker: Ref[Worker]) -> None:
        enter = await inbox.receive(Enter)
        with pytest.raises(AskCycle, match="hall -> worker -> hall"):
            await worker.ask(Ping())
        enter.reply("alone")

    async def enter(worker: Worker) -> str:
        return await hall.ask(Enter())

    async with (
        open_actor(Worker, name="worker") as worker,
        open_actor(porter(worker), name="hall") as hall,
    ):
        assert await worker.ask(Do(enter)) == "alone"
