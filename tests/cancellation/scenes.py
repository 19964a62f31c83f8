"""Programs that use all that can be awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from players import (
    Blip,
    Crash,
    Do,
    DoLater,
    DoWhileWanted,
    Get,
    Note,
    PassOn,
    Quick,
    Quiet,
    Stubborn,
    Tick,
    Worker,
    reader,
)
from seen import ask, make_system, scene

from actors import (
    Ref,
    Rejected,
    open_actor,
)
from actors.events import Started
from actors.testing import World
from supervision import (
    Backoff,
    BreakerPolicy,
    Breakers,
    Child,
    DynamicSupervisor,
    ForceOpen,
    Intensity,
    Metrics,
    ResetBreaker,
    ShutdownStuck,
    Standby,
    StartChild,
    StopChild,
    Supervisor,
    System,
    SystemFailed,
    Watchdog,
    guard,
    holdings,
    pool_of,
)
from supervision.app import App
from supervision.notify import ServiceManager
from supervision.roles import STARTS
from supervision.watchdog import GetOpenFiles

Scene = Callable[[World], Awaitable[None]]


async def one_actor(world: World) -> None:
    async with (
        scene(world),
        open_actor(
            lambda: Worker(world), mailbox=1, on_event=[world.trace], shutdown=1
        ) as worker,
    ):
        world.offer("crash", lambda: worker.tell(Crash()))
        await ask(world, worker, Do(1))
        with trio.CancelScope() as asker:
            world.offer("asker", asker.cancel)
            await ask(world, worker, DoWhileWanted(2, 0.1), timeout=5)
            for _ in range(3):
                await worker.send(Note(0.1))
            await ask(world, worker, DoLater(3, 0.1), timeout=0.5)
        async with trio.open_nursery() as nursery:
            for number in range(4, 7):
                nursery.start_soon(ask, world, worker, Do(number, 0.1), 0.25)


async def one_that_has_no_time_to_end(world: World) -> None:
    """Neither for the message in hand, nor for its cleanup."""
    async with (
        scene(world),
        open_actor(
            lambda: Worker(world), on_event=[world.trace], shutdown=0, cleanup=0.05
        ) as worker,
    ):
        worker.tell(Note(9))
        await ask(world, worker, DoLater(1, 0.1))
        with trio.move_on_after(1):
            await worker.stopped()


async def one_that_has_much_to_do(world: World) -> None:
    """So that it has to let others run before it is through."""
    quick = Child("quick", Quick, mailbox=1000)
    system = make_system(world, quick)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        for _ in range(1000):
            system.ref(quick).tell(Blip())
        await trio.sleep(1)


async def one_asks_another(world: World) -> None:
    first, second = (
        Child(name, lambda: Worker(world), mailbox=1) for name in ("first", "second")
    )
    system = make_system(world, second, first)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        world.offer("crash", lambda: system.ref(second).tell(Crash()))
        await ask(world, system.ref(first), PassOn(1, system.ref(second)))


async def a_function(world: World) -> None:
    slow = Child("slow", Quiet, mailbox=1)
    child = Child("reader", reader(world), mailbox=2)
    system = make_system(world, slow, child, shutdown=1)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        ref = system.ref(child)
        with trio.CancelScope() as asker:
            world.offer("asker", asker.cancel)
            await ref.send(Tick())
            await ask(world, ref, Get(1))
            await ask(world, ref, Get(2), timeout=0.05)
            for _ in range(4):
                await ref.send(Tick())
        await trio.sleep(5)


async def requests_to_a_system(world: World) -> None:
    a, b, c = (Child(name, lambda: Worker(world)) for name in "abc")
    system = make_system(world, a, b, strategy="rest_for_one", shutdown=2)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        world.offer("crash", lambda: system.ref(a).tell(Crash()))
        with trio.CancelScope() as caller:
            world.offer("caller", caller.cancel)
            await system.start(c)
            await system.restart(a)
            await system.stop(c)
        await system.stop(b)


async def a_comprehensive_cleanup(world: World) -> None:
    quiet = Child("quiet", Quiet)
    system = make_system(world, quiet)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        with trio.CancelScope() as caller:
            world.offer("caller", caller.cancel)
            await system.clean_up(quiet)


async def many_that_start_at_once(world: World) -> None:
    many = [Child(f"quiet-{n}", Quiet) for n in range(2 * STARTS)]
    async with scene(world), make_system(world, *many):
        pass


async def crashes_and_backoff(world: World) -> None:
    """Also of one whose cleanup is cut off, so that something of it is left over."""
    a = Child("a", lambda: Worker(world), cleanup=0.05)
    patient = Intensity(restarts=3, within=60)
    inner = Child(
        "inner", lambda: Supervisor(a, backoff=Backoff(first=1), intensity=patient)
    )
    b = Child("b", lambda: Worker(world), restart="transient")
    system = make_system(world, inner, b, strategy="one_for_all")
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        with trio.CancelScope() as waits:
            world.offer("waits", waits.cancel)
            with system.subscribe(Started) as events:
                system.ref(a).tell(Crash())
                async for event in events:
                    if event.path == "app/inner/a":
                        break
        system.ref(b).tell(Crash())
        with trio.move_on_after(1):
            await system.ref(b).stopped()


async def a_crash_too_many(world: World) -> None:
    """The supervisor gives up, and the block is cancelled."""
    a = Child("a", lambda: Worker(world))
    system = make_system(world, a, intensity=Intensity(restarts=0))
    async with scene(world):
        with suppress(SystemFailed):
            async with system:
                world.offer("hurry", system.hurry)
                system.ref(a).tell(Crash())
                await trio.sleep_forever()


async def a_tree_that_has_no_time_to_end(world: World) -> None:
    a, b = (Child(name, lambda: Worker(world)) for name in "ab")
    inner = Child("inner", lambda: Supervisor(a, b))
    system = make_system(world, inner, shutdown=0)
    async with scene(world):
        with suppress(SystemFailed):  # it had to be cancelled
            async with system:
                await ask(world, system.ref(b), Do(1, 0.1))


async def children_that_come_and_go(world: World) -> None:
    dynamic = Child("dynamic", DynamicSupervisor)
    system = make_system(world, dynamic, shutdown=1)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        ref = system.ref(dynamic)
        with trio.CancelScope() as caller:
            world.offer("caller", caller.cancel)
            workers = [Child(n, lambda: Worker(world)) for n in "ab"]
            for worker in workers:
                await ref.ask(StartChild(worker), timeout=3)
            await ask(world, system.ref(workers[0]), Do(1))
            await ref.ask(StopChild("a"), timeout=3)


async def a_pool(world: World) -> None:
    pool = pool_of(Child("pool", lambda: Worker(world, 0), mailbox=1), size=2)
    system = make_system(world, pool, shutdown=1)

    def crash() -> None:
        with suppress(LookupError):  # it is over
            system.find("app/pool/0", Worker).tell(Crash())

    async with scene(world), system:
        world.offer("hurry", system.hurry)
        world.offer("crash", crash)
        async with trio.open_nursery() as nursery:
            world.offer("askers", nursery.cancel_scope.cancel)
            for number in range(5):
                nursery.start_soon(ask, world, system.ref(pool), Do(number, 0.1), 0.35)


class Latecomer(Worker, Standby):
    """Takes a moment to get ready."""

    ready = False

    async def get_ready(self) -> None:
        await trio.sleep(0.1)
        self.ready = True


async def a_pool_that_stands_by(world: World) -> None:
    pool = pool_of(Child("pool", lambda: Latecomer(world, 0), mailbox=1), size=2)
    system = make_system(world, pool, shutdown=1)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        async with trio.open_nursery() as nursery:
            world.offer("askers", nursery.cancel_scope.cancel)
            for number in range(3):
                nursery.start_soon(ask, world, system.ref(pool), Do(number, 0.1), 0.35)


async def a_guarded_actor(world: World) -> None:
    well = trio.Event()

    async def probe() -> bool:
        await trio.sleep(0.1)
        return well.is_set()

    policy = BreakerPolicy(failures=1, wait=Backoff(first=1, cap=2))
    breakers = Child("breakers", lambda: Breakers(lambda _: policy))
    probing = Child(
        "probing", lambda: Breakers(lambda _: policy, probe_for=lambda _: probe)
    )
    worker = Child("worker", lambda: Worker(world, 0))
    system = make_system(world, breakers, probing, worker)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        with trio.CancelScope() as asker:
            world.offer("asker", asker.cancel)
            plain = guard(system.ref(worker), system.ref(breakers), "k")
            probed = guard(system.ref(worker), system.ref(probing), "k")
            await ask(world, plain, Do(1))
            await ask(world, plain, Do(2, 1), timeout=0.1)
            await ask(world, plain, Do(3))
            await ask(world, probed, Do(4, 1), timeout=0.1)
            await trio.sleep(1)
            well.set()
            await trio.sleep(3)
            await ask(world, probed, Do(5))
            await system.ref(probing).ask(ForceOpen("k", 0.5))
            await system.ref(probing).ask(ResetBreaker("k"))


async def what_does_not_end(world: World) -> None:
    late = Child("late", lambda: Stubborn(30, 0), start_timeout=1, cleanup=0.2)
    busy = Child(
        "busy", lambda: Stubborn(0, 100), shutdown=1, cleanup=0.2, handler_timeout=2
    )
    system = make_system(world, busy, shutdown=10)
    async with scene(world):
        with suppress(ShutdownStuck):
            async with system:
                world.offer("hurry", system.hurry)
                system.ref(busy).tell(Note())
                with suppress(Rejected), trio.move_on_after(5):
                    await system.start(late)
                with suppress(Rejected), trio.move_on_after(5):
                    await system.stop(busy)


async def what_does_not_start(world: World) -> None:
    """A start that shields itself is left behind, and its supervisor gives up."""
    late = Child("late", lambda: Stubborn(30, 0), start_timeout=1, cleanup=0.2)
    inner = Child("inner", lambda: Supervisor(Child("quiet", Quiet), late))
    system = make_system(world, inner, shutdown=5)
    async with scene(world):
        with suppress(SystemFailed):
            async with system:
                world.offer("hurry", system.hurry)
                await trio.sleep(3)


async def a_watched_system(world: World) -> None:
    metrics = Metrics()
    holder: list[Ref[Any]] = []
    watchdog = Child(
        "watchdog", lambda: Watchdog(holder[0], metrics, every=1, loop_limit=1e6)
    )
    worker = Child("worker", lambda: Worker(world, 0))
    system = System(
        watchdog, worker, on_event=[world.trace, metrics], random=world.random
    )
    holder.append(system.root)
    async with scene(world), system:
        world.offer("hurry", system.hurry)
        with trio.CancelScope() as asker:
            world.offer("asker", asker.cancel)
            await ask(world, system.ref(worker), Do(1, 1))
            await system.ref(watchdog).ask(GetOpenFiles())
            await holdings(system.ref(worker))


async def a_process(world: World) -> None:
    worker = Child("worker", lambda: Worker(world, 0))
    app = App(stuck_exit=10)
    app._manager = ServiceManager("\0nobody listens here", watchdog=1.0)

    async def main(app: App) -> None:
        system = make_system(world, worker)
        async with app.serve(system):
            world.offer("hurry", system.hurry)
            await ask(world, system.ref(worker), Do(1, 1))
            await trio.sleep(1)

    async with scene(world):
        await app._run(main)


SCENES: list[Scene] = [
    one_actor,
    one_that_has_no_time_to_end,
    one_that_has_much_to_do,
    one_asks_another,
    a_function,
    requests_to_a_system,
    a_comprehensive_cleanup,
    many_that_start_at_once,
    crashes_and_backoff,
    a_crash_too_many,
    a_tree_that_has_no_time_to_end,
    children_that_come_and_go,
    a_pool,
    a_pool_that_stands_by,
    a_guarded_actor,
    what_does_not_end,
    what_does_not_start,
    a_watched_system,
    a_process,
]
