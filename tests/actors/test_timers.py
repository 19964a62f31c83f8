"""Messages an actor sends to itself, in time."""

from __future__ import annotations

import math
from collections.abc import Hashable
from random import Random

import attrs
import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, ActorCrashed, Ask, Exit, Tell, Timer, Unhandled, open_actor
from actors.events import DeadLetter, Event
from supervision import Backoff, Child, System

AT_ONCE = Backoff(first=0, cap=0)


@attrs.frozen
class Tick(Tell["Clock"]):
    name: str = "tick"


@attrs.frozen
class Every(Ask["Clock", Timer]):
    period: float
    key: Hashable = None
    jitter: float = 0
    name: str = "tick"


@attrs.frozen
class After(Ask["Clock", Timer]):
    delay: float
    key: Hashable = None
    name: str = "tock"


@attrs.frozen
class Nap(Ask["Clock", None]):
    seconds: float


@attrs.frozen
class Note(Tell["Clock"]):
    name: str


@attrs.frozen
class Crash(Tell["Clock"]):
    after: float = 0


@attrs.frozen
class Strange(Tell["Clock"]):
    """No handler."""


@attrs.frozen
class SetStrange(Ask["Clock", str]):
    pass


Log = list[tuple[str, float]]


class Clock(Actor):
    """Writes down what comes when; may be busy for some seconds each time."""

    def __init__(self, log: Log, busy: float = 0) -> None:
        self.log = log
        self.busy = busy

    @Tick.handled
    async def tick(self, m: Tick) -> None:
        self.log.append((m.name, trio.current_time()))
        if self.busy:
            await trio.sleep(self.busy)

    @Note.handled
    def note(self, m: Note) -> None:
        self.log.append((m.name, trio.current_time()))

    @Every.handled
    def every(self, m: Every) -> Timer:
        return self.ctx.every(m.period, Tick(m.name), key=m.key, jitter=m.jitter)

    @After.handled
    def after(self, m: After) -> Timer:
        return self.ctx.after(m.delay, Tick(m.name), key=m.key)

    @Nap.handled
    async def nap(self, m: Nap) -> None:
        await trio.sleep(m.seconds)

    @Crash.handled
    async def crash(self, m: Crash) -> None:
        await trio.sleep(m.after)
        raise ValueError("told to")

    @SetStrange.handled
    def set_strange(self, m: SetStrange) -> str:
        for set_timer in (self.ctx.after, self.ctx.every):
            with pytest.raises(Unhandled, match="no handler for Strange"):
                set_timer(1, Strange())
        return "refused"


def times(log: Log, name: str = "tick") -> list[float]:
    return [at for what, at in log if what == name]


async def test_they_come_once_and_again_and_again() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log)) as clock:
        once, often = await clock.ask(After(2.5)), await clock.ask(Every(1))
        await trio.sleep(3.5)
        assert log == [("tick", 1), ("tick", 2), ("tock", 2.5), ("tick", 3)]
        assert (once.pending, often.pending) == (False, True)


async def test_one_without_delay_comes_at_once() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log)) as clock:
        await clock.ask(After(0))
        await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert log == [("tock", 0)]


async def test_one_of_the_same_key_is_replaced_and_no_other() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log)) as clock:
        first = await clock.ask(Every(1, key="a", name="first"))
        await clock.ask(Every(1, key="b", name="other"))
        for _ in range(2):
            await clock.ask(After(1.5, name="keyless"))
        await trio.sleep(1.1)
        await clock.ask(After(1, key="a", name="second"))
        assert not first.pending
        await trio.sleep(2)
    assert times(log, "first") == [1]
    assert times(log, "second") == [pytest.approx(2.1)]
    assert times(log, "other") == [1, 2, 3]
    assert times(log, "keyless") == [1.5, 1.5]


async def test_a_key_may_be_used_again_by_another_incarnation() -> None:
    log: Log = []
    child = Child("clock", lambda: Clock(log))
    async with System(child, backoff=AT_ONCE) as system:
        clock = system.ref(child)
        await clock.ask(Every(1, key="a", name="old"))
        clock.tell(Crash())
        await clock.ask(Every(1, key="a", name="new"))
        await trio.sleep(2.5)
    assert log == [("new", 1), ("new", 2)]


@pytest.mark.parametrize("message", [Every(1), After(1)])
async def test_cancelled_they_deliver_nothing_not_even_what_is_due(
    message: Every | After,
) -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log)) as clock:
        timer = await clock.ask(message)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.ask, Nap(5))
            await trio.sleep(3)
            timer.cancel()
            timer.cancel()
        await trio.sleep(5)
        assert not timer.pending
    assert log == []


async def test_they_are_read_before_all_user_messages() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log)) as clock:
        await clock.ask(After(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clock.ask, Nap(2))
            await wait_all_tasks_blocked()
            clock.tell(Note("user"))
    assert log == [("tock", 2), ("user", 2)]


async def test_they_do_not_pile_up_and_keep_their_rhythm() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log)) as clock:
        await clock.ask(Every(1))
        await trio.sleep(0.5)
        await clock.ask(Nap(3.25))
        await trio.sleep(2)
    assert times(log) == [3.75, 4, 5]


async def test_a_handler_slower_than_the_period_is_not_flooded() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log, busy=2.5)) as clock:
        await clock.ask(Every(1))
        await trio.sleep(10)
        assert clock.snapshot().mailbox == 0
        assert times(log) == [1, 3.5, 6, 8.5]


