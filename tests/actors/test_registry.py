"""Actors are found by path and by group, from before their start until their end."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.lowlevel

from actors import Actor, ActorGone, Ask, Exit, Ref, Rejected, Tell, open_actor
from actors._core.runtime import Runtime
from supervision import (
    Backoff,
    Child,
    Intensity,
    StartChild,
    StopChild,
    Supervisor,
    System,
)


@attrs.frozen
class Find(Ask["Part", "Ref[Part]"]):
    path: str


@attrs.frozen
class Members(Ask["Part", Sequence["Ref[Part]"]]):
    group: str


@attrs.frozen
class Crash(Tell["Part"]):
    pass


class Part(Actor):
    @Find.handled
    def find(self, m: Find) -> Ref[Part]:
        return self.ctx.find(m.path, Part)

    @Members.handled
    def members(self, m: Members) -> Sequence[Ref[Part]]:
        return self.ctx.members(m.group, Part)

    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise ValueError("told to")


async def test_all_are_found_at_their_paths() -> None:
    a, b = Child("a", Part), Child("b", Part)
    inner = Child("inner", lambda: Supervisor(b))
    async with System(a, inner) as system:
        assert system.find("app", Supervisor) is system.root
        assert system.find("app/a", Part) is system.ref(a)
        assert system.find("app/inner/b", Part) is system.ref(b)
        assert await system.ref(b).ask(Find("app/a")) is system.ref(a)


async def test_where_nobody_is_the_error_says_who_there_is() -> None:
    children = [Child(f"c{n:02}", Part) for n in range(20)]
    async with System(*children) as system:
        with pytest.raises(LookupError) as caught:
            system.find("app/none", Part)
    known = ", ".join(["app", *(f"app/c{n:02}" for n in range(9))])
    assert str(caught.value) == f"there is no actor at 'app/none'; there are: {known}"


async def test_an_actor_beside_a_block_finds_itself_and_nobody_else() -> None:
    async with open_actor(Part, name="alone") as alone:
        assert await alone.ask(Find("alone")) is alone
        assert await alone.ask(Members("none")) == ()


async def test_they_are_found_from_before_their_start_until_their_end() -> None:
    seen: list[tuple[str, int]] = []

    class Looking(Part):
        async def started(self) -> None:
            ref = self.ctx.find("app/b", Part)
            seen.append((ref.snapshot().state, len(self.ctx.members("g", Part))))

        async def stopping(self, exit_: Exit) -> None:
            assert self.ctx.find(self.ctx.me.path, Part) is self.ctx.me

    a = Child("a", Looking, groups=["g"])
    b = Child("b", Part, groups=["g"])
    system = System(a, b)
    with pytest.raises(LookupError):
        system.find("app/a", Part)
    async with system:
        assert seen == [("starting", 2)], "also those that start later"
        await system.stop(a)
        with pytest.raises(LookupError):
            system.find("app/a", Part)
        assert system.members("g", Part) == (system.ref(b),)
    for path in ("app", "app/b"):
        with pytest.raises(LookupError):
            system.find(path, Part)
    assert system.members("g", Part) == ()


async def test_a_restart_changes_nothing_of_that() -> None:
    a = Child("a", Part, groups=["g", "h"])
    b = Child("b", Part, groups=["g"])
    patient = Backoff(first=5, cap=5)
    async with System(a, b, backoff=patient, intensity=Intensity(within=99)) as system:
        system.ref(a).tell(Crash())
        await trio.lowlevel.checkpoint()
        for _ in range(3):
            await trio.sleep(2)
            assert system.find("app/a", Part) is system.ref(a)
            assert system.members("g", Part) == (system.ref(a), system.ref(b))
            assert system.members("h", Part) == (system.ref(a),)


async def test_members_are_in_the_order_in_which_they_joined() -> None:
    a, b, c = (Child(name, Part, groups=["g"]) for name in "cab")
    async with System(a, b) as system:
        await system.start(c)
        refs = [system.ref(child) for child in (a, b, c)]
        assert [*system.members("g", Part)] == refs
        assert [*await refs[0].ask(Members("g"))] == refs
        await system.stop(a)
        again = await system.start(Child("c", Part, groups=["g"]))
        assert [*system.members("g", Part)] == [*refs[1:], again]


async def test_a_temporary_child_leaves_its_groups_by_itself() -> None:
    a = Child("a", Part, groups=["g"], restart="temporary")
    async with System(a) as system:
        system.ref(a).tell(Crash())
        await trio.sleep(1)
        assert system.members("g", Part) == ()
        with pytest.raises(LookupError):
            system.find("app/a", Part)


async def test_with_a_supervisor_all_below_it_leave() -> None:
    b = Child("b", Part, groups=["g"])
    inner = Child("inner", lambda: Supervisor(b))
    async with System(inner) as system:
        await system.root.ask(StopChild("inner"))
        assert system.members("g", Part) == ()
        with pytest.raises(LookupError):
            system.find("app/inner/b", Part)


async def test_a_group_that_is_named_twice_is_one_group() -> None:
    a = Child("a", Part, groups=["g", "g"])
    async with System(a) as system:
        assert system.members("g", Part) == (system.ref(a),)
        await system.stop(a)
        assert system.members("g", Part) == ()


def test_nobody_has_two_parents() -> None:
    registry = Runtime().registry
    parents = [Child(name, Part) for name in ("one", "two")]
    first, second = (registry.ref(parent, parent.name, 1) for parent in parents)
    role = Child("part", Part)
    ref = registry.ref(role, "part", 1)
    registry.adopt(first, role, ref, "one/part", ["g"])
    with pytest.raises(ValueError, match="one/part is already a child of one"):
        registry.adopt(second, role, ref, "two/part", ["h"])
    assert registry.find("one/part") is ref
    assert registry.members("h") == ()
    registry.dismiss(first, role)
    registry.adopt(second, role, ref, "two/part", ["h"])
    assert ref.path == "two/part"
    with pytest.raises(LookupError):
        registry.find("one/part")


def test_a_role_nobody_can_ask_for_any_more_is_forgotten() -> None:
    registry = Runtime().registry
    registry.ref(Child("a", Part), "a", 1)
    role = Child("b", Part)
    assert registry.ref(role, "b", 1) is registry.ref(role, "b", 1)
    assert len(registry._refs) == 1


async def test_what_a_supervisor_does_not_bring_back_is_gone_with_all_below_it() -> (
    None
):
    low, kept = Child("low", Part), Child("kept", Part, groups=["g"])
    late = Child("late", lambda: Supervisor(low))
    inner = Child("inner", lambda: Supervisor(kept))
    async with System(inner) as system:
        await system.ref(inner).ask(StartChild(late))
        refs = [system.ref(child) for child in (kept, low)]
        assert system.find("app/inner/late/low", Part) is refs[1]
        await system.restart(inner)
        assert refs[0].gone is None
        assert system.find("app/inner/kept", Part) is refs[0]
        assert system.members("g", Part) == (refs[0],)
        assert refs[1].gone is not None
        with pytest.raises(LookupError):
            system.find("app/inner/late/low", Part)


async def test_what_a_supervisor_that_fails_to_start_again_had_is_gone() -> None:
    a, b, foreign = (Child(name, Part) for name in ("a", "b", "foreign"))
    first = [[a, b]]
    inner = Child(
        "inner",
        lambda: Supervisor(*(first.pop() if first else [foreign, a, b])),
        restart="temporary",
    )
    async with System(foreign, inner) as system:
        with pytest.raises(Rejected, match="foreign is already a child of app"):
            await system.restart(inner)
        for child in (a, b):
            with pytest.raises(ActorGone):
                await system.ref(child).ask(Members("g"), timeout=60)
        assert await system.ref(foreign).ask(Members("g")) == ()


def test_who_has_left_may_leave_again() -> None:
    registry = Runtime().registry
    parent, role = Child("parent", Part), Child("part", Part)
    above = registry.ref(parent, "parent", 1)
    for _ in range(2):
        registry.dismiss(above, role)
    assert registry.below(above) == []
