"""What a demonstration is asked to do, checked before anything is started."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import attrs

from validator.adapters import dst_files
from validator.domain import dst
from validator.domain.dst import DstSeries
from validator.domain.schedule import HOUR, floor_hour
from validator.simulation.storm import ONSET, synthetic_storm

SYNTHETIC_START = datetime(2024, 5, 9, tzinfo=UTC)
"""When the made-up storm's data begin; it breaks out 30 hours later."""


class UsageError(Exception):
    """What the user asked for cannot be done; one line says what and where."""


@attrs.frozen(kw_only=True)
class Options:
    """The options of ``validator demo``, each within its range.

    Raises:
        UsageError: one is not.
    """

    miners: int = 32
    seed: int = 1
    cycles: int = 3
    hour: float = 5.0
    dst: Path | None = None
    first: datetime | None = None
    data: Path | None = None
    dsn: str | None = attrs.field(default=None, repr=False)
    json: Path | None = None
    chaos: int | None = None

    def __attrs_post_init__(self) -> None:
        _within("--miners", self.miners, 1, 256)
        _within("--cycles", self.cycles, 1, 10_000)
        _within("--hour", self.hour, 1, 3600)
        if self.data is not None and self.dsn is not None:
            raise UsageError("--data and --dsn exclude each other: give one database")
        if self.json is not None:
            _writable("--json", self.json.absolute())


def _within(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{option} must be within {low} and {high}, got {value}")


def _writable(option: str, path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{option} {path}: a folder; give a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option} {path}: not writable")


@attrs.frozen
class Timeline:
    """The observed data of a run, and when its first question goes out."""

    series: DstSeries
    first: datetime


def timeline(options: Options) -> Timeline:
    """Read or make up the data, and check that they cover the run.

    Raises:
        UsageError: they do not, or are not there, or not in the format.
    """
    if options.dst is None:
        return _synthetic(options)
    try:
        series = dst_files.load(options.dst)
    except dst.DstError as error:
        raise UsageError(f"--dst {error}") from error
    # A question needs the value before it, so the second hour is the earliest.
    first = _full_hour(options.first) or next(iter(series)) + HOUR
    return _covered(series, first, options.cycles)


def _synthetic(options: Options) -> Timeline:
    # By default in the main phase, where it is worth watching.
    first = _full_hour(options.first) or SYNTHETIC_START + (ONSET + 3) * HOUR
    days = 3 + (options.cycles + ONSET) // 24
    text = synthetic_storm(SYNTHETIC_START, days=days, random=Random(options.seed))
    series = dst.merge([dst.parse(text, source="synthetic storm")])
    return _covered(series, first, options.cycles)


def _full_hour(when: datetime | None) -> datetime | None:
    if when is None:
        return None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    if floor_hour(when) != when:
        raise UsageError(f"--from must be a full hour, got {when:%Y-%m-%dT%H:%M:%S}")
    return when.astimezone(UTC)


def _covered(series: DstSeries, first: datetime, cycles: int) -> Timeline:
    needed = [first - HOUR, *(first + n * HOUR for n in range(1, cycles + 1))]
    missing = [hour for hour in needed if hour not in series]
    if missing:
        begin, end = next(iter(series)), max(series)
        raise UsageError(
            f"--from {first:%Y-%m-%dT%H} with --cycles {cycles} needs Dst of "
            f"{_span(missing)}, which the data lack; "
            f"they hold {begin:%Y-%m-%dT%H} to {end:%Y-%m-%dT%H}"
        )
    return Timeline(series, first)


def _span(hours: list[datetime]) -> str:
    text = f"{hours[0]:%Y-%m-%dT%H}"
    return text if len(hours) == 1 else f"{text} and {len(hours) - 1} hours more"


def newcomer_at(timeline: Timeline, cycles: int) -> datetime:
    """When a miner is replaced: in the middle of an hour half way through the run."""
    return timeline.first + (cycles // 2) * HOUR + timedelta(minutes=30)
