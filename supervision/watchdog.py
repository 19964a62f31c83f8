"""The watchdog: sees what no single actor can see, and says so in events.

That is an event loop that is blocked, memory that grows from one run of an operation
to the next, and waits for what others hold. It need not look for slow and frozen work:
the runtime and the supervisors report that themselves, with the stack, and repeat it
while it lasts (`OperationSlow`, `Frozen`, `Stuck`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import trio

from actors import Actor, Ask, Ref, Tell
from actors.events import OperationEnded, OperationStarted
from supervision.events import Contended, HighMemory, LoopBlocked, Summary
from supervision.loopwatch import Blocked, watch_loop
from supervision.metrics import ActorMetrics, Contention, Metrics, walk
from supervision.resources import MemoryUse, Meter, OperationMemory, Resources


@attrs.frozen
class GetMetrics(Ask["Watchdog", Mapping[str, ActorMetrics]]):
    """The metrics of every actor of the tree, by path."""

    system: ClassVar[bool] = True


@attrs.frozen
class GetOpenFiles(Ask["Watchdog", tuple[str, ...]]):
    """The paths of the regular files that the process has open; read in a thread."""


@attrs.frozen
class Look(Tell["Watchdog"]):
    """Look at the tree now; the watchdog tells itself so at regular intervals."""


@attrs.frozen
class Summarise(Tell["Watchdog"]):
    """Report a `Summary` now; the watchdog tells itself so at regular intervals."""


class Watchdog(Actor):
    """Watches one system, as a child of it: the first, so that it ends last.

    ``root`` is the root of the tree it looks at, ``metrics`` a sink of the same system.
    """

    def __init__(
        self,
        root: Ref[Any],
        metrics: Metrics,
        *,
        every: float = 10.0,
        summary: float = 300.0,
        waiting: float = 1.0,
        loop_limit: float | None = 1.0,
        loop_hard: float | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Set it up.

        Args:
            root: The root of the tree.
            metrics: What it counts with.
            every: Seconds between two looks at the tree.
            summary: Seconds between two summaries.
            waiting: So many that wait for one thing, on average, are `Contended`.
            loop_limit: See `watch_loop`. None: no thread watches the loop.
            loop_hard: See `watch_loop`.
            meter: Reads the process.
        """
        self._root = root
        self._metrics = metrics
        self._every = every
        self._summary = summary
        self._loop_limit = loop_limit
        self._loop_hard = loop_hard
        self._meter = meter or Meter()
        self._memory = OperationMemory()
        self._waiting = waiting

    async def started(self) -> None:
        if self._loop_limit is not None:
            await self.ctx.enter(
                watch_loop(
                    self._was_blocked, limit=self._loop_limit, hard=self._loop_hard
                )
            )
        waited, now = self._metrics.waited(self._root.snapshot()), trio.current_time()
        self._contention = Contention(self._waiting, waited, now)
        self.ctx.every(self._every, Look())
        self.ctx.every(self._summary, Summarise())

    def _was_blocked(self, blocked: Blocked, seconds: float) -> None:
        path = blocked.actor or self.ctx.me.path
        self.ctx.emit(
            LoopBlocked(path, blocked.task, seconds, blocked.where, blocked.stack)
        )

    # -- memory per operation ---------------------------------------------------------

    async def run(self) -> None:
        """Compare every reading of an operation with the peak before it."""
        with self.ctx.subscribe(OperationStarted, OperationEnded) as events:
            async for event in events:
                match event:
                    case OperationStarted(path, name, Resources(rss=rss)):
                        self._check(path, name, self._memory.begin(path, name, rss))
                    case OperationEnded(path, name, resources=Resources(rss=rss)):
                        self._check(path, name, self._memory.end(path, name, rss))
                    case _:
                        pass  # nobody measured it

    def _check(self, path: str, operation: str, use: MemoryUse) -> None:
        if use.high:
            event = HighMemory(path, operation, use.current, use.previous_peak)
            self.ctx.emit(event)

    # -- the whole tree ---------------------------------------------------------------

    @Look.handled
    def look(self, m: Look) -> None:
        tree, now = self._root.snapshot(), trio.current_time()
        alive = {actor.path for actor in walk(tree)}
        self._metrics.forget_all_but(alive)
        self._memory.forget_all_but(alive)
        for path, operation, use in self._memory.look(self._meter().rss):
            self._check(path, operation, use)
        waited = self._metrics.waited(tree)
        for (path, what), many in self._contention.look(waited, now).items():
            self.ctx.emit(Contended(path, what, many))

    @Summarise.handled
    def summarise(self, m: Summarise) -> None:
        tree, now = self._root.snapshot(), trio.current_time()
        errors: Counter[str] = Counter()
        for metrics in self._metrics.read(tree, now).values():
            errors.update({kind: n for kind, (_, n, _) in metrics.errors.items()})
        actors = list(walk(tree))
        self.ctx.emit(
            Summary(
                self.ctx.me.path,
                actors=len(actors),
                not_running={a.path: a.state for a in actors if a.state != "running"},
                restarts=sum(actor.restarts for actor in actors),
                errors={kind: n for kind, n in errors.items() if n},
                resources=self._meter(),
            )
        )

    @GetMetrics.handled
    def get_metrics(self, m: GetMetrics) -> Mapping[str, ActorMetrics]:
        return self._metrics.read(self._root.snapshot(), trio.current_time())

    @GetOpenFiles.handled
    async def get_open_files(self, m: GetOpenFiles) -> tuple[str, ...]:
        return tuple(await self._meter.open_files())
