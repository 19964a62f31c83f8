"""Supervisors and pools are inspected, suspended and resumed like any actor."""

from __future__ import annotations

import pytest
import trio
from parts import AT_ONCE, CALM, Crash, Life, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import AskTimeout, GetState, Resume, Suspend
from supervision import (
    Child,
    DynamicSupervisor,
    GetChildren,
    GetTree,
    RestartChild,
    StartChild,
    Supervisor,
    System,
    pool_of,
)


async def test_a_supervisor_shows_its_children_and_what_they_cost() -> None:
    a, b = parts("ab")
    async with System(a, b, backoff=AT_ONCE, intensity=CALM) as system:
        system.ref(a).tell(Crash())
        await system.ref(b).ask(Suspend())
        await wait_all_tasks_blocked()
        state = await system.root.ask(GetState())
        assert state == {"children": {"a": "running", "b": "suspended"}, "restarts": 1}


async def test_a_pool_shows_its_workers() -> None:
    pool = pool_of(Child("pool", Part), size=2)
    async with System(pool) as system:
        state = await system.ref(pool).ask(GetState())
        assert state == {"children": {"0": "running", "1": "running"}, "restarts": 0}


async def test_a_tree_shows_what_a_snapshot_shows() -> None:
    (part,) = parts("a")
    inner = Child("inner", lambda: Supervisor(part))
    async with System(inner) as system:
        tree = await system.root.ask(GetTree())
        assert [c.path for c in tree.children] == ["app/inner"]
        assert [c.path for c in tree.children[0].children] == ["app/inner/a"]
        assert tree.current == "GetTree"
        assert tree.children == system.snapshot().children


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_suspended_supervisor_still_restarts_its_children(
    kind: type[Supervisor],
) -> None:
    inner = Child("inner", lambda: kind(backoff=AT_ONCE, intensity=CALM))
    (part,) = parts("a")
    async with System(inner) as system:
        await system.ref(inner).ask(StartChild(part))
        await system.ref(inner).ask(Suspend())
        for life in range(2, 5):
            system.ref(part).tell(Crash())
            assert await system.ref(part).ask(Life()) == life
        assert system.ref(inner).snapshot().state == "suspended"


async def test_requests_to_a_suspended_supervisor_wait_until_it_is_resumed() -> None:
    (part,) = parts("a")
    async with System(part) as system:
        await system.root.ask(Suspend())
        for request in (GetTree(), GetChildren(), RestartChild("a")):
            with pytest.raises(AskTimeout, match="app is suspended"):
                await system.root.ask(request, timeout=1)
        assert await system.ref(part).ask(Life()) == 1, "nothing was done later"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.restart, part)
            await wait_all_tasks_blocked()
            assert await system.ref(part).ask(Life()) == 1
            await system.root.ask(Resume())
        assert await system.ref(part).ask(Life()) == 2


async def test_a_suspended_supervisor_escalates_and_stops_as_ever() -> None:
    (part,) = parts("a")
    inner = Child("inner", lambda: Supervisor(part, backoff=AT_ONCE))
    async with System(inner, backoff=AT_ONCE) as system:
        await system.ref(inner).ask(Suspend())
        for _ in range(4):
            system.ref(part).tell(Crash())
            await wait_all_tasks_blocked()
        picture = system.ref(inner).snapshot()
        assert (picture.state, picture.incarnation) == ("running", 2)
        await system.ref(inner).ask(Suspend())
    assert system.ref(inner).gone is not None


async def test_a_suspended_pool_restarts_its_workers_and_then_goes_on() -> None:
    pool = pool_of(Child("pool", Part), size=1, backoff=AT_ONCE)
    async with System(pool) as system, trio.open_nursery() as nursery:
        ref, answers = system.ref(pool), list[int]()
        await ref.ask(Suspend())
        system.find("app/pool/0", Part).tell(Crash())
        await wait_all_tasks_blocked()

        async def ask() -> None:
            answers.append(await ref.ask(Life()))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert answers == []
        await ref.ask(Resume())
        await wait_all_tasks_blocked()
        assert answers == [2]


async def test_a_suspended_worker_is_given_nothing_and_the_others_go_on() -> None:
    pool = pool_of(Child("pool", Part), size=2)
    async with System(pool) as system:
        worker = system.find("app/pool/0", Part)
        await worker.ask(Suspend())
        for _ in range(5):
            assert await system.ref(pool).ask(Life()) == 1
        assert worker.snapshot().handled == 1, "nothing but the suspension"
