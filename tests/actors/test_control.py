"""What every actor understands: show your state, be suspended, go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    Ask,
    GetState,
    Inbox,
    Resume,
    Suspend,
    Tell,
    function_actor,
    open_actor,
)
from supervision import Backoff, Child, System

AT_ONCE = Backoff(first=0, cap=0)


class Desk(Actor):
    """What the actors here accept."""


@attrs.frozen
class Note(Tell[Desk]):
    text: str


@attrs.frozen
class Notes(Ask[Desk, list[str]]):
    system = True


@attrs.frozen
class Crash(Tell[Desk]):
    system = True


class Clerk(Desk):
    """Writes notes down, a second each."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log
        self._own = "..."

    @Note.handled
    async def note(self, m: Note) -> None:
        await trio.sleep(1)
        self.log.append(m.text)

    @Notes.handled
    def notes(self, m: Notes) -> list[str]:
        return self.log

    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise ValueError("told to")


@function_actor
async def clerk(inbox: Inbox[Desk], log: list[str]) -> None:
    async for envelope in inbox:
        match envelope.message:
            case Note(text):
                await trio.sleep(1)
                log.append(text)
            case Notes():
                envelope.reply(log)
            case _:
                raise ValueError("told to")


Make = Callable[[list[str]], Callable[[], Desk]]


def of_class(log: list[str]) -> Callable[[], Desk]:
    return lambda: Clerk(log)


both_kinds = pytest.mark.parametrize("make", [of_class, clerk], ids=["class", "fn"])


@both_kinds
async def test_it_is_suspended_and_resumed_as_often_as_wanted(make: Make) -> None:
    log: list[str] = []
    async with open_actor(make(log)) as desk:
        for n in range(1, 4):
            await desk.ask(Suspend())
            desk.tell(Note(f"note {n}"))
            await trio.sleep(5)
            assert len(log) == n - 1
            assert desk.snapshot().state == "suspended"
            await desk.ask(Resume(), timeout=1)
            await trio.sleep(5)
            assert len(log) == n
            assert desk.snapshot().state == "running"


@both_kinds
async def test_system_messages_are_read_first_every_time(make: Make) -> None:
    log: list[str] = []
    async with open_actor(make(log)) as desk:
        for n in range(3):
            begun = trio.current_time()
            desk.tell(Note("in hand"))
            await wait_all_tasks_blocked()
            for _ in range(5):
                desk.tell(Note("behind"))
            await desk.ask(GetState())
            assert trio.current_time() - begun == pytest.approx(1)
            assert len(log) == 6 * n + 1
            await trio.sleep(10)


@both_kinds
async def test_a_suspended_actor_still_answers_the_system_lane(make: Make) -> None:
    async with open_actor(make(["old"])) as desk:
        await desk.ask(Suspend())
        await desk.ask(Suspend())
        for _ in range(3):
            await desk.ask(GetState(), timeout=1)
            assert await desk.ask(Notes(), timeout=1) == ["old"]


@both_kinds
async def test_a_suspension_ends_with_the_incarnation(make: Make) -> None:
    log: list[str] = []
    child = Child("desk", make(log))
    async with System(child, backoff=AT_ONCE) as system:
        desk = system.ref(child)
        await desk.ask(Suspend())
        desk.tell(Note("kept"))
        await trio.sleep(5)
        assert log == []
        desk.tell(Crash())
        await trio.sleep(5)
        assert log == ["kept"]
        assert (desk.snapshot().state, desk.snapshot().incarnation) == ("running", 2)


@both_kinds
async def test_a_suspended_actor_can_be_stopped(make: Make) -> None:
    async with open_actor(make([])) as desk:
        await desk.ask(Suspend())
        desk.tell(Note("never"))
    assert trio.current_time() == 0


async def test_senders_to_a_suspended_actor_wait_for_room() -> None:
    log: list[str] = []
    async with open_actor(of_class(log), mailbox=1) as desk:
        await desk.ask(Suspend())
        async with trio.open_nursery() as nursery:
            for text in "abc":
                nursery.start_soon(desk.send, Note(text))
                await wait_all_tasks_blocked()
            assert desk.snapshot().senders_waiting == 2
            await desk.ask(Resume())
        await trio.sleep(5)
    assert log == ["a", "b", "c"]


async def test_a_plain_class_shows_its_public_attributes() -> None:
    async with open_actor(lambda: Clerk(["x"])) as desk:
        assert await desk.ask(GetState()) == {"log": ["x"]}


@attrs.define
class Fields(Actor):
    name: str
    _own: str = "..."
    later: int = attrs.field(init=False)
    limit: int = 3


class MoreFields(Fields):
    def __init__(self) -> None:
        super().__init__("more", "...")
        self.extra = True


async def test_an_attrs_class_shows_its_public_fields() -> None:
    async with open_actor(lambda: Fields("n", "...")) as fields:
        assert await fields.ask(GetState()) == {"name": "n", "limit": 3}


async def test_a_subclass_of_an_attrs_class_shows_its_own_attributes_too() -> None:
    async with open_actor(MoreFields) as fields:
        state = await fields.ask(GetState())
    assert state == {"name": "more", "limit": 3, "extra": True}


async def test_an_actor_may_decide_what_it_shows() -> None:
    class Discreet(Clerk):
        def inspect(self) -> Mapping[str, object]:
            return {"notes": len(self.log)}

    async with open_actor(lambda: Discreet(["x"])) as desk:
        assert await desk.ask(GetState()) == {"notes": 1}
