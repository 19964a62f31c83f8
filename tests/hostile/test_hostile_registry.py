"""Who is found by path and by group is who is there, however they come and go."""

from __future__ import annotations

from typing import Literal

import attrs
import pytest
import trio
from hypothesis import given, settings, strategies as st

from actors import Actor, ActorGone, Ask, Ref, Rejected
from actors.testing import Schedule, World, schedules, simulate
from supervision import (
    Child,
    DynamicSupervisor,
    GetChildren,
    StartChild,
    StopChild,
    System,
)


@attrs.frozen
class Op:
    what: Literal["start", "stop"]
    name: str
    groups: tuple[str, ...]
    pause: int
    gives_up: bool
    """Whether it is cancelled at once, with the request on its way."""


OPS = st.lists(
    st.builds(
        Op,
        what=st.sampled_from(["start", "start", "stop"]),
        name=st.sampled_from("abc"),
        groups=st.lists(st.sampled_from(["g", "h"]), unique=True).map(tuple),
        pause=st.integers(0, 3),
        gives_up=st.booleans(),
    ),
    max_size=6,
)


@attrs.frozen
class Ping(Ask["Member", str]):
    pass


class Member(Actor):
    @Ping.handled
    def ping(self, m: Ping) -> str:
        return self.ctx.me.path


@settings(max_examples=2 * settings().max_examples)  # of the profile
@given(st.lists(OPS, min_size=1, max_size=3), schedules(length=48))
def test_who_is_found_is_there(clients: list[list[Op]], schedule: Schedule) -> None:
    async def main(world: World) -> None:
        dynamic = Child("dynamic", DynamicSupervisor)
        made: dict[Ref[Member], tuple[str, ...]] = {}
        async with System(dynamic, random=world.random) as system:
            ref = system.ref(dynamic)

            async def client(ops: list[Op]) -> None:
                for op in ops:
                    for _ in range(op.pause):
                        await trio.lowlevel.checkpoint()
                    with trio.move_on_after(0 if op.gives_up else 100):
                        try:
                            if op.what == "stop":
                                await ref.ask(StopChild(op.name))
                            else:
                                child = Child(op.name, Member, groups=op.groups)
                                made[system.ref(child)] = op.groups
                                await ref.ask(StartChild(child))
                        except Rejected:
                            pass

            async with trio.open_nursery() as nursery:
                for ops in clients:
                    nursery.start_soon(client, ops)
            await trio.sleep(10)
            names = await ref.ask(GetChildren())
            found = {name: system.find(f"app/dynamic/{name}", Member) for name in names}
            for name, member in found.items():
                assert await member.ask(Ping()) == f"app/dynamic/{name}"
            for group in ("g", "h"):
                members = system.members(group, Member)
                assert set(members) == {r for r in found.values() if group in made[r]}
                assert len(set(members)) == len(members)
            for name in set("abc") - set(names):
                with pytest.raises(LookupError):
                    system.find(f"app/dynamic/{name}", Member)
            running = [*found.values()]
        for member in running:
            with pytest.raises(ActorGone):
                await member.ask(Ping())

    simulate(main, schedule=schedule)
