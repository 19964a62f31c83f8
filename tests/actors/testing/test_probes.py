"""A probe stands in for an actor: it notes what it gets, and answers as it is told."""

from __future__ import annotations

import attrs
import pytest
import trio

from actors import Actor, ActorCrashed, Ask, Ref, Rejected, Tell, open_actor
from actors.testing import Probe, World, simulate
from supervision import Backoff, Child, System


@attrs.frozen
class Load(Ask["Store", str]):
    name: str


@attrs.frozen
class Saved(Tell["Store"]):
    name: str


class Store(Actor):
    """What the real one would understand."""


@attrs.frozen
class Copy(Ask["Copier", str]):
    name: str


class Copier(Actor):
    def __init__(self, store: Ref[Store]) -> None:
        self._store = store

    @Copy.handled
    async def copy(self, m: Copy) -> str:
        text = await self._store.ask(Load(m.name))
        self._store.tell(Saved(m.name))
        return text


async def test_what_it_is_asked_is_seen_and_answered_by_hand() -> None:
    store = Probe[Store]()
    async with (
        open_actor(store) as ref,
        open_actor(lambda: Copier(ref)) as copier,
        trio.open_nursery() as nursery,
    ):

        async def ask() -> None:
            assert await copier.ask(Copy("a")) == "text"

        nursery.start_soon(ask)
        (await store.expect(Load)).reply("text")
        assert (await store.expect(Saved)).message == Saved("a")
        store.expect_nothing()
    assert store.received == [Load("a"), Saved("a")]


async def test_what_the_script_answers_needs_no_hand() -> None:
    store = Probe[Store]()
    store.answer(Load, lambda m: m.name.upper())
    async with open_actor(store) as ref, open_actor(lambda: Copier(ref)) as copier:
        assert await copier.ask(Copy("a")) == "A"
        store.answer(Load, "always this")
        assert await copier.ask(Copy("a")) == "always this"
        await store.expect(Saved)
        await store.expect(Saved)
        store.expect_nothing()


async def test_the_script_may_reject() -> None:
    store = Probe[Store]()
    store.answer(Load, Rejected("no such file"))
    async with open_actor(store) as ref:
        for _ in range(2):
            with pytest.raises(Rejected, match="no such file"):
                await ref.ask(Load("a"))


async def test_the_script_may_fail_and_goes_on_after_a_restart() -> None:
    store = Probe[Store]()
    store.answer(Load, LookupError("broken"))
    child = Child("store", store)
    async with System(child, backoff=Backoff(first=0)) as system:
        with pytest.raises(ActorCrashed) as caught:
            await system.ref(child).ask(Load("a"))
        assert isinstance(caught.value.__cause__, LookupError)
        store.answer(Load, "well again")
        assert await system.ref(child).ask(Load("a")) == "well again"
    assert len(store.received) == 2


async def test_a_message_that_does_not_come_is_named() -> None:
    store = Probe[Store]()
    async with open_actor(store) as ref:
        ref.tell(Saved("a"))
        await store.expect(Saved)
        with pytest.raises(AssertionError, match=r"no Load came within 2 s.*Saved"):
            await store.expect(Load, within=2)
    assert trio.current_time() == 2


async def test_another_message_than_was_expected_is_named() -> None:
    store = Probe[Store]()
    async with open_actor(store) as ref:
        ref.tell(Saved("a"))
        with pytest.raises(
            AssertionError, match=r"expected Load, but Saved.*came first"
        ):
            await store.expect(Load)


async def test_messages_that_nobody_expected_are_named() -> None:
    store = Probe[Store]()
    async with open_actor(store) as ref:
        ref.tell(Saved("a"))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(AssertionError, match=r"nothing more was expected.*Saved"):
            store.expect_nothing()


async def test_to_stop_expecting_loses_no_message() -> None:
    store = Probe[Store]()
    async with open_actor(store) as ref:
        with trio.move_on_after(1) as scope:
            await store.expect(Saved)
        assert scope.cancelled_caught
        ref.tell(Saved("a"))
        await store.expect(Saved)


def test_it_is_at_home_in_a_simulation() -> None:
    async def main(world: World) -> str:
        store = Probe[Store]()
        store.answer(Load, "text")
        child = Child("store", store)
        copier = Child("copier", lambda: Copier(system.ref(child)))
        system = System(child, copier, random=world.random, on_event=[world.trace])
        async with system:
            return await system.ref(copier).ask(Copy("a"))

    assert simulate(main, check=1).value == "text"
