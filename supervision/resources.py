"""What the process uses. psutil is loaded on the first measurement, not before."""

from __future__ import annotations

import attrs


@attrs.frozen
class Resources:
    """Cheap readings (some 30 us), all of them of the whole process."""

    rss: int
    """Resident memory, bytes."""
    threads: int


def measure() -> Resources:
    """Read what this process uses now."""
    import psutil  # noqa: PLC0415 - embedding must not pay for it

    process = psutil.Process()
    with process.oneshot():
        return Resources(process.memory_info().rss, process.num_threads())
