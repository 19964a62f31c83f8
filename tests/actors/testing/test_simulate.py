"""A simulation takes no time, does as its schedule says, and never hangs."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from actors.events import Event
from actors.testing import (
    FIFO,
    Deadlock,
    Livelock,
    NonDeterministic,
    OneAtATime,
    SimResult,
    Tape,
    World,
    simulate,
)


@attrs.frozen
class Said(Event):
    what: Any


def said(what: object) -> Said:
    return Said("test", what)


async def three(world: World) -> str:
    """Three tasks, each of which says its name twice."""
    heard: list[str] = []

    async def say(name: str) -> None:
        for _ in range(2):
            heard.append(name)
            world.trace(said(name))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(say, name)
    return "".join(heard)


async def hang(world: World) -> None:
    """One task for ever behind a shield, in a nursery of another."""

    async def hung() -> None:
        world.trace(said("here"))
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hung)
        await trio.lowlevel.checkpoint()
        await trio.sleep(3)


# -- time -----------------------------------------------------------------------------


def test_a_day_of_virtual_time_takes_no_time() -> None:
    async def main(world: World) -> float:
        await trio.sleep(86_000)
        return trio.current_time()

    result = simulate(main)
    assert (result.value, result.seconds) == (86_000, 86_000)


def test_what_main_raises_is_raised() -> None:
    async def main(world: World) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        simulate(main)


# -- schedules ------------------------------------------------------------------------


def test_without_a_schedule_the_oldest_runs_first() -> None:
    result = simulate(three)
    assert result.value == "abcabc"
    assert (result.schedule, result.tape) == ([], FIFO)


def test_a_tape_lets_one_run_alone_and_the_others_wait() -> None:
    result = simulate(three, schedule=Tape(b"\3\2"))
    assert result.value == "cb" + "abc" + "a"
    assert [str(pick) for pick in result.schedule] == [
        "at step 4 say #3 runs, say, say #2 wait",
        "at step 5 say #2 runs, say, say #3 wait",
    ]


def test_a_task_may_have_to_wait_until_another_is_done() -> None:
    assert simulate(three, schedule=Tape(b"\2" * 3)).value == "bb" + "ac" + "ac"


def test_a_byte_counts_round_and_round() -> None:
    assert simulate(three, schedule=Tape(b"\x04")).value == "a" + "abcbc"


def test_zeros_at_the_end_of_a_tape_say_nothing() -> None:
    assert Tape(b"\2\0\0") == Tape(b"\2")
    assert hash(Tape(b"\0")) == hash(FIFO)


@pytest.mark.parametrize("seed", range(20))
def test_what_a_seed_has_done_is_a_tape_that_does_it_again(seed: int) -> None:
    once = simulate(three, schedule=OneAtATime(seed))
    again = simulate(three, schedule=once.tape)
    assert (again.value, again.digest) == (once.value, once.digest)


def test_seeds_lead_to_different_orders() -> None:
    orders = {simulate(three, schedule=OneAtATime(s)).value for s in range(50)}
    assert len(orders) > 10


@attrs.frozen
class Wrong:
    """A schedule that chooses a task there is not."""

    def begin(self) -> Callable[[int], int]:
        return lambda runnable: runnable + 1


def test_a_schedule_that_chooses_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="chose 4 of 3 tasks"):
        simulate(three, schedule=Wrong())


class Enough(BaseException):
    """As Hypothesis raises when it wants to hear no more."""


@attrs.frozen
class Raising:
    def begin(self) -> Callable[[int], int]:
        def choose(runnable: int) -> int:
            raise Enough

        return choose


def test_what_a_schedule_raises_ends_the_run_in_order_and_is_raised() -> None:
    ended: list[str] = []

    async def main(world: World) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
        finally:
            ended.append("in order")

    with pytest.raises(Enough):
        simulate(main, schedule=Raising())
    assert ended == ["in order"]


# -- hanging --------------------------------------------------------------------------


def test_a_deadlock_is_found_with_every_task_and_where_it_waits() -> None:
    with pytest.raises(Deadlock) as caught:
        simulate(hang)
    first, *tasks = str(caught.value).splitlines()
    assert first == "nobody will ever run again, at 3 s"
    assert "hang waits at test_simulate.py:" in tasks[0]
    assert "hung, in sleep_forever(), shielded" in tasks[1]
    assert [e.what for e in caught.value.trace.events(Said)] == ["here"]


def test_a_deadlock_tells_the_schedule_that_led_to_it() -> None:
    with pytest.raises(Deadlock) as caught:
        simulate(hang, schedule=Tape(b"\2"))
    assert len(caught.value.schedule) == 1


def test_an_error_of_main_has_the_schedule_as_a_note() -> None:
    async def main(world: World) -> None:
        await three(world)
        raise LookupError

    def note(tape: bytes) -> list[str]:
        with pytest.raises(LookupError) as caught:
            simulate(main, schedule=Tape(tape))
        return [line for n in caught.value.__notes__ for line in n.splitlines()]

    assert note(b"\3\2")[1:] == [
        "  at step 4 say #3 runs, say, say #2 wait",
        "  at step 5 say #2 runs, say, say #3 wait",
    ]


def test_what_is_done_while_a_hung_run_is_taken_down_is_not_traced() -> None:
    async def main(world: World) -> None:
        try:
            await trio.sleep_forever()
        finally:
            world.trace(said("too late"))

    with pytest.raises(Deadlock) as caught:
        simulate(main)
    assert len(caught.value.trace) == 0


def test_a_run_that_fails_while_it_is_taken_down_is_a_deadlock_still() -> None:
    async def main(world: World) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError

    with pytest.raises(Deadlock):
        simulate(main)


def test_tasks_that_spin_are_a_livelock() -> None:
    async def main(world: World) -> None:
        for _ in itertools.count():
            await trio.lowlevel.checkpoint()

    with pytest.raises(Livelock, match=r"100 rounds(.|\n)*main waits at test_simulate"):
        simulate(main, max_batches=100)


def test_a_run_that_never_ends_is_a_livelock() -> None:
    async def main(world: World) -> None:
        for second in itertools.count():
            await trio.sleep_until(second)

    with pytest.raises(Livelock, match="not over after 100 s, at 100 s"):
        simulate(main, max_virtual=100)


def test_a_run_that_never_ends_behind_a_shield_is_one_too() -> None:
    async def main(world: World) -> None:
        with trio.CancelScope(shield=True):
            while True:  # noqa: ASYNC110 - never is the point
                await trio.sleep(30)

    with pytest.raises(Livelock, match="not over after 100 s, at 90 s"):
        simulate(main, max_virtual=100)


def test_what_hangs_has_a_tape_that_leads_to_the_same_again() -> None:
    async def wait() -> None:
        await trio.sleep_forever()

    async def main(world: World) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)

    with pytest.raises(Deadlock) as once:
        simulate(main, schedule=OneAtATime(1))
    with pytest.raises(Deadlock) as again:
        simulate(main, schedule=once.value.tape)
    assert once.value.schedule == again.value.schedule != []


def test_rounds_count_from_when_time_has_moved() -> None:
    async def main(world: World) -> None:
        for _ in range(10):
            await trio.sleep(1)
            for _ in range(50):
                await trio.lowlevel.checkpoint()

    simulate(main, max_batches=100)


# -- steps ----------------------------------------------------------------------------


def test_something_can_be_done_before_and_after_any_step() -> None:
    async def main(world: World, step: int, after: bool) -> str:
        heard: list[str] = []

        async def say(name: str) -> None:
            heard.append(name)

        world.at_step(step, lambda: heard.append(f"!{world.step}"), after=after)
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(say, name)
        return " ".join(heard)

    steps = simulate(partial(main, step=100, after=False)).steps
    runs = [
        simulate(partial(main, step=step, after=after)).value
        for step in range(4, steps)
        for after in (False, True)
    ]
    assert runs[:6] == [
        "!4 a b c",
        "a !4 b c",
        "a !5 b c",
        "a b !5 c",
        "a b !6 c",
        "a b c !6",
    ]


def test_a_step_that_is_over_cannot_be_awaited() -> None:
    async def main(world: World) -> None:
        world.at_step(world.step, lambda: None)

    with pytest.raises(ValueError, match="has begun already"):
        simulate(main)


def test_what_is_raised_at_a_step_is_raised() -> None:
    def fail() -> None:
        raise LookupError("at a step")

    async def main(world: World) -> None:
        world.at_step(world.step + 1, fail)
        await trio.sleep(10)

    with pytest.raises(LookupError, match="at a step"):
        simulate(main)


def test_events_have_a_time_and_a_step() -> None:
    async def main(world: World) -> None:
        await trio.sleep(2)
        world.trace(said("now"))

    (entry,) = simulate(main).trace
    assert (entry.at, entry.event) == (2, said("now"))
    assert entry.describe() == f"t=2 step {entry.step}: {said('now')!r}"


# -- determinism ----------------------------------------------------------------------


def test_the_same_seed_draws_the_same() -> None:
    async def main(world: World) -> tuple[float, float]:
        return world.random.uniform(0, 1), random.uniform(0, 1)

    assert simulate(main, seed=1).value == simulate(main, seed=1).value
    assert simulate(main, seed=1).value != simulate(main, seed=2).value


def test_the_random_of_others_goes_on_undisturbed() -> None:
    random.seed(7)
    expected = [random.uniform(0, 1) for _ in range(2)]
    random.seed(7)
    drawn = [random.uniform(0, 1)]
    simulate(three)
    assert [*drawn, random.uniform(0, 1)] == expected


def test_the_digest_tells_orders_and_events_apart() -> None:
    def digest(what: object, **kwargs: Any) -> str:
        async def main(world: World) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.lowlevel.checkpoint)
                nursery.start_soon(trio.lowlevel.checkpoint)
            world.trace(said(what))

        return simulate(main, **kwargs).digest

    assert digest(1) == digest(1)
    assert len({digest(1), digest(2), digest(1, schedule=Tape(b"\2"))}) == 3


def test_the_address_of_an_object_is_no_difference() -> None:
    async def main(world: World) -> None:
        world.trace(said(object()))

    keep = [simulate(main), simulate(main)]
    assert keep[0].digest == keep[1].digest


def test_an_event_that_differs_between_two_runs_is_named() -> None:
    async def main(world: World) -> None:
        world.trace(said("same"))
        world.trace(said(uuid.uuid4()))

    with pytest.raises(NonDeterministic, match=r"first: t=0 step \d+: Said.*UUID"):
        simulate(main, check=1)


def test_an_order_that_differs_between_two_runs_is_named() -> None:
    runs: list[None] = []

    async def one() -> None:
        await trio.sleep(1)

    async def main(world: World) -> None:
        runs.append(None)
        async with trio.open_nursery() as nursery:
            if len(runs) == 2:
                nursery.start_soon(one)

    with pytest.raises(NonDeterministic, match=r"then:  step \d+: .*one runs"):
        simulate(main, check=1)


def test_of_many_runs_about_one_in_so_many_is_checked() -> None:
    runs: list[int] = []

    async def main(world: World, number: int) -> None:
        runs.append(number)
        world.trace(said(number))

    for number in range(300):
        simulate(partial(main, number=number), check=10)
    assert 300 + 10 < len(runs) < 300 + 60


def test_a_run_that_does_the_same_twice_is_let_pass() -> None:
    assert simulate(three, check=1).value == "abcabc"


# -- threads --------------------------------------------------------------------------


async def in_threads(world: World) -> list[tuple[int, float]]:
    done: list[tuple[int, float]] = []

    async def work(number: int) -> None:
        ident = await trio.to_thread.run_sync(threading.get_ident)
        assert ident == threading.get_ident()
        done.append((number, trio.current_time()))

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(work, number)
    return done


def test_threads_are_no_threads_and_take_virtual_time() -> None:
    done = simulate(in_threads, seed=3).value
    assert all(0 < at <= 0.1 for _, at in done)
    assert done == simulate(in_threads, seed=3).value
    orders = {tuple(n for n, _ in simulate(in_threads, seed=s).value) for s in range(9)}
    assert len(orders) > 1


def test_threads_can_be_forbidden() -> None:
    async def main(world: World) -> None:
        await trio.to_thread.run_sync(time.perf_counter)

    with pytest.raises(RuntimeError, match="forbids threads"):
        simulate(main, threads="forbid")


def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise LookupError

    async def main(world: World) -> None:
        await trio.to_thread.run_sync(fail)

    with pytest.raises(LookupError):
        simulate(main)


def test_a_thread_that_is_abandoned_does_its_work_all_the_same() -> None:
    done: list[float] = []

    async def main(world: World, abandon: bool) -> float:
        done.clear()
        with trio.move_on_after(0.000_001):
            await trio.to_thread.run_sync(
                lambda: done.append(1), abandon_on_cancel=abandon
            )
        left = trio.current_time()
        await trio.sleep(1)
        return left

    assert simulate(partial(main, abandon=True)).value == 0.000_001
    assert done == [1]
    assert simulate(partial(main, abandon=False)).value > 0.000_001
    assert done == [1]


# -- calls ----------------------------------------------------------------------------


async def nothing(world: World) -> None:
    pass


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: simulate(three(None)), TypeError, "pass the async function itself"),  # type: ignore[arg-type]
        (lambda: simulate(nothing, schedule=b"\1"), TypeError, "a schedule is FIFO"),  # type: ignore[arg-type]
        (lambda: simulate(nothing, threads="real"), ValueError, "inline"),  # type: ignore[arg-type]
        (lambda: simulate(nothing, max_virtual=0), ValueError, "positive"),
        (lambda: simulate(nothing, max_batches=0), ValueError, "positive"),
        (lambda: simulate(nothing, check=-1), ValueError, "not negative"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_call_that_cannot_be_meant_is_refused(
    call: Callable[[], SimResult[Any]], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        call()


async def test_a_simulation_inside_of_a_run_is_refused() -> None:
    with pytest.raises(RuntimeError, match="call it in a plain function"):
        simulate(nothing)


def _beside(fn: Callable[[], object]) -> list[BaseException | None]:
    """Call something in a thread while another thread simulates."""
    results: list[BaseException | None] = []

    def call() -> None:
        try:
            fn()
            results.append(None)
        except RuntimeError as error:
            results.append(error)

    async def main(world: World) -> None:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    simulate(main)
    return results


def test_two_simulations_at_once_are_refused() -> None:
    (error,) = _beside(lambda: simulate(nothing))
    assert "another thread" in str(error)


def test_a_run_in_another_thread_goes_on_as_ever() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(trio.sleep, 0)

    assert _beside(lambda: trio.run(main)) == [None]


def _leave_as_found() -> tuple[Awaitable[Any] | Any, ...]:
    return (trio.to_thread.run_sync, random.getstate())


def test_everything_is_left_as_it_was_found() -> None:
    before = _leave_as_found()
    simulate(three)
    with pytest.raises(Deadlock):
        simulate(hang)
    assert _leave_as_found() == before
