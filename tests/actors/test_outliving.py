"""Tasks that outlive the handler that started them serve nobody, and may ask all."""

from __future__ import annotations

import pytest
import trio
import trio.lowlevel
from jobs import Do, Ping, Told, Worker, sleeps
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed, Ref, open_actor


async def test_a_task_that_outlives_its_handler_may_ask_its_own_actor() -> None:
    heard: list[str] = []

    async def ask(ref: Ref[Worker]) -> None:
        heard.append(await ref.ask(Ping()))

    async def start(worker: Worker) -> None:
        worker.nursery.start_soon(ask, worker.ctx.me)

    async with open_actor(Worker, name="me") as me:
        await me.ask(Do(start))
        await wait_all_tasks_blocked()
    assert heard == ["me"]


async def test_a_task_that_outlives_its_handler_answers_no_other_question() -> None:
    async def misplaced(worker: Worker) -> None:
        with pytest.raises(RuntimeError, match="none is being handled here"):
            worker.ctx.defer(trio.lowlevel.checkpoint)
        async with worker.ctx.operation("beside", hard=100):
            await trio.sleep(5)

    async def start(worker: Worker) -> None:
        worker.nursery.start_soon(misplaced, worker)

    with pytest.raises(ActorCrashed, match="timeout"):
        async with open_actor(Worker, handler_timeout=3) as worker:
            await worker.ask(Do(start))
            await worker.ask(Do(sleeps(20)))
    assert trio.current_time() == 3, "its operation was not the handler's"


async def test_a_task_that_outlives_its_handler_waits_for_room_at_its_own_actor() -> (
    None
):
    sent: list[float] = []

    async def send(ref: Ref[Worker]) -> None:
        assert ref.tell(Told(sleeps(0)))
        await ref.send(Told(sleeps(0)))
        sent.append(trio.current_time())

    async def start(worker: Worker) -> None:
        worker.nursery.start_soon(send, worker.ctx.me)
        await trio.sleep(2)

    async with open_actor(Worker, mailbox=1) as me:
        await me.ask(Do(start))
        await wait_all_tasks_blocked()
    assert sent == [2], "and was not refused for waiting for itself"


async def test_a_task_that_outlives_its_actor_asks_as_anybody() -> None:
    heard: list[str] = []

    async def ask(ended: trio.Event) -> None:
        await ended.wait()
        heard.append(await other.ask(Ping()))

    async with open_actor(Worker, name="other") as other, trio.open_nursery() as host:
        ended = trio.Event()

        async def start(worker: Worker) -> None:
            host.start_soon(ask, ended)

        async with open_actor(Worker) as worker:
            await worker.ask(Do(start))
        ended.set()
    assert heard == ["other"]
