"""Every ask ends in exactly one definite outcome."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    AskCycle,
    AskTimeout,
    Deferred,
    HandlerTimeout,
    MailboxFull,
    Ref,
    Rejected,
    Stop,
    Stopped,
    Tell,
    Unhandled,
    open_actor,
)
from actors.events import DeadLetter, Event, LateReply


@attrs.frozen
class Double(Ask["Worker", int]):
    n: int


@attrs.frozen
class Nap(Ask["Worker", str]):
    seconds: float


@attrs.frozen
class Doze(Ask["Worker", str]):
    """As `Nap`, but cancelled when nobody waits for it any more."""

    abandon = "cancel"
    seconds: float


@attrs.frozen
class Fail(Ask["Worker", None]):
    error: Exception


@attrs.frozen
class Later(Ask["Worker", str]):
    seconds: float


@attrs.frozen
class Note(Tell["Worker"]):
    text: str


class Worker(Actor):
    def __init__(self, log: list[object] | None = None) -> None:
        self.log = [] if log is None else log

    @Double.handled
    def double(self, m: Double) -> int:
        self.log.append(m)
        return 2 * m.n

    @Nap.handled
    async def nap(self, m: Nap) -> str:
        self.log.append(m)
        await trio.sleep(m.seconds)
        self.log.append("woke up")
        return "rested"

    @Doze.handled
    async def doze(self, m: Doze) -> str:
        try:
            await trio.sleep(m.seconds)
        except trio.Cancelled:
            self.log.append("cancelled")
            raise
        return "rested"

    @Fail.handled
    async def fail(self, m: Fail) -> None:
        raise m.error

    @Later.handled
    def later(self, m: Later) -> Deferred[str]:
        async def work() -> str:
            await trio.sleep(m.seconds)
            return "at last"

        return self.ctx.defer(work)

    @Note.handled
    def note(self, m: Note) -> None:
        self.log.append(m.text)


async def test_the_reply_comes_back() -> None:
    async with open_actor(Worker) as worker:
        assert await worker.ask(Double(21)) == 42
        assert await worker.ask(Nap(5), timeout=6) == "rested"


async def test_a_rejection_is_an_answer_and_the_actor_lives_on() -> None:
    async with open_actor(Worker) as worker:
        with pytest.raises(Rejected, match="no such thing"):
            await worker.ask(Fail(Rejected("no such thing")))
        assert await worker.ask(Double(1)) == 2


async def test_a_rejection_of_what_was_told_is_a_failure_as_nobody_hears_it() -> None:
    class Picky(Worker):
        def note(self, m: Note) -> None:
            raise Rejected(m.text)

    with pytest.raises(Rejected, match="not this"):
        async with open_actor(Picky) as picky:
            picky.tell(Note("not this"))
            await trio.sleep_forever()


async def test_a_failing_handler_crashes_its_actor_and_tells_the_asker_why() -> None:
    with pytest.raises(ActorCrashed) as caught:
        async with open_actor(Worker) as worker:
            await worker.ask(Fail(ValueError("broken")))
    assert isinstance(caught.value.__cause__, ValueError)
    assert "Fail" in str(caught.value)


async def test_a_crash_nobody_asked_about_is_raised_from_the_block() -> None:
    with pytest.raises(ValueError, match="broken"):
        async with open_actor(Worker) as worker:
            with pytest.raises(ActorCrashed):
                await worker.ask(Fail(ValueError("broken")))
            await trio.sleep_forever()


async def test_a_handler_over_its_limit_is_a_crash_by_timeout() -> None:
    with pytest.raises(HandlerTimeout):
        async with open_actor(Worker, handler_timeout=10) as worker:
            with pytest.raises(ActorCrashed) as caught:
                await worker.ask(Nap(11))
            assert isinstance(caught.value.__cause__, HandlerTimeout)
            assert trio.current_time() == pytest.approx(10)
            await trio.sleep_forever()


async def test_asks_of_a_stopped_actor_end_at_once() -> None:
    async with open_actor(Worker) as worker:
        pass
    with pytest.raises(ActorGone, match="stopped for good"):
        await worker.ask(Double(1))
    assert worker.gone is not None


async def test_an_ask_under_way_when_its_actor_stops_may_have_been_executed() -> None:
    async with trio.open_nursery() as nursery:
        async with open_actor(Worker, shutdown=1) as worker:

            async def ask() -> None:
                with pytest.raises(ActorCrashed) as caught:
                    await worker.ask(Nap(20))
                assert isinstance(caught.value.__cause__, Stopped)

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()


async def test_a_handler_that_raises_stop_ends_its_actor_normally() -> None:
    async with open_actor(Worker) as worker:
        with pytest.raises(ActorCrashed) as caught:
            await worker.ask(Fail(Stop()))
        assert isinstance(caught.value.__cause__, Stopped)
        with trio.move_on_after(1):
            await trio.sleep_forever()
    assert worker.gone is not None
    assert worker.gone.kind == "normal"


async def test_a_timeout_says_whether_the_handler_had_begun() -> None:
    log: list[object] = []
    async with open_actor(lambda: Worker(log)) as worker:
        with pytest.raises(AskTimeout) as began:
            await worker.ask(Nap(5), timeout=1)
        with pytest.raises(AskTimeout) as queued:
            await worker.ask(Double(1), timeout=1)
        await trio.sleep(10)
    assert began.value.started
    assert not queued.value.started
    assert log == [Nap(5), "woke up"], "what had not begun was never executed"


async def test_a_zero_timeout_on_a_full_mailbox_is_refused() -> None:
    async with open_actor(Worker, mailbox=1) as worker, trio.open_nursery() as nursery:
        nursery.start_soon(worker.ask, Nap(5))
        await wait_all_tasks_blocked()
        worker.tell(Note("fills it"))
        with pytest.raises(MailboxFull, match="send"):
            await worker.ask(Double(1), timeout=0)


async def test_a_caller_cancelled_before_the_start_is_never_served() -> None:
    log: list[object] = []
    async with (
        open_actor(lambda: Worker(log)) as worker,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(worker.ask, Nap(5))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await worker.ask(Double(1))
    assert log == [Nap(5), "woke up"]


async def test_a_finish_handler_runs_on_without_its_asker(events: list[Event]) -> None:
    log: list[object] = []
    async with open_actor(lambda: Worker(log), on_event=[events.append]) as worker:
        with trio.move_on_after(1):
            await worker.ask(Nap(5))
        await trio.sleep(10)
    assert log == [Nap(5), "woke up"]
    assert [e.message for e in events if isinstance(e, LateReply)] == [Nap(5)]


async def test_a_cancel_handler_ends_with_its_asker_and_its_actor_lives_on() -> None:
    log: list[object] = []
    async with open_actor(lambda: Worker(log)) as worker:
        with trio.move_on_after(1):
            await worker.ask(Doze(5))
        assert await worker.ask(Double(2)) == 4
        assert trio.current_time() == pytest.approx(1)
    assert log == ["cancelled", Double(2)]


async def test_a_finish_handler_over_its_limit_fails_even_without_its_asker() -> None:
    with pytest.raises(HandlerTimeout):
        async with open_actor(Worker, handler_timeout=5) as worker:
            with trio.move_on_after(1):
                await worker.ask(Nap(10))
            await trio.sleep_forever()


async def test_a_deferred_answer_comes_while_other_messages_are_handled() -> None:
    answers: list[object] = []
    async with open_actor(Worker) as worker, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await worker.ask(Later(5)))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        answers.append(await worker.ask(Double(1)))
    assert answers == [2, "at last"]


async def test_a_deferred_answer_that_never_comes_is_a_crash() -> None:
    async with trio.open_nursery() as nursery:
        async with open_actor(Worker) as worker:

            async def ask() -> None:
                with pytest.raises(ActorCrashed):
                    await worker.ask(Later(5))

            nursery.start_soon(ask)
            await wait_all_tasks_blocked()


@attrs.frozen
class Relay(Ask["Worker", int]):
    to: Ref[Worker]


class Relaying(Worker):
    @Relay.handled
    async def relay(self, m: Relay) -> int:
        return await m.to.ask(Double(1))


async def test_waiting_for_oneself_is_refused_and_names_the_cycle() -> None:
    with pytest.raises(AskCycle, match="a would wait for itself") as caught:
        async with (
            open_actor(Relaying, name="b") as b,
            open_actor(Relaying, name="a") as a,
        ):
            assert await a.ask(Relay(b)) == 2
            with pytest.raises(ActorCrashed):
                await a.ask(Relay(a))
            await trio.sleep_forever()
    assert caught.value.path == "a"
    assert trio.current_time() == 0


class Silent(Actor):
    """Handles nothing."""


async def test_a_message_nobody_handles_is_the_senders_mistake() -> None:
    async with open_actor(Silent) as silent:
        with pytest.raises(Unhandled, match="Silent has no handler for Double"):
            await silent.ask(Double(1))  # type: ignore[arg-type]
        with pytest.raises(Unhandled):
            silent.tell(Note("x"))  # type: ignore[arg-type]
        assert silent.gone is None


async def test_tells_to_the_gone_and_the_full_are_dead_letters(
    events: list[Event],
) -> None:
    async with open_actor(Worker, mailbox=1, on_event=[events.append]) as worker:
        assert worker.tell(Note("kept"))
        assert not worker.tell(Note("refused"))
    assert not worker.tell(Note("too late"))
    letters = [e for e in events if isinstance(e, DeadLetter)]
    assert [(e.message, e.reason) for e in letters] == [
        (Note("refused"), "overflow"),
        (Note("kept"), "gone"),  # the stop was read first
        (Note("too late"), "gone"),
    ]


def test_two_handlers_for_one_message_are_refused_with_the_class() -> None:
    with pytest.raises(TypeError, match="both double and again handle Double"):

        class Twice(Worker):
            @Double.handled
            def again(self, m: Double) -> int:
                return 0


async def test_an_undecorated_override_is_what_is_called() -> None:
    class Triple(Worker):
        def double(self, m: Double) -> int:
            return 3 * m.n

    async with open_actor(Triple) as worker:
        assert await worker.ask(Double(2)) == 6
