"""Timers are never early, never twice, and never those of another life."""

from __future__ import annotations

from typing import Literal

import attrs
import trio
from hypothesis import given, settings, strategies as st

from actors import Actor, Tell, Timer
from actors.events import Event, Failed
from actors.testing import Schedule, Trace, World, schedules, simulate
from supervision import Backoff, Child, Intensity, System

QUIET = 20.0


@attrs.frozen
class Op:
    """What the actor is told to do next."""

    what: Literal["after", "every", "cancel", "busy", "crash"]
    key: int
    seconds: float
    pause: float
    """Seconds until it is told."""


OPS = st.lists(
    st.builds(
        Op,
        what=st.sampled_from(["after", "every", "cancel", "busy", "crash"]),
        key=st.integers(0, 1),
        seconds=st.sampled_from([0.5, 1.0, 2.5]),
        pause=st.sampled_from([0.0, 0.5, 1.0]),
    ),
    max_size=8,
)


@attrs.frozen
class Set(Event):
    serial: int
    period: float | None
    due: float
    """When it is first due."""


@attrs.frozen
class Over(Event):
    """It was cancelled, or replaced."""

    serial: int


@attrs.frozen
class Ticked(Event):
    serial: int


@attrs.frozen
class Tick(Tell["Clocked"]):
    serial: int


@attrs.frozen
class Do(Tell["Clocked"]):
    serial: int
    op: Op


class Clocked(Actor):
    def __init__(self, world: World) -> None:
        self._see = world.trace
        self._timers: dict[int, tuple[int, Timer]] = {}

    @Tick.handled
    def tick(self, m: Tick) -> None:
        self._see(Ticked("", m.serial))

    @Do.handled
    async def do(self, m: Do) -> None:
        op = m.op
        match op.what:
            case "after" | "every":
                self._end(op.key)
                period = op.seconds if op.what == "every" else None
                due = trio.current_time() + op.seconds
                self._see(Set("", m.serial, period, due))
                set_timer = self.ctx.after if period is None else self.ctx.every
                timer = set_timer(op.seconds, Tick(m.serial), key=op.key)
                self._timers[op.key] = (m.serial, timer)
            case "cancel":
                await trio.sleep(op.seconds)  # one may come due meanwhile
                self._end(op.key, cancel=True)
            case "busy":
                await trio.sleep(op.seconds)
            case "crash":
                raise LookupError("on purpose")

    def _end(self, key: int, *, cancel: bool = False) -> None:
        """Note that one is over. One that is replaced, the runtime has to cancel."""
        if key in self._timers:
            serial, timer = self._timers.pop(key)
            self._see(Over("", serial))
            if cancel:
                timer.cancel()


@settings(max_examples=2 * settings().max_examples)  # of the profile
@given(OPS, schedules(length=48))
def test_timers_keep_their_time(ops: list[Op], schedule: Schedule) -> None:
    async def main(world: World) -> None:
        child = Child("clocked", lambda: Clocked(world))
        system = System(
            child,
            backoff=Backoff(first=0.0),
            intensity=Intensity(restarts=20),
            on_event=[world.trace],
        )
        async with system:
            for serial, op in enumerate(ops):
                await trio.sleep(op.pause)
                system.ref(child).tell(Do(serial, op))
            await trio.sleep(QUIET + sum(op.seconds for op in ops))

    judge(simulate(main, schedule=schedule, check=50).trace)


def judge(trace: Trace) -> None:
    alive: dict[int, Set] = {}
    ticks: dict[int, list[float]] = {}
    end = max((entry.at for entry in trace), default=0.0)
    for entry in trace:
        match entry.event:
            case Set(_, serial) as timer:
                alive[serial] = timer
            case Over(_, serial):
                alive.pop(serial, None)
            case Failed():
                alive.clear()
            case Ticked(_, serial):
                assert serial in alive, f"{serial} ticked after its end"
                ticks.setdefault(serial, []).append(entry.at)
                _judge_tick(alive[serial], ticks[serial])
            case _:
                pass
    for serial, timer in alive.items():
        got = ticks.get(serial, [])
        assert got or timer.due > end, f"{timer} never ticked"
        if timer.period is not None:
            late = [at for at in got if at > end - QUIET]
            assert all((at - timer.due) % timer.period == 0 for at in late), late
            assert len(late) >= QUIET // timer.period - 1, f"{timer} has fallen silent"


def _judge_tick(timer: Set, got: list[float]) -> None:
    assert got[-1] >= timer.due, f"{timer} was early"
    if timer.period is None:
        assert len(got) == 1, f"{timer} came twice"
        return
    turns = [(at - timer.due) // timer.period for at in got]
    assert turns == sorted(set(turns)), f"{timer} came twice in one period: {got}"
