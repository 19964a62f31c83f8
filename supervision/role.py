"""One child of a supervisor: starting it, stopping it, looking at it.

A role carries out what it is told and reports what happens; it decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from actors import Exit, Ref, State
from actors._core.cleanup import remove_directory
from actors._core.exits import KILLED
from actors._core.incarnation import Incarnation
from actors._core.mailbox import STOP
from actors.events import Cleaned
from supervision.events import (
    Crashed,
    Decision,
    LeftOver,
    Restarted,
    StartTimedOut,
    Stuck,
)
from supervision.moments import BEGUN, OVER, PAST, SETTLED, Course, Occasion
from supervision.parent import Parent, StartFailed
from supervision.plan import (
    ChildExited,
    ChildStopped,
    ChildStuck,
    StartFailed as StartHasFailed,
)
from supervision.specs import Child

if TYPE_CHECKING:
    from actors._core.alarms import ScheduledCall
    from supervision.roles import Roles

UNWIND = 1.0
"""Seconds a cancelled child may take to unwind, beyond its cleanup budget, before
it is stuck."""

DEFAULT_SHUTDOWN = 5.0
"""Seconds a child that is no supervisor may take for the message in hand."""

REMIND = 60.0
"""Seconds between two reports of the same stuck child."""


class Role:
    """One child of one incarnation of a supervisor."""

    __slots__ = (
        "_asked",
        "_backoff",
        "_course",
        "_free",
        "_left_over",
        "_life",
        "_roles",
        "_seen_off",
        "_start_limit",
        "child",
        "cleaned",
        "cleaning",
        "comes_up",
        "crash",
        "goes_down",
        "is_up",
        "last",
        "name",
        "ref",
    )

    def __init__(self, child: Child[Any], ref: Ref[Any], roles: Roles) -> None:
        self.child = child
        self.name = child.name
        self.ref = ref
        self.last: Exit | None = None
        """How the latest incarnation ended."""
        self.crash: Exit | None = None
        """The same, if it failed and nobody has reported that yet."""
        self.cleaned: Cleaned | None = None
        """What its cleanup did."""
        self.cleaning = False
        """Whether a comprehensive cleanup of it is under way."""
        # For whoever asked for it; the supervisor tells.
        self.comes_up = Occasion()
        self.goes_down = Occasion()
        self._roles = roles
        self._left_over: tuple[Path, ...] = ()
        """Temporary directories that their cleanups should have removed."""
        self._life: Incarnation | None = None
        self._free: Incarnation | None = None
        """The one that has just ended, while its task reports that, and is free."""
        self._backoff: ScheduledCall | None = None
        self._start_limit: ScheduledCall | None = None
        self.is_up = False
        """Whether its latest incarnation has been up; false again with the next."""
        self._asked = False
        """Whether it is to stop, so that its end is no news."""
        self._seen_off = False
        # Over iff no incarnation lives, nor will without a start().
        self._course = PAST

    @property
    def state(self) -> State:
        """What it is doing."""
        return self.ref._mailbox.state

    @state.setter
    def state(self, state: State) -> None:
        """For the pictures of snapshots too."""
        self.ref._mailbox.state = state

    # -- starting -----------------------------------------------------------------

    def start(self, delay: float = 0.0) -> None:
        """Begin the next incarnation in ``delay`` seconds, in a task of its own.

        What comes of it is reported: `ChildStarted` and later `ChildExited`, or
        `StartFailed`. Once it was told to stop, nothing is but what `see_off` says.
        """
        self.is_up = self._asked = self._seen_off = False
        self._course = Course()
        self.ref._mailbox.reopen()
        self.ref._mailbox.waits_for.clear()
        if delay:
            self.state = "backing off"
            self._backoff = self._roles.call_in(delay, self._begin)
        else:
            self._begin()
        if self._left_over:
            self._roles.spawn(self._remove_left_over)

    def _begin(self) -> None:
        child, free = self.child, self._free
        nursery = self._roles.nursery
        life = self._life = Incarnation(
            self.ref,
            self._make,
            nursery,
            self._has_come_up,
            child.handler_timeout,
            child.cleanup,
            None if free is None else free.leash,
        )
        if free is not None:
            # This is still its task, which has our context from its next step on.
            task: Any = free.task
            task.context = copy_context()
            task.context.run(life.settle_in, task)
            life.leash.renew()
        else:
            try:
                nursery.start_soon(self._play, life, name=self.ref.path)
            except RuntimeError:
                # An interrupt has ended the nursery and is on its way. Nobody plays
                # any more, and nobody is to wait for that.
                self._life = None
                self._is_over()
                return
        life.make()
        if not life.ready:
            self._start_limit = self._roles.call_in(
                child.start_timeout, self._is_too_slow
            )

    def call_off(self) -> None:
        """Do not start it after all, if its start has been put off."""
        if self._backoff is not None and self._backoff.pending:
            self._backoff.cancel()
            self._is_over()

    def _is_over(self) -> None:
        self.state = "stopped"
        self._course.reach(OVER)

    async def begun(self) -> None:
        """Wait until the start is over.

        Raises:
            StartFailed: it did not come up.
        """
        await self._course.wait(BEGUN)
        if not self.is_up:
            failure = self.last and self.last.failure
            if isinstance(failure, StartFailed):
                raise failure
            raise StartFailed(f"{self.ref.path} was stopped while it started")

    async def _play(self, life: Incarnation) -> None:
        # The whole life of a child is spent in here: each further frame between its
        # task and its reader would cost memory, and a step of every wake-up.
        leash = life.leash
        life.settle_in(trio.lowlevel.current_task())
        try:
            while True:
                exit_ = KILLED
                try:
                    exit_ = await life.live()
                    if not self.is_up and not self._asked:
                        exit_ = self._start_failed(life, exit_)
                finally:
                    self._has_lived(life, exit_)
                if self._asked:
                    return
                self._report_end(life, exit_)
                if self._life is None:
                    return
                life = self._life
                if not life.ready:  # else its reader lets others have their turn
                    await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            leash.let_go()

    def _report_end(self, life: Incarnation, exit_: Exit) -> None:
        """Report it; if the next incarnation begins at once, this task plays it too.

        A new task and scope would cost as much as all the rest of a restart.
        """
        self._free = life
        if self.is_up:
            failed = exit_.kind not in ("normal", "shutdown")
            self._roles.report(self, ChildExited(self.name, failed))
        else:
            self._roles.report(self, StartHasFailed(self.name))
        self._free = None

    def _has_lived(self, life: Incarnation, exit_: Exit) -> None:
        self._life = None
        if self._start_limit is not None:
            self._start_limit.cancel()
        box = self.ref._mailbox
        self.last = box.last_exit = exit_
        self.crash = exit_ if exit_.failed else None
        self.cleaned = life.cleaned
        if life._directory is not None:
            self._left_over = (*self._left_over, life._directory)
        self._course.reach(OVER)

    def report_crash(self, decision: Decision) -> None:
        """Report how it failed and what is done about it, unless that has been."""
        if self.crash is not None:
            box = self.ref._mailbox
            crash, self.crash = self.crash, None
            self._roles.emit(
                Crashed(box.path, box.incarnations, crash, self.cleaned, decision)
            )

    async def _remove_left_over(self) -> None:
        directories, self._left_over = self._left_over, ()
        for directory in directories:
            try:
                await trio.to_thread.run_sync(
                    remove_directory, directory, abandon_on_cancel=True
                )
            except FileNotFoundError:
                continue
            except OSError:
                self._left_over = (*self._left_over, directory)  # for the next start
            self._roles.emit(LeftOver(self.ref.path, "temp_dir", 1))

    def _make(self) -> object:
        actor = self.child.factory()
        if isinstance(actor, Parent):
            actor.recorder = self._roles.recorder
            actor.collector = self._roles.collector
            actor.on_held_up = self._held_up
        return actor

    def _has_come_up(self) -> None:
        self.is_up = True
        if self._start_limit is not None:
            self._start_limit.cancel()
        self._course.reach(BEGUN)
        if self._asked:
            return
        box = self.ref._mailbox
        if box.incarnations > 1:
            self._roles.emit(Restarted(box.path, box.incarnations))
        self._roles.is_up(self)

    def _start_failed(self, life: Incarnation, exit_: Exit) -> Exit:
        """Say why it did not start."""
        error = life.why_interrupted
        if error is None:
            failure = exit_.failure
            how = f"did not start: {failure!r}" if failure else "was killed"
            error = StartFailed(f"{self.ref.path} {how}")
            error.__cause__ = failure
        return Exit("failed", error)

    def _is_too_slow(self) -> None:
        life = self._life
        if life is None or self._asked:
            return
        seconds, path = self.child.start_timeout, self.ref.path
        self._roles.emit(StartTimedOut(path, life.number, seconds))
        why = f"{path} did not finish started() within {seconds:g} s"
        life.interrupt(StartFailed(why), reason=why)
        self._roles.spawn(self._see_off_slow, life)

    async def _see_off_slow(self, life: Incarnation) -> None:
        # It may be over by now, and its successor under way.
        if self._life is life and not await self.ended():
            self._asked = True
            await self.see_off()

    # -- stopping -------------------------------------------------------------------

    def stop(self, *, final: bool) -> None:
        """Ask it to stop, or cancel whatever leads to its next incarnation."""
        life = self._life
        if final and life is not None and isinstance(life.actor, Parent):
            life.actor.final = True
        if self._asked:
            return
        self._asked = True
        self.call_off()
        if life is None or self.state == "stuck":
            return
        self.state = "stopping"
        if self.is_up:
            self.ref._mailbox.post(STOP)
        else:
            life.interrupt(None, f"{self.ref.path} is being stopped")

    async def see_off(self) -> None:
        """Wait for the end of what was told to stop, and report it."""
        if self._seen_off:
            return
        self._seen_off = True
        if not await self.ended():
            self._roles.report(self, ChildStuck(self.name))
            await self._course.wait(OVER)
        self._roles.report(self, ChildStopped(self.name))

    async def ended(self) -> bool:
        """Wait for the end of what was told to stop; False: it is stuck.

        It may finish the message in hand within ``shutdown`` seconds; then it is
        cancelled, and has its cleanup budget.
        """
        # Those of this life: the next may have begun by the time we wake.
        life, course = self._life, self._course
        await _within(self._patience(), course)
        if course.stage >= SETTLED or life is None:
            return course.stage == OVER
        if self.is_up:  # a start has been cancelled already
            self.kill(f"{self.ref.path} did not stop in time")
            parent = isinstance(life.actor, Parent)
            await _within(math.inf if parent else self._unwinding(), course)
        if course.stage < SETTLED:
            self._declare_stuck(life)
        return course.stage == OVER

    def kill(self, reason: str) -> None:
        """Cancel it, and all below it at once; their cleanups have their budgets."""
        self.call_off()
        life = self._life
        if life is not None:
            life.kill(reason)
            if isinstance(life.actor, Parent):
                life.actor.kill_all(reason)

    def _patience(self) -> float:
        # The children of a supervisor have limits of their own.
        actor = None if self._life is None else self._life.actor
        if not self.is_up:
            return math.inf if isinstance(actor, Parent) else self._unwinding()
        if self.child.shutdown is not None:
            return self.child.shutdown
        return math.inf if isinstance(actor, Parent) else DEFAULT_SHUTDOWN

    def _unwinding(self) -> float:
        return self.child.cleanup + UNWIND

    # -- stuck ------------------------------------------------------------------------

    def _declare_stuck(self, life: Incarnation) -> None:
        self._give_up_hope(life)
        self._roles.emit(self._stuck_at())
        self._roles.spawn(self._remind)

    def _held_up(self) -> None:
        """A supervisor: it has stopped, but for children that are stuck."""
        life = self._life
        if life is None:
            return
        self._give_up_hope(life)
        if not self.is_up and not self._asked:
            self._asked = True
            self._roles.spawn(self.see_off)

    def _give_up_hope(self, life: Incarnation) -> None:
        """Let nobody wait for it any more."""
        self.state = "stuck"
        exit_ = KILLED
        if life.given_up is None:  # else that has been settled before
            life.settle(exit_)
        self._roles.refuse(self.ref, exit_)
        self._course.reach(SETTLED)

    async def _remind(self) -> None:
        # Shielded against the end of the supervisor, which waits for that task too.
        with trio.CancelScope(shield=True):
            while self._course.stage < OVER:
                with trio.move_on_after(REMIND):
                    await self._course.wait(OVER)
                    return
                self._roles.emit(self._stuck_at())

    def stuck(self) -> Sequence[Stuck]:
        """Those of this role and below that cannot be ended, and where they hang."""
        if self.state != "stuck":
            return ()
        actor = None if self._life is None else self._life.actor
        return actor.stuck() if isinstance(actor, Parent) else (self._stuck_at(),)

    async def over(self) -> None:
        """Wait until no task of it lives."""
        await self._course.wait(OVER)

    def _stuck_at(self) -> Stuck:
        stack = self._life.stack() if self._life is not None else ()
        return Stuck(self.ref.path, self.ref._mailbox.incarnations, stack)


async def _within(seconds: float, course: Course) -> None:
    with trio.move_on_after(seconds):
        await course.wait(SETTLED)
