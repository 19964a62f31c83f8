"""The Dst index: hourly values in nT, and the WDC exchange format they come in.

The format (World Data Center for Geomagnetism, Kyoto) has one record of 120 columns
per day. It must be read by column: missing values (9999) and values below -99 run
together without a space. Columns, counted from 1:

    1-3 ``DST``, 4-5 year, 6-7 month, 8 ``*``, 9-10 day, 11-12 ``RR`` quick look,
    ``PP`` provisional or blank, 13 ``X``, 14 version, 15-16 century, 17-20 base value
    in 100 nT, 21-116 one value in nT for each hour of the day, 117-120 daily mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NewType

import attrs

from validator.domain.schedule import HOUR, floor_hour

Nanotesla = NewType("Nanotesla", int)
"""Dst as published: whole nT."""

ScaledDst = NewType("ScaledDst", float)
"""Dst as it travels to and from miners: nT / 100."""

DstSeries = Mapping[datetime, Nanotesla]
"""Start of the hour (UTC) -> mean over that hour; in order of time, gaps left out."""

_MISSING = 9999
_HOURS = 24
_HEAD = re.compile(
    r"DST(?P<year>\d\d)(?P<month>\d\d)\*(?P<day>\d\d)"
    r"[ A-Z]{2}X(?P<version>\d)(?P<century>\d\d)",
    re.ASCII,
)
# Stricter than int(), which also takes "1_0", "+5" and digits of any script.
_NUMBER = re.compile(r" *-?\d+", re.ASCII)


class DstError(Exception):
    """Observed Dst cannot be had from what was given; says why, in one line."""


class DstFormatError(DstError):
    """A text is not in the WDC exchange format."""

    def __init__(self, source: str, line_number: int, what: str) -> None:
        super().__init__(f"{source}:{line_number}: {what}")
        self.source = source
        self.line_number = line_number
        self.what = what


class DstConflict(DstError):
    """Two files of the same version disagree about an hour: one of them is wrong."""

    def __init__(self, hour: datetime, version: int, first: str, second: str) -> None:
        super().__init__(
            f"{first} and {second} hold different values for {hour:%Y-%m-%dT%H}, "
            f"both of version {version}; remove one of them"
        )
        self.hour = hour
        self.version = version
        self.sources = (first, second)


@attrs.frozen
class Observation:
    """The Dst of one hour, and how definite it is.

    ``version`` is the format's digit: 0 quick look, 1 provisional, 2 final, above 2
    corrected. The higher one is the better one.
    """

    value: Nanotesla
    version: int


@attrs.frozen
class DstFile:
    """What one text in the WDC exchange format holds; missing hours are left out."""

    source: str
    observations: Mapping[datetime, Observation]


def scaled(value: Nanotesla) -> ScaledDst:
    """Convert nT to the unit of questions and answers."""
    return ScaledDst(value / 100)


def parse(text: str, *, source: str) -> DstFile:
    """Read a text in the WDC exchange format; records may be in any order.

    Blank lines are skipped, and so is blank space after column 120. An hour that
    stands twice with the same value counts once, with its better version.

    Args:
        text: the records.
        source: where the text is from, for error messages.

    Raises:
        DstFormatError: a line is no record, an hour has two values, or there is no
            record at all.
    """
    observations: dict[datetime, Observation] = {}
    number = empty = 0
    # Not splitlines(): it also breaks at characters no editor counts as a line end.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            empty += 1
            continue
        try:
            for hour, found in _read_record(line.rstrip()):
                _add(observations, hour, found)
        except ValueError as error:
            raise DstFormatError(source, number, str(error)) from None
    if empty == number:
        raise DstFormatError(source, number, "the text holds no Dst record")
    return DstFile(source, observations)


def _add(
    observations: dict[datetime, Observation], hour: datetime, found: Observation
) -> None:
    known = observations.get(hour, found)
    if known.value != found.value:
        raise ValueError(
            f"{hour:%Y-%m-%dT%H} is {found.value} nT here "
            f"and {known.value} nT further up"
        )
    if known.version <= found.version:
        observations[hour] = found


def _read_record(line: str) -> Iterator[tuple[datetime, Observation]]:
    head = _HEAD.match(line)
    if head is None:
        raise ValueError(f"no Dst record, it begins with {line[:20]!r}")
    if len(line) != 120:
        raise ValueError(f"a Dst record has 120 columns, this one has {len(line)}")
    year = int(head["century"] + head["year"])
    try:
        day = datetime(year, int(head["month"]), int(head["day"]), tzinfo=UTC)
    except ValueError:
        raise ValueError(
            f"no such date: {line[3:10]!r} in century {year // 100}"
        ) from None
    version = int(head["version"])
    base = _number(line, 17) * 100
    _number(line, 117)
    for index in range(_HOURS):
        value = _number(line, 21 + 4 * index)
        if value != _MISSING:
            found = Observation(Nanotesla(base + value), version)
            yield day + index * HOUR, found


def _number(line: str, column: int) -> int:
    text = line[column - 1 : column + 3]
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"columns {column}-{column + 3} hold no number: {text!r}")
    return int(text)


def merge(files: Iterable[DstFile]) -> DstSeries:
    """Join several files to one series; the better version of an hour wins.

    The order of the files does not matter: a disagreement between two worse versions
    is settled by a better one, wherever that stands.

    Raises:
        DstConflict: the best version of an hour has two different values.
    """
    files = tuple(files)
    best: dict[datetime, int] = {}
    for file in files:
        for hour, found in file.observations.items():
            best[hour] = max(found.version, best.get(hour, found.version))
    chosen: dict[datetime, tuple[Nanotesla, str]] = {}
    for file in files:
        for hour, found in file.observations.items():
            if found.version < best[hour]:
                continue
            value, source = chosen.setdefault(hour, (found.value, file.source))
            if value != found.value:
                raise DstConflict(hour, found.version, source, file.source)
    return {hour: chosen[hour][0] for hour in sorted(chosen)}


def format_days(series: DstSeries, *, version: int) -> str:
    """Write a series in the WDC exchange format, as ``parse`` reads it.

    There is one record for every day from that of the first hour to that of the last;
    absent hours become 9999. The daily mean is that of the hours the day has, rounded
    half away from zero, as in the files of the data center.

    Args:
        series: at least one value; every key is a full hour.
        version: the digit for all records, see ``Observation``.

    Raises:
        ValueError: the series is empty, a key is no full hour, the version is no
            digit, or a value does not fit its four columns.
    """
    if not series:
        raise ValueError("a series without a value has no days to write")
    if version not in range(10):
        raise ValueError(f"version must be within [0, 9], got {version!r}")
    for hour, value in series.items():
        if floor_hour(hour) != hour:
            raise ValueError(f"{hour.isoformat()} is not the start of an hour")
        if not -999 <= value < _MISSING:
            raise ValueError(f"Dst must be within [-999, 9998] nT, got {value!r}")
    day = floor_hour(min(series)).replace(hour=0)
    last = max(series)
    records: list[str] = []
    while day <= last:
        hours = [series.get(day + index * HOUR) for index in range(_HOURS)]
        records.append(_format_record(day, hours, version))
        day += timedelta(days=1)
    return "".join(records)


def _format_record(day: datetime, hours: list[Nanotesla | None], version: int) -> str:
    kind = {0: "RR", 1: "PP"}.get(version, "")
    known = [value for value in hours if value is not None]
    fields = [_MISSING if value is None else value for value in hours]
    fields.append(_mean(known) if known else _MISSING)
    century, year = divmod(day.year, 100)
    return (
        f"DST{year:02}{day:%m}*{day:%d}{kind:2}X{version}{century:02}{0:4}"
        + "".join(f"{field:4}" for field in fields)
        + "\n"
    )


def _mean(values: list[Nanotesla]) -> int:
    total, count = sum(values), len(values)
    # In integers, so that a mean of exactly one half is seen as such.
    magnitude = (2 * abs(total) + count) // (2 * count)
    return magnitude if total >= 0 else -magnitude
