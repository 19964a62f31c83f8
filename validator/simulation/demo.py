"""The demonstration: the whole validator against a subnet on this machine."""

from __future__ import annotations

import resource
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from random import Random
from typing import Any

import attrs
import psutil
import trio
from rich.console import Console

from actors.events import Sink
from supervision import Child, System, SystemFailed
from supervision.app import App, run_app
from validator.actors.questions import ProcessingRows
from validator.actors.service import Service
from validator.adapters import embedded
from validator.adapters.dst_files import DstFiles
from validator.adapters.fiber.addresses import LOOPBACK
from validator.adapters.fiber.crypto import Hotkey
from validator.adapters.fiber.transport import connect
from validator.adapters.postgres import check_dsn, postgres
from validator.adapters.postgres_lease import postgres_lease
from validator.app import Ports, build
from validator.domain.dst import scaled
from validator.domain.metagraph import Miner
from validator.events import Level
from validator.logs import LogFormat, event_log, make_logger
from validator.ports import StoreUnavailable
from validator.settings import Settings
from validator.simulation.behaviours import HONEST, assign
from validator.simulation.calendar import SimulatedCalendar
from validator.simulation.chain import Registration, SimulatedChain
from validator.simulation.chaos import (
    Chaos,
    Traps,
    chaos_plan,
    hasty,
    spoilt,
)
from validator.simulation.options import (
    Options,
    Timeline,
    UsageError,
    newcomer_at,
    timeline,
)
from validator.simulation.progress import Progress
from validator.simulation.report import (
    Candidate,
    Leaks,
    Report,
    miner_reports,
    table,
)
from validator.simulation.subnet import (
    MinerSpec,
    Subnet,
    SubnetDied,
    SubnetSpec,
    draw_hotkey,
    open_subnet,
)

SCHEMA = "validator_demo"

LEAD = timedelta(minutes=1)
"""Data time before the first question: it goes out at a full hour that lies ahead."""

BLOCK = 1.5
"""Seconds that chaos blocks the loop for, at the most."""

HOST = "127.0.0.1"


class DemoFailed(Exception):
    """The demonstration broke while it ran; says how. Everything was stopped."""


def demonstrate(
    options: Options, *, log_format: LogFormat | None, log_level: Level
) -> int:
    """Run one demonstration and return the exit code of the command.

    Raises:
        UsageError: it cannot be started like this; nothing was.
        DemoFailed: it broke while it ran.
    """
    plan = timeline(options)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 100  # instead of 80, which is for old terminals
    log = event_log(make_logger(style=log_format, level=log_level))
    progress = Progress(options.cycles, console.print)
    with _database(options) as database:
        run = _Run(options, plan, database, progress, log)
        try:
            code = run_app(run.main)
        except (SystemFailed, SubnetDied) as error:
            raise _explained(error) from error
    if code:
        console.print(f"stopped by {signal.Signals(code - 128).name}")
        return code
    report = run.report()
    console.print(table(report))
    if options.json is not None:
        try:
            report.write(options.json)
        except OSError as error:
            raise DemoFailed(f"--json {options.json}: {error.strerror}") from error
    return 0


