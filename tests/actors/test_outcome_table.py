"""Each way in which an ask can end, and what it says of the message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import actors
from actors import (
    Actor,
    ActorCrashed,
    ActorError,
    ActorGone,
    Ask,
    AskCycle,
    AskTimeout,
    HandlerTimeout,
    MailboxFull,
    Ref,
    Rejected,
    Stopped,
    Tell,
    Unhandled,
)
from supervision import Child, System

How = Literal["ok", "reject", "boom", "slow", "hang"]


@attrs.frozen
class Work(Ask["Worker", str]):
    how: How = "ok"
    name: str = "the message"


@attrs.frozen
class VolatileWork(Work):
    volatile = True


@attrs.frozen
class Unknown(Ask["Worker", str]):
    pass


@attrs.frozen
class Hold(Tell["Worker"]):
    """Keep everybody waiting for a second."""

    then: How = "ok"


@attrs.frozen
class AskYourself(Ask["Worker", object]):
    request: Work


class Worker(Actor):
    def __init__(self, log: list[str]) -> None:
        self.log = log

    @Work.handled
    async def work(self, m: Work) -> str:
        self.log.append(m.name)
        match m.how:
            case "reject":
                raise Rejected("no")
            case "boom":
                raise ValueError("boom")
            case "slow":
                await trio.sleep(1)
            case "hang":
                await trio.sleep(1000)
            case "ok":
                pass
        return "done"

    @Hold.handled
    async def hold(self, m: Hold) -> None:
        await trio.sleep(1)
        if m.then == "boom":
            raise ValueError("boom")

    @AskYourself.handled
    async def ask_yourself(self, m: AskYourself) -> object:
        return await outcome_of(self.ctx.me.ask(m.request))


async def outcome_of(asking: Awaitable[object]) -> object:
    try:
        return await asking
    except (ActorError, Rejected) as error:
        return error


@attrs.define
class Stage:
    """A worker in a system, and those who come to it."""

    system: System
    child: Child[Worker]
    nursery: trio.Nursery
    outcomes: list[object] = attrs.field(factory=list)

    @property
    def ref(self) -> Ref[Worker]:
        return self.system.ref(self.child)

    async def hold(self, then: How = "ok") -> None:
        """Let the worker be busy for a second from now on."""
        self.ref.tell(Hold(then))
        await wait_all_tasks_blocked()

    async def fill(self) -> None:
        """Let there be no room behind what it is busy with."""
        await self.hold()
        self.ref.tell(Hold())

    async def ask_aside(self, request: Ask[Worker, Any]) -> None:
        """Ask in a task of its own."""

        async def ask() -> None:
            self.outcomes.append(await outcome_of(self.ref.ask(request)))

        self.nursery.start_soon(ask)
        await wait_all_tasks_blocked()

    async def heard(self) -> object:
        """What became of that."""
        await trio.sleep(100)
        (outcome,) = self.outcomes
        return outcome


async def replied(stage: Stage) -> object:
    return await stage.ref.ask(Work(), timeout=5)


async def rejected(stage: Stage) -> object:
    return await stage.ref.ask(Work("reject"))


async def crashed(stage: Stage) -> object:
    return await stage.ref.ask(Work("boom"))


async def over_its_limit(stage: Stage) -> object:
    return await stage.ref.ask(Work("hang"))


async def stopped_under_way(stage: Stage) -> object:
    await stage.ask_aside(Work("hang"))
    await stage.system.stop(stage.child)
    return await stage.heard()


async def gone_before(stage: Stage) -> object:
    await stage.system.stop(stage.child)
    return await stage.ref.ask(Work())


async def gone_while_it_waited(stage: Stage) -> object:
    await stage.hold()
    await stage.ask_aside(Work())
    await stage.system.stop(stage.child)
    return await stage.heard()


async def gone_while_it_waited_for_room(stage: Stage) -> object:
    await stage.fill()
    await stage.ask_aside(Work())
    await stage.system.stop(stage.child)
    return await stage.heard()


async def volatile_at_a_restart(stage: Stage) -> object:
    await stage.hold(then="boom")
    await stage.ask_aside(VolatileWork())
    return await stage.heard()


async def kept_at_a_restart(stage: Stage) -> object:
    await stage.hold(then="boom")
    await stage.ask_aside(Work())
    return await stage.heard()


async def late_while_handled(stage: Stage) -> object:
    return await stage.ref.ask(Work("slow"), timeout=0.5)


async def late_in_the_queue(stage: Stage) -> object:
    await stage.hold()
    return await stage.ref.ask(Work(), timeout=0.5)


async def late_waiting_for_room(stage: Stage) -> object:
    await stage.fill()
    return await stage.ref.ask(Work(), timeout=0.5)


async def no_room_and_no_time(stage: Stage) -> object:
    await stage.fill()
    return await stage.ref.ask(Work(), timeout=0)


async def thrown_out(stage: Stage) -> object:
    await stage.hold()
    await stage.ask_aside(Work())
    stage.ref.tell(Hold())
    return await stage.heard()


async def in_a_circle(stage: Stage) -> object:
    return await stage.ref.ask(AskYourself(Work()))


async def unknown(stage: Stage) -> object:
    return await stage.ref.ask(Unknown())


async def cancelled_before_its_begin(stage: Stage) -> object:
    await stage.hold()
    with trio.move_on_after(0.5):
        return await stage.ref.ask(Work())
    return trio.Cancelled


async def cancelled_while_handled(stage: Stage) -> object:
    with trio.move_on_after(0.5):
        return await stage.ref.ask(Work("slow"))
    return trio.Cancelled


@attrs.frozen
class Ending:
    play: Callable[[Stage], Awaitable[object]]
    outcome: object
    executed: bool
    cause: type[Exception] | None = None
    started: bool | None = None


TABLE = [
    Ending(replied, "done", executed=True),
    Ending(kept_at_a_restart, "done", executed=True),
    Ending(rejected, Rejected, executed=True),
    Ending(crashed, ActorCrashed, executed=True, cause=ValueError),
    Ending(over_its_limit, ActorCrashed, executed=True, cause=HandlerTimeout),
    Ending(stopped_under_way, ActorCrashed, executed=True, cause=Stopped),
    Ending(late_while_handled, AskTimeout, executed=True, started=True),
    Ending(cancelled_while_handled, trio.Cancelled, executed=True),
    Ending(late_in_the_queue, AskTimeout, executed=False, started=False),
    Ending(late_waiting_for_room, AskTimeout, executed=False, started=False),
    Ending(cancelled_before_its_begin, trio.Cancelled, executed=False),
    Ending(gone_before, ActorGone, executed=False),
    Ending(gone_while_it_waited, ActorGone, executed=False),
    Ending(gone_while_it_waited_for_room, ActorGone, executed=False),
    Ending(volatile_at_a_restart, ActorGone, executed=False),
    Ending(no_room_and_no_time, MailboxFull, executed=False),
    Ending(thrown_out, MailboxFull, executed=False),
    Ending(in_a_circle, AskCycle, executed=False),
    Ending(unknown, Unhandled, executed=False),
]


@pytest.mark.parametrize("ending", TABLE, ids=[e.play.__name__ for e in TABLE])
async def test_an_ask_ends_in_one_way_that_tells_whether_it_was_executed(
    ending: Ending,
) -> None:
    log: list[str] = []
    child = Child(
        "worker",
        lambda: Worker(log),
        mailbox=1,
        overflow="drop_oldest" if ending.play is thrown_out else "wait",
        handler_timeout=20,
    )
    async with System(child) as system, trio.open_nursery() as nursery:
        outcome = await outcome_of(ending.play(Stage(system, child, nursery)))
        await trio.sleep(1000)  # nor is it executed later
    kind = type(outcome) if isinstance(outcome, Exception) else outcome
    assert kind == ending.outcome
    assert log == ["the message"] * ending.executed
    if isinstance(outcome, ActorError):
        assert outcome.path == "app/worker"
        assert isinstance(outcome.message, Work | Unknown)
        assert getattr(outcome, "started", None) == ending.started
        assert type(outcome.__cause__) is (ending.cause or type(None))


def test_no_outcome_is_missing_in_the_table() -> None:
    public: set[object] = {
        kind
        for kind in vars(actors).values()
        if isinstance(kind, type) and issubclass(kind, ActorError | Rejected)
    }
    assert public - {ActorError} <= {ending.outcome for ending in TABLE}
