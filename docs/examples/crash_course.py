"""A tree of three levels in which every kind of failure happens once.

It draws a chart: a column for each actor, and time runs downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs
import trio

from actors import Actor, Stop, Tell
from actors.events import Cleaned, Event, Failed, Started, Stopped
from supervision import Backoff, Child, Intensity, Supervisor, System
from supervision.events import BackingOff, Escalated, StartTimedOut, Stuck

Mischief = Literal["raise", "dawdle", "lose a task", "leave", "freeze"]


@attrs.frozen
class Do(Tell["Pupil"]):
    what: Mischief


class Pupil(Actor):
    def __init__(self, *, oversleeps_in_life: int = 0) -> None:
        self.oversleeps_in_life = oversleeps_in_life

    async def started(self) -> None:
        if self.ctx.incarnation == self.oversleeps_in_life:
            await trio.sleep_forever()

    @Do.handled
    async def do(self, m: Do) -> None:
        match m.what:
            case "raise":
                raise ValueError("a wrong answer")
            case "dawdle":
                await trio.sleep_forever()
            case "lose a task":
                await self.ctx.start(self.break_off)
                await trio.sleep_forever()
            case "leave":
                self.ctx.cleanup("tidy up", self.spill_ink)
                raise Stop
            case "freeze":
                with trio.CancelScope(shield=True):
                    await trio.sleep(1.3)

    async def break_off(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise OSError("a broken pencil")

    async def spill_ink(self) -> None:
        raise OSError("ink everywhere")


class Chart:
    """A sink of events that prints one line for each."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self.alive: set[str] = set()

    def __call__(self, event: Event) -> None:
        name = event.path.rpartition("/")[2]
        match event:
            case Started(incarnation=number):
                self.alive.add(name)
                self.line(name, "●", f"starts, life {number}")
            case Failed(exit=exit_):
                self.line(name, "✗", f"fails: {type(exit_.failure).__name__}")
                self.alive.discard(name)
            case Stopped(exit=exit_):
                self.line(name, "○", f"ends: {exit_.kind}")
                self.alive.discard(name)
            case Cleaned(failed=[(step, error), *_]):
                self.line(name, "!", f"could not {step}: {error}")
            case StartTimedOut():
                self.line(name, "✗", "does not start in time")
            case BackingOff(attempt=attempt):
                self.line(name, "…", f"will be started again, attempt {attempt}")
            case Escalated(child=child):
                self.line(name, "▲", f"gives up: {child} has failed too often")
            case Stuck():
                self.line(name, "■", "is stuck: it cannot be stopped or killed")
            case _:
                pass

    def line(self, name: str, mark: str, text: str) -> None:
        def at(column: str) -> str:
            return mark if column == name else "│" if column in self.alive else " "

        print("   ".join(map(at, self.columns)), f"  {name} {text}")


async def main() -> None:
    ann = Child("ann", Pupil)
    bob = Child("bob", Pupil, handler_timeout=0.05)
    cleo = Child("cleo", Pupil)
    dora = Child("dora", lambda: Pupil(oversleeps_in_life=2), start_timeout=0.05)
    eve = Child("eve", Pupil, restart="transient")
    fay = Child("fay", Pupil, shutdown=0.05, cleanup=0.05)
    room = Child(
        "room",
        lambda: Supervisor(
            *(ann, bob, cleo, dora, eve),
            intensity=Intensity(restarts=5, within=60),
            backoff=Backoff(first=0.01),
        ),
    )
    script: Sequence[tuple[Child[Pupil], Mischief]] = (
        (ann, "raise"),
        (bob, "dawdle"),
        (cleo, "lose a task"),
        (dora, "raise"),
        (eve, "leave"),
        (ann, "raise"),
        (fay, "freeze"),
    )

    chart = Chart("school", "room", "ann", "bob", "cleo", "dora", "eve", "fay")
    async with System(room, fay, name="school", on_event=[chart]) as system:
        for pupil, what in script:
            chart.line(pupil.name, "▶", f"is told to {what}")
            system.ref(pupil).tell(Do(what))
            await trio.sleep(0.15)
        print("-- the end")


if __name__ == "__main__":
    trio.run(main)