def _explained(error: Exception) -> Exception:
    """Say what was at the bottom of it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, StoreUnavailable):
        return UsageError(str(cause))
    text = str(error) if cause is error else f"{error}; because: {cause}"
    return DemoFailed(text)


# -- the database -------------------------------------------------------------------


@attrs.frozen
class _Database:
    """Where the store is, and what has to run for it to be there."""

    dsn: str = attrs.field(repr=False)
    directory: embedded.ClaimedDirectory | None

    def services(self) -> list[Child[Any]]:
        """The server to supervise, if it is ours."""
        directory = self.directory
        if directory is None:
            return []
        server = Child(
            "postgres",
            lambda: Service(lambda: embedded.serve(directory)),
            start_timeout=90,
            cleanup=25,
        )
        return [server]

    def temp_files(self) -> int:
        """How much of our private directory is left; 0 once it has been removed."""
        if self.directory is None or not self.directory.run.exists():
            return 0
        return 1 + sum(1 for _ in self.directory.run.rglob("*"))


@contextmanager
def _database(options: Options) -> Generator[_Database, None, None]:
    with ExitStack() as stack:
        if options.dsn is not None:
            database = _Database(options.dsn, None)
        else:
            try:
                directory = stack.enter_context(
                    embedded.private_directory()
                    if options.data is None
                    else embedded.claim_directory(options.data)
                )
            except (
                embedded.DataDirInUse,
                embedded.DataDirUnusable,
                embedded.PostgresMissing,
            ) as error:
                raise UsageError(str(error)) from error
            database = _Database(directory.dsn, directory)
        yield database


# -- the run ------------------------------------------------------------------------


@attrs.define
class _Run:
    """One demonstration, from the first socket to the report."""

    options: Options
    plan: Timeline
    database: _Database
    progress: Progress
    log: Sink
    _cast: tuple[Candidate, ...] = ()
    _weights: Mapping[int, int] = attrs.field(factory=dict[int, int])
    _processing_rows: int = 0
    _tasks: int = 0
    _seconds: float = 0.0

    async def main(self, app: App) -> None:
        """Run until enough is scored; then stop everything."""
        begin, tasks = trio.current_time(), _count_tasks()
        if self.database.directory is None:
            await self._check_dsn()
        async with open_subnet(self._spec()) as subnet:
            await self._validate(app, subnet)
        self._tasks = _count_tasks() - tasks
        self._seconds = trio.current_time() - begin

    async def _check_dsn(self) -> None:
        try:
            await check_dsn(self.database.dsn, schema=SCHEMA)
        except StoreUnavailable as error:
            raise UsageError(f"--dsn: {error}") from error

    def _spec(self) -> SubnetSpec:
        """Cast the miners, and one more who will replace an honest one."""
        seed = self.options.seed
        behaviours = assign(seed, self.options.miners)
        honest = [uid for uid, each in enumerate(behaviours) if each in HONEST]
        replaced = Random(f"replaced:{seed}").choice(honest or [0])
        self._cast = (
            *(
                Candidate(
                    uid, draw_hotkey(seed, str(uid)).address, each, newcomer=False
                )
                for uid, each in enumerate(behaviours)
            ),
            Candidate(
                replaced, draw_hotkey(seed, "newcomer").address, "honest", newcomer=True
            ),
        )
        return SubnetSpec(
            seed=seed,
            validator=self._hotkey().address,
            hour_seconds=self.options.hour,
            miners=tuple(
                MinerSpec(uid=each.uid, hotkey=each.hotkey, behaviour=each.behaviour)
                for each in self._cast
            ),
            truth={
                hour.isoformat(): scaled(value)
                for hour, value in self.plan.series.items()
                if hour > self.plan.first
            },
        )

    def _hotkey(self) -> Hotkey:
        return draw_hotkey(self.options.seed, "validator")

    async def _validate(self, app: App, subnet: Subnet) -> None:
        calendar = SimulatedCalendar(self.plan.first - LEAD, hour=self.options.hour)
        chain = SimulatedChain(self._registrations(subnet), calendar=calendar)
        dsn, hotkey = self.database.dsn, self._hotkey()
        ports = Ports(
            chain=chain,
            connect=connect(hotkey, allowed=LOOPBACK),
            open_database=postgres(dsn, schema=SCHEMA, fresh=True),
            open_lease=postgres_lease(dsn, schema=SCHEMA, hotkey=hotkey.address),
            dst=DstFiles(self.plan.series),
            calendar=calendar,
        )
        settings = _settings(self.options.hour)
        traps = Traps(block=min(BLOCK, 0.25 * self.options.hour))
        if self.options.chaos is not None:
            ports, settings = spoilt(ports, traps), hasty(settings, self.options.hour)
        validator = build(
            ports,
            settings,
            services=self.database.services(),
            on_event=[self.log, self.progress],
            random=Random(self.options.seed),
        )
        async with app.serve(validator.system) as system:
            calendar.go()
            async with self._chaos(system, traps):
                await self.progress.done.wait()
            await system.stop(validator.tasks)
            database = validator.database.client(system)
            self._processing_rows = await database.ask(ProcessingRows(), timeout=30)
        self._weights = chain.weights

    @asynccontextmanager
    async def _chaos(self, system: System, traps: Traps) -> AsyncGenerator[None]:
        """Let things go wrong while the block waits, if that is wanted."""
        seed = self.options.chaos
        if seed is None:
            yield
            return
        plan, hour = chaos_plan(seed), self.options.hour
        chaos = Child("chaos", lambda: Chaos(plan, traps, hour=hour))
        await system.start(chaos)
        yield
        await system.stop(chaos)

    def _registrations(self, subnet: Subnet) -> list[Registration]:
        begin = self.plan.first - LEAD
        *first, newcomer = (
            Miner(miner.uid, miner.hotkey, HOST, miner.port) for miner in subnet.miners
        )
        when = newcomer_at(self.plan, self.options.cycles)
        return [
            *(Registration(begin, miner) for miner in first),
            Registration(when, newcomer),
        ]

    def report(self) -> Report:
        """Put together what came of it; call it once all is stopped and removed."""
        rounds, scored = self.progress.rounds, self.progress.scored
        total = sum(self._weights.values())
        weights = {uid: value / total for uid, value in self._weights.items()}
        miners = miner_reports(self._cast, rounds, scored, weights)
        failed: Counter[str] = Counter()
        for miner in miners:
            failed.update(miner.failed)
        children = psutil.Process().children(recursive=True)
        return Report(
            cycles=len(scored),
            asked=sum(miner.asked for miner in miners),
            answered=sum(miner.answered for miner in miners),
            failed=dict(failed),
            scored=sum(event.scored for event in scored.values()),
            truth={f"{hour:%Y-%m-%dT%H}": e.truth for hour, e in scored.items()},
            weights=weights,
            restarts=self.progress.restarts,
            chaos=self.progress.chaos,
            leaks=Leaks(
                tasks=self._tasks,
                processing_rows=self._processing_rows,
                temp_files=self.database.temp_files(),
                server_processes=len(children),
            ),
            miners=miners,
            seconds=self._seconds,
            peak_rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )


def _settings(hour: float) -> Settings:
    """Fit the limits to short hours; in real ones they are as in production."""
    production = Settings()
    return Settings(
        handshake_timeout=min(production.handshake_timeout, 0.3 * hour),
        query_timeout=min(production.query_timeout, 0.5 * hour),
        # More often would drown the log: an hour of data is over in seconds.
        metagraph_interval=timedelta(minutes=15),
    )


def _count_tasks() -> int:
    """How many tasks there are in this run of trio."""
    root = trio.lowlevel.current_root_task()
    todo, count = [root] if root is not None else [], 0
    while todo:
        count += 1
        for nursery in todo.pop().child_nurseries:
            todo += nursery.child_tasks
    return count