async def test_the_rhythm_does_not_drift() -> None:
    log: Log = []
    async with open_actor(lambda: Clock(log, busy=0.07)) as clock:
        await clock.ask(Every(0.1))
        await trio.sleep(100.05)
    assert len(log) == 1000
    assert times(log)[-1] == pytest.approx(100, abs=1e-6)


async def test_jitter_is_drawn_from_the_random_of_the_system() -> None:
    async def delays(seed: int) -> list[float]:
        log: Log = []
        child = Child("clock", lambda: Clock(log))
        async with System(child, random=Random(seed)) as system:
            begun = trio.current_time()
            await system.ref(child).ask(Every(10, jitter=2))
            await trio.sleep(1005)
        return [at - begun for at in times(log)]

    first, again, other = [await delays(seed) for seed in (1, 1, 2)]
    assert first == pytest.approx(again)
    assert first != pytest.approx(other)
    lags = [at - 10 * n for n, at in enumerate(first, 1)]
    assert len(lags) == 100
    assert all(0 <= lag <= 2 for lag in lags), "late, never early, and no drift"
    assert max(lags) - min(lags) > 1


async def test_they_die_with_their_incarnation_also_what_is_due_already(
    events: list[Event],
) -> None:
    log: Log = []
    child = Child("clock", lambda: Clock(log))
    async with System(child, backoff=AT_ONCE, on_event=[events.append]) as system:
        clock = system.ref(child)
        timers = [await clock.ask(m) for m in (Every(1), After(1), After(9))]
        clock.tell(Crash(after=3))
        await trio.sleep(20)
        assert not any(timer.pending for timer in timers)
    assert log == []
    letters = [e.message for e in events if isinstance(e, DeadLetter)]
    assert letters == [Crash(after=3)], "what was due is no message yet"


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
async def test_a_period_is_a_positive_finite_number(seconds: float) -> None:
    with pytest.raises(ValueError, match="period must be more than 0"):
        async with open_actor(lambda: Clock([])) as clock:
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed):
                await clock.ask(Every(seconds))
            await trio.sleep(1)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
@pytest.mark.parametrize("what", ["delay", "jitter"])
async def test_delay_and_jitter_are_finite_and_not_negative(
    what: str, seconds: float
) -> None:
    message = After(seconds) if what == "delay" else Every(1, jitter=seconds)
    with pytest.raises(ValueError, match=f"{what} must be 0 or more"):
        async with open_actor(lambda: Clock([])) as clock:
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed):
                await clock.ask(message)
            await trio.sleep(1)


async def test_a_message_nobody_handles_is_refused_when_the_timer_is_set() -> None:
    async with open_actor(lambda: Clock([])) as clock:
        assert await clock.ask(SetStrange()) == "refused"
        await trio.sleep(5)


Step = tuple[str, int, float]

KEYS = st.integers(0, 2)
# Quarters are exact in binary, so that the model can compute with them.
QUARTERS = st.integers(1, 12).map(lambda n: n / 4)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["every", "after", "wait"]), KEYS, QUARTERS),
            st.tuples(st.just("cancel"), KEYS, st.just(0.0)),
        ),
        max_size=12,
    ),
    st.integers(0, 8).map(lambda n: n / 4 + 1 / 128),
)
def test_timers_behave_like_a_list_of_due_times(steps: list[Step], nap: float) -> None:
    """Against a model: per key when it is due next, and its period if it has one.

    Each wait, and each end of being busy, falls on a fraction of a quarter of its own,
    so that nothing is due at the moment of a step.
    """

    async def scenario() -> None:
        log: Log = []
        async with open_actor(lambda: Clock(log)) as clock:
            due: dict[int, tuple[float, float | None]] = {}
            timers: dict[int, Timer] = {}
            expected: Log = []

            def advance(until: float, *, busy_until: float = 0) -> None:
                while due:
                    key = min(due, key=lambda k: due[k][0])
                    at, period = due[key]
                    seen = max(at, busy_until)
                    if seen >= until:
                        return
                    expected.append((str(key), seen))
                    if period is None:
                        del due[key]
                    else:
                        due[key] = (at + period * ((seen - at) // period + 1), period)

            for what, key, seconds in steps:
                now = trio.current_time()
                advance(now)
                if what == "every":
                    due[key] = (now + seconds, seconds)
                    timers[key] = await clock.ask(Every(seconds, key, name=str(key)))
                elif what == "after":
                    due[key] = (now + seconds, None)
                    timers[key] = await clock.ask(After(seconds, key, str(key)))
                elif what == "cancel" and key in timers:
                    due.pop(key, None)
                    timers[key].cancel()
                elif what == "wait":
                    await trio.sleep(seconds + 1 / 64)
            advance(trio.current_time())
            end = trio.current_time() + nap
            await clock.ask(Nap(nap))
            await trio.sleep(3 + 1 / 256)
            advance(trio.current_time(), busy_until=end)
            assert sorted(log) == sorted(expected)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_one_set_while_stopping_does_not_reach_the_next_incarnation() -> None:
    log: Log = []

    class Late(Clock):
        async def stopping(self, exit_: Exit) -> None:
            self.ctx.every(1, Tick("late"))
            self.ctx.after(1, Tick("late"))

    child = Child("clock", lambda: Late(log))
    async with System(child, backoff=AT_ONCE) as system:
        system.ref(child).tell(Crash())
        await trio.sleep(5)
        assert system.ref(child).snapshot().incarnation == 2
    assert log == []
