"""What cannot be meant is refused where it is written, with class and line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import attrs
import pytest
import trio

from actors import (
    Actor,
    Ask,
    AskTimeout,
    MailboxFull,
    Message,
    Tell,
    Unhandled,
    function_actor,
    open_actor,
)

HERE = r"\(.*test_bad_input\.py:\d+\)"


@attrs.frozen
class Note(Tell["Desk"]):
    text: str = ""


@attrs.frozen
class Count(Ask["Desk", int]):
    pass


class Desk(Actor):
    @Note.handled
    def note(self, m: Note) -> None:
        pass

    @Count.handled
    async def count(self, m: Count) -> int:
        await trio.sleep(1)
        return 1


# -- messages -----------------------------------------------------------------


class Plain(Tell[Desk]):
    pass


@attrs.define
class Defined(Tell[Desk]):
    text: str = ""


@dataclass
class Changeable(Tell[Desk]):
    text: str = ""


@dataclass(frozen=True)
class Fixed(Ask[Actor, str]):
    text: str = ""


@attrs.frozen
class LongNote(Note):
    more: str = ""


class PlainNote(Note):
    """Inherits what keeps it from being changed."""


@pytest.mark.parametrize("kind", [Plain, Defined, Changeable])
def test_a_handler_of_a_message_that_can_change_is_refused(
    kind: type[Tell[Any]],
) -> None:
    def handler(self: object, m: object) -> None:
        pass

    with pytest.raises(TypeError, match=rf"{kind.__name__} {HERE} is a .*not frozen"):
        kind.handled(handler)


@pytest.mark.parametrize("kind", [Plain, Defined, Changeable])
async def test_a_message_that_can_change_is_refused_where_it_is_sent(
    kind: type[Tell[Any]],
) -> None:
    async with open_actor(Desk) as desk:
        with pytest.raises(TypeError, match=rf"{kind.__name__} {HERE} .* not frozen"):
            desk.tell(kind())
        with pytest.raises(TypeError, match="not frozen"):
            await desk.send(kind())
        assert desk.gone is None


def test_a_message_class_without_a_source_is_named_by_its_module() -> None:
    made: type[Tell[Any]] = attrs.make_class("Made", {}, bases=(Tell,))
    made.__module__ = "made.up"
    with pytest.raises(TypeError, match=r"made\.up\.Made is a .* not frozen"):
        made.handled(lambda self, m: None)


async def test_frozen_messages_of_all_kinds_are_accepted() -> None:
    class Fixer(Desk):
        @Fixed.handled
        def fixed(self, m: Fixed) -> str:
            return m.text

    async with open_actor(Fixer) as fixer:
        assert await fixer.ask(Fixed("yes")) == "yes"
        assert fixer.tell(LongNote())
        assert fixer.tell(PlainNote())


@pytest.mark.parametrize("what", ["text", Note, None])
async def test_what_is_no_message_is_refused(what: Any) -> None:
    async with open_actor(Desk) as desk:
        with pytest.raises(TypeError, match=r"cannot be told: it is no message"):
            desk.tell(what)
        with pytest.raises(TypeError, match=r"cannot be asked: it is no message"):
            await desk.ask(what)


async def test_a_question_is_not_told_and_a_note_not_asked() -> None:
    async with open_actor(Desk) as desk:
        for _ in range(2):  # before and after the class is known to be handled
            with pytest.raises(TypeError, match=r"Note.* has no answer; use tell or"):
                await desk.ask(Note(), timeout=1)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match=r"Count.* is a question; use ask"):
                desk.tell(Count())  # type: ignore[arg-type]
            desk.tell(Note())
            await desk.ask(Count())


@attrs.frozen
class ToLater(Tell["Later"]):
    pass


class Later(Protocol):
    pass


class Nothing(Protocol):
    pass


class Something(Protocol):
    def act(self) -> None: ...


def test_an_empty_protocol_as_receiver_is_refused() -> None:
    with pytest.raises(TypeError, match=rf"ToAll {HERE}: .*Nothing.* empty Protocol"):

        class ToAll(Tell[Nothing]):
            pass


def test_an_empty_protocol_that_is_only_named_is_refused_with_its_handler() -> None:
    def handler(self: object, m: object) -> None:
        pass

    with pytest.raises(TypeError, match=rf"ToLater {HERE}: .*Later.* empty Protocol"):
        ToLater.handled(handler)


def test_a_protocol_that_says_something_is_accepted() -> None:
    @attrs.frozen
    class ToSome(Tell[Something]):
        pass

    assert issubclass(ToSome, Message)


def test_an_option_that_would_become_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match=rf"Option {HERE}: volatile .* without one"):

        @attrs.frozen
        class Option(Tell[Desk]):
            volatile: bool = True  # type: ignore[misc]


def test_an_unknown_way_to_abandon_is_refused() -> None:
    with pytest.raises(TypeError, match=rf"Odd {HERE}: abandon must be 'finish' or"):

        class Odd(Ask[Desk, int]):
            abandon = "kill"  # type: ignore[assignment]


# -- handlers -----------------------------------------------------------------


def _no_annotation(self: Any, m) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    pass


def _no_reply(self: Any, m: Note):  # type: ignore[no-untyped-def]  # noqa: ANN202
    pass


def _no_message(self: Any) -> None:
    pass


def _too_much(self: Any, m: Note, more: int) -> None:
    pass


@pytest.mark.parametrize("handler", [_no_annotation, _no_reply])
def test_a_handler_without_annotations_is_refused(handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"{handler.__name__} {HERE}: .* annotated"):
        Note.handled(handler)


@pytest.mark.parametrize("handler", [_no_message, _too_much])
def test_a_handler_of_anything_but_one_message_is_refused(
    handler: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError, match=rf"{handler.__name__} {HERE}: .*nothing else"):
        Note.handled(handler)


def test_two_handlers_of_one_message_are_refused() -> None:
    with pytest.raises(TypeError, match=rf"Twice {HERE}: both note and again handle"):

        class Twice(Desk):
            @Note.handled
            def again(self, m: Note) -> None:
                pass


def test_a_function_actor_that_does_not_wait_is_refused() -> None:
    def plain(inbox: object) -> None:
        pass

    with pytest.raises(TypeError, match=rf"plain {HERE}: the function .* async"):
        function_actor(plain)  # type: ignore[arg-type]


# -- actors -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mailbox", 0),
        ("mailbox", 1.5),
        ("mailbox", math.nan),
        ("mailbox", math.inf),
        ("overflow", "drop_newest"),
        ("name", "a/b"),
        ("name", ""),
        ("handler_timeout", 0),
        ("handler_timeout", math.nan),
        ("shutdown", -1),
        ("shutdown", math.nan),
        ("cleanup", -1),
        ("cleanup", math.nan),
        ("cleanup", math.inf),
    ],
)
async def test_an_option_that_cannot_be_meant_is_refused(
    option: str, value: object
) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(ValueError, match=f"{option}.* got .*{value}"):
        async with open_actor(Desk, **options):
            raise AssertionError("was entered")


async def test_an_actor_in_place_of_its_factory_is_refused() -> None:
    with pytest.raises(TypeError, match=r"factory of 'desk' is called .* got <.*Desk"):
        async with open_actor(Desk(), name="desk"):  # type: ignore[arg-type]
            raise AssertionError("was entered")


async def test_a_factory_that_makes_no_actor_is_refused_with_what_it_made() -> None:
    with pytest.raises(TypeError, match="the factory of desk made 42, not an Actor"):
        async with open_actor(lambda: 42, name="desk"):
            raise AssertionError("was entered")


async def test_a_message_that_nobody_handles_is_refused_in_the_senders_frame() -> None:
    @attrs.frozen
    class Odd(Tell[Desk]):
        pass

    async with open_actor(Desk) as desk:
        for _ in range(2):
            with pytest.raises(Unhandled, match="Desk has no handler for Odd"):
                desk.tell(Odd())
            with pytest.raises(Unhandled):
                await desk.send(Odd())


# -- timeouts -----------------------------------------------------------------


async def test_a_timeout_that_is_over_already_begins_nothing() -> None:
    class Log(Desk):
        begun = 0

        @Count.handled
        async def count(self, m: Count) -> int:
            Log.begun += 1
            return 1

    async with open_actor(Log, mailbox=1) as log:
        for timeout in (0, -1, -math.inf):
            with pytest.raises(AskTimeout) as caught:
                await log.ask(Count(), timeout=timeout)
            assert not caught.value.started
    assert Log.begun == 0


async def test_a_timeout_that_is_over_already_does_not_wait_for_room() -> None:
    async with open_actor(Desk, mailbox=1) as desk:
        desk.tell(Note())
        for timeout in (0, -1):
            with pytest.raises(MailboxFull):
                await desk.ask(Count(), timeout=timeout)


async def test_a_timeout_that_is_no_number_is_refused_and_nothing_begun() -> None:
    async with open_actor(Desk) as desk:
        with pytest.raises(ValueError, match=r"timeout must be a number .* got nan"):
            await desk.ask(Count(), timeout=math.nan)
        assert desk.snapshot().mailbox == 0
        await desk.ask(Count())
        assert trio.current_time() == 1


async def test_no_timeout_ends_an_ask_of_an_actor_that_does_not_run() -> None:
    from supervision import Child, System

    child = Child("desk", Desk)
    system = System(child)
    with pytest.raises(RuntimeError, match=r"desk is not running yet, .* enter"):
        await system.ref(child).ask(Count(), timeout=1)


def test_a_duplicate_name_is_refused() -> None:
    from supervision import Child, System

    with pytest.raises(ValueError, match="desk"):
        System(Child("desk", Desk), Child("desk", Desk))
    with pytest.raises(ValueError, match="no '/'"):
        Child("a/b", Desk)
