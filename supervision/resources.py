"""What a process uses, and what each operation did to that. psutil is loaded lazily.

All readings are of a whole process: Python keeps no account of memory, descriptors or
threads per task, so whatever ran meanwhile shows in them too. Work whose memory has to
be told apart belongs in a process of its own, which `Meter` reads by its pid. Only CPU
time can be put down to an actor: `count_cpu`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Ref
from actors._core.refs import owner

if TYPE_CHECKING:
    import psutil

COUNT_DESCRIPTORS_EVERY = 10.0
"""Seconds. The kernel lists them one by one: 0.2 ms for a thousand."""

HIGH_MEMORY = 1.5
"""How many times its previous peak makes the memory of an operation high."""


@attrs.frozen
class Resources:
    """What one whole process uses: cheap readings, some 50 us together."""

    rss: int
    """Resident memory, bytes."""
    vms: int
    """Virtual memory, bytes."""
    cpu: float
    """Seconds of CPU time, user and system, since the process began."""
    threads: int
    descriptors: int | None
    """Open files and sockets, counted at most 10 s ago; None: may not be read."""


class Meter:
    """Reads one process: this one, or that of ``pid``.

    Calling it gives `Resources`; hand it to a system as ``measure``.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._descriptors: int | None = None
        self._counted_at = -COUNT_DESCRIPTORS_EVERY

    @cached_property
    def _process(self) -> psutil.Process:
        import psutil  # noqa: PLC0415 - embedding must not pay for it

        return psutil.Process(self._pid)

    def __call__(self) -> Resources:
        """Read what the process uses now.

        Raises:
            ProcessLookupError: there is no such process any more.
        """
        with self._found():
            process = self._process
            memory, times = process.memory_info(), process.cpu_times()
            return Resources(
                rss=memory.rss,
                vms=memory.vms,
                cpu=times.user + times.system,
                threads=process.num_threads(),
                descriptors=self._count_descriptors(),
            )

    def _count_descriptors(self) -> int | None:
        import psutil  # noqa: PLC0415

        now = perf_counter()
        if now - self._counted_at >= COUNT_DESCRIPTORS_EVERY:
            self._counted_at = now
            try:
                self._descriptors = self._process.num_fds()
            except psutil.AccessDenied:
                self._descriptors = None
        return self._descriptors

    async def open_files(self) -> Sequence[str]:
        """The paths of the regular files that are open, sorted.

        In a thread, since it takes 10 ms for a thousand; never part of a routine.

        Raises:
            ProcessLookupError: there is no such process any more.
        """
        return await trio.to_thread.run_sync(self._open_files)

    def _open_files(self) -> Sequence[str]:
        with self._found():
            return sorted(file.path for file in self._process.open_files())

    @contextmanager
    def _found(self) -> Generator[None, None, None]:
        import psutil  # noqa: PLC0415

        try:
            yield
        except psutil.NoSuchProcess as error:
            raise ProcessLookupError(f"no process {error.pid}: it has ended") from error


# -- memory per operation -----------------------------------------------------------


@attrs.frozen
class MemoryUse:
    """Resident memory of the process, in bytes, as seen by one operation."""

    start: int
    """When the operation began."""
    current: int
    peak: int
    """The highest that operations of this actor and name have seen, this included."""
    previous_peak: int
    """The same without the current reading."""

    @property
    def high(self) -> bool:
        """Whether this reading is over the previous peak by more than half."""
        return self.current > HIGH_MEMORY * self.previous_peak


class OperationMemory:
    """Start, current and peak memory per actor and operation, out of readings.

    The first reading is the first peak. Operations of one actor and name that overlap
    cannot be told apart: the one that began first is taken to end first.
    """

    def __init__(self) -> None:
        self._peak: dict[str, dict[str, int]] = {}
        self._starts: dict[tuple[str, str], deque[int]] = defaultdict(deque)

    def begin(self, path: str, operation: str, rss: int) -> MemoryUse:
        """An operation has begun."""
        self._starts[path, operation].append(rss)
        return self._use(path, operation, rss, rss)

    def end(self, path: str, operation: str, rss: int) -> MemoryUse:
        """An operation has ended; one whose begin was not seen begins here."""
        starts = self._starts[path, operation] or deque((rss,))
        use = self._use(path, operation, starts.popleft(), rss)
        if not starts:
            del self._starts[path, operation]
        return use

    def look(self, rss: int) -> Iterable[tuple[str, str, MemoryUse]]:
        """Read on behalf of every operation that is open."""
        for (path, operation), starts in self._starts.items():
            yield path, operation, self._use(path, operation, starts[0], rss)

    def forget_all_but(self, paths: Collection[str]) -> None:
        """Forget other actors: they are over."""
        for path in [path for path in self._peak if path not in paths]:
            del self._peak[path]
        for key in [key for key in self._starts if key[0] not in paths]:
            del self._starts[key]

    def _use(self, path: str, operation: str, start: int, rss: int) -> MemoryUse:
        peaks = self._peak.setdefault(path, {})
        previous = peaks.get(operation, rss)
        peaks[operation] = max(previous, rss)
        return MemoryUse(start, rss, peaks[operation], previous)


# -- what one incarnation holds -----------------------------------------------------


@attrs.frozen
class Holdings:
    """What an incarnation holds, as far as the runtime knows."""

    steps: Sequence[str]
    """What it has registered to be cleaned up, in the order of registration."""
    temp_files: int
    """Files in its temporary directory, at any depth."""
    temp_bytes: int
    descriptors: int
    """Descriptors of this process that are open on files in there. Others cannot be
    told apart: the kernel knows of processes only."""


async def holdings(ref: Ref[Any]) -> Holdings:
    """What the present incarnation of an actor holds. The disk is read in a thread."""
    life = ref._mailbox.life
    if life is None:
        return Holdings((), 0, 0, 0)
    steps = tuple(name for name, _ in life.steps)
    if (directory := life._directory) is None:
        return Holdings(steps, 0, 0, 0)
    sizes, descriptors = await trio.to_thread.run_sync(_inside, directory)
    return Holdings(steps, len(sizes), sum(sizes), descriptors)


def _inside(directory: Path) -> tuple[Sequence[int], int]:
    sizes = list[int]()
    for file in directory.rglob("*"):
        with suppress(OSError):  # removed meanwhile
            if file.is_file():
                sizes.append(file.stat().st_size)
    descriptors = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            descriptors += link.readlink().is_relative_to(directory)
    return sizes, descriptors


# -- CPU time per actor -------------------------------------------------------------


class CpuTimes(trio.abc.Instrument):
    """Adds up the CPU time that the tasks of each actor take in the loop's thread."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by trio."""
        self._began = thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Called by trio."""
        box = task.context.get(owner)
        path = "" if box is None else box.path
        self._seconds[path] += thread_time() - self._began

    def take(self) -> Mapping[str, float]:
        """Seconds per path since the last call; of no actor's tasks, under ``""``."""
        seconds, self._seconds = self._seconds, defaultdict(float)
        return seconds


@contextmanager
def count_cpu() -> Generator[CpuTimes, None, None]:
    """Count CPU time per actor while the block runs, at about 1 us per task step."""
    times = CpuTimes()
    trio.lowlevel.add_instrument(times)
    try:
        yield times
    finally:
        trio.lowlevel.remove_instrument(times)
