"""A process around a tree: signals, exit codes, and word to the service manager.

====  ==================================================================
exit  the process
====  ==================================================================
0     ended by itself; or with the code that ``main`` returned
1     failed: what was raised is on standard error
70    was ended because an actor was stuck for ``stuck_exit`` seconds, or kept
      its system from ending
71    was ended because its loop was blocked; see ``watch_loop``
130   was stopped by SIGINT, in order
143   was stopped by SIGTERM, in order
====  ==================================================================
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager

import trio

from actors import Snapshot
from supervision.events import CleanupStarted, ShutdownStuck
from supervision.loopwatch import end_process
from supervision.notify import ServiceManager
from supervision.specs import check_seconds
from supervision.system import System

EXIT_STUCK = 70
"""The exit code of a process that was ended because an actor in it was stuck."""


def run_app(
    main: Callable[[App], Awaitable[int | None]], *, stuck_exit: float | None = 600.0
) -> int:
    """Run ``main`` as the whole of this process; return the code to exit with.

    ``sys.exit(run_app(main))``, where ``main`` enters `App.serve`. The first SIGINT or
    SIGTERM cancels ``main``, so that the tree stops in order; the second ends the
    patience with messages in hand, while cleanups still have their budgets; the third
    ends the process at once.

    An incarnation that can be neither stopped nor cancelled for ``stuck_exit`` seconds
    (None: for ever) ends the process with `EXIT_STUCK`, without further cleanup, so
    that the service manager starts a clean one. So does, at once, a system that should
    end and cannot within its ``shutdown`` seconds.

    Under systemd (``NOTIFY_SOCKET``) it is told of readiness, of the stop, and at half
    of its ``WatchdogSec`` that the loop runs.

    Raises:
        RuntimeError: this is not the main thread, where signals are handled.
        ValueError: ``stuck_exit`` is no positive number of seconds, or the service
            manager's environment variables are malformed.
        Exception: whatever ``main`` raises.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "run_app handles signals, which only the main thread can; elsewhere enter "
            "the System in a trio run of your own"
        )
    if stuck_exit is not None:
        check_seconds("stuck_exit", stuck_exit)
    return trio.run(App(stuck_exit)._run, main)


class App:
    """The process, as its ``main`` sees it. Made by `run_app`."""

    def __init__(self, stuck_exit: float | None) -> None:
        self.interrupted: signal.Signals | None = None
        """The first signal to stop that came."""
        self._stuck_exit = stuck_exit
        self._manager = ServiceManager.from_environment(os.environ)
        self._signals = 0
        self._systems: list[System] = []
        self._main_scope = trio.CancelScope()

    @asynccontextmanager
    async def serve(self, system: System) -> AsyncGenerator[System, None]:
        """Enter ``system``, and tell the service manager once it is up.

        The signals and limits of `run_app` apply to systems that are served. Leaving it
        is a comprehensive cleanup of the system: see `CleanUp`.
        """
        emit, path = system._runtime.emit, system.root.path
        self._systems.append(system)
        if self._stuck_exit is not None:
            await self._services.start(self._end_when_overdue, system)
        with ExitStack() as after:
            after.callback(self._systems.remove, system)
            async with system:
                self._manager.say("READY=1", "STATUS=running")
                try:
                    yield system
                finally:
                    emit(CleanupStarted(path))
                    after.callback(system._root.collector.complete, path, emit)

    def status(self, text: str) -> None:
        """Say in one line what the process is at, for ``systemctl status``."""
        self._manager.status(text)

    async def _run(self, main: Callable[[App], Awaitable[int | None]]) -> int:
        code, failure = None, None
        async with trio.open_nursery() as self._services:
            services = self._services
            await services.start(self._receive_signals)
            if self._manager.watchdog is not None:
                services.start_soon(self._say_that_we_live, self._manager.watchdog)
            if self._stuck_exit is not None:
                services.start_soon(self._look_for_stuck, self._stuck_exit)
            try:
                with self._main_scope:
                    code = await main(self)
            except Exception as error:
                failure = error  # raised below: a nursery would wrap it
            services.cancel_scope.cancel(reason="main has ended")
        if failure is not None:
            raise failure
        if self._main_scope.cancelled_caught and self.interrupted is not None:
            return 128 + self.interrupted
        return code or 0

    # -- signals --------------------------------------------------------------------

    async def _receive_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self._obey(signal.Signals(number))

    def _obey(self, number: signal.Signals) -> None:
        self._signals += 1
        if self.interrupted is None:
            self.interrupted = number
            self._manager.say("STOPPING=1", f"STATUS=stopping: {number.name}")
            self._main_scope.cancel(reason=f"received {number.name}")
        elif self._signals == 2:
            for system in self._systems:
                system.hurry()
        else:
            end_process(128 + number, f"ended at once by a third {number.name}\n")

    # -- signs of life --------------------------------------------------------------

    async def _say_that_we_live(self, limit: float) -> None:
        while True:
            self._manager.say("WATCHDOG=1")
            await trio.sleep(limit / 2)

    async def _look_for_stuck(self, limit: float) -> None:
        since: dict[tuple[str, int], float] = {}
        while True:
            await trio.sleep(limit / 20)
            now = trio.current_time()
            since = {
                (each.path, each.incarnation): since.get(
                    (each.path, each.incarnation), now
                )
                for system in self._systems
                for each in _stuck(system.snapshot())
            }
            for (path, incarnation), begin in since.items():
                if now - begin >= limit:
                    text = (
                        f"{path}, incarnation {incarnation}, has been stuck for "
                        f"{now - begin:.0f} s; the process ends with exit code "
                    )
                    end_process(EXIT_STUCK, f"{text}{EXIT_STUCK}\n")

    async def _end_when_overdue(
        self, system: System, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with system._runtime.subscribe(ShutdownStuck) as overdue:
            task_status.started()
            async for event in overdue:
                lines = [f"{event.path} cannot end, and its time to is over:"]
                for one in event.stuck:
                    lines += [f"{one.path} would not die:", *one.stack]
                lines.append(f"the process ends with exit code {EXIT_STUCK}")
                end_process(EXIT_STUCK, "\n  ".join(lines) + "\n")


def _stuck(tree: Snapshot) -> Iterator[Snapshot]:
    if tree.state == "stuck":
        yield tree
    for child in tree.children:
        yield from _stuck(child)
