"""Paging through soil regions: ``python -m benchmarks.database_memory`` prints rows.

What it may take depends on the page, and not on how many pages there are.
"""

from __future__ import annotations

import gc
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import trio

from benchmarks.table import Row, at_most, options, report
from validator.adapters.embedded import private_directory, serve
from validator.adapters.postgres import open_store
from validator.domain.soil import REGIONS_AT_ONCE, PreparedRegion, Region
from validator.ports import Store

IMAGE = 5_000_000
PAGE = REGIONS_AT_ONCE * IMAGE
FEW, MANY = 50, 200
TARGET = datetime(2015, 3, 17, 19, 30, tzinfo=UTC)

_BOUND = 2.5 * PAGE / 1e6 + 20
GROWTH = {
    regions: at_most(f"growth, {regions} soil regions", _BOUND, _BOUND, "MB")
    for regions in (FEW, MANY)
}
DIFFERENCE = at_most(f"{FEW} or {MANY} soil regions", 10, 5, "MB")


def rows() -> Iterator[Row]:
    """Each measured in a process of its own, against an embedded server."""
    growth = {regions: _growth_in_a_process(regions) for regions in (FEW, MANY)}
    note = f"peak beyond what was there before; pages of {PAGE / 1e6:g} MB"
    for regions, row in GROWTH.items():
        yield row.found(growth[regions], note)
    yield DIFFERENCE.found(abs(growth[MANY] - growth[FEW]), "how much they differ")


def _growth_in_a_process(regions: int) -> float:
    arguments = [sys.executable, "-m", "benchmarks.database_memory", "--grow"]
    done = subprocess.run(  # noqa: S603 - this very file
        [*arguments, str(regions)], stdout=subprocess.PIPE, check=True
    )
    return float(done.stdout) / 1e6


async def growth(regions: int) -> int:
    """Bytes by which the process grows at its peak while it reads all regions."""
    with private_directory() as directory:
        async with serve(directory) as dsn:
            async with open_store(dsn, schema="memory", fresh=True) as store:
                await _fill(store, regions)
            async with open_store(dsn, schema="memory", fresh=False) as store:
                await store.regions(TARGET)
                gc.collect()
                before = psutil.Process().memory_info().rss
                _forget_peak()
                read = await _read(store)
                if read != regions * IMAGE:
                    raise ValueError(f"read {read} bytes of {regions} regions")
                return _peak() - before


async def _fill(store: Store, regions: int) -> None:
    rng = random.Random(1)
    for number in range(regions):
        box = (float(number), 0.0, number + 1.0, 1.0)
        image = b"II*\0" + rng.randbytes(IMAGE - 4)
        region = Region(TARGET, number, box, box, 32633)
        await store.save_regions([PreparedRegion(region, image)])


async def _read(store: Store) -> int:
    after, size = -1, 0
    while page := await store.unsent_regions(TARGET, after=after):
        size += sum(len(each.image) for each in page)
        after = page[-1].region.number
        del page  # or the next one is read beside it
    return size


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


if __name__ == "__main__":
    parser = options("database_memory")
    parser.add_argument("--grow", type=int, metavar="REGIONS", help="print bytes only")
    given = parser.parse_args()
    if given.grow is not None:
        print(trio.run(growth, given.grow))
    else:
        sys.exit(report(rows(), given.json))
