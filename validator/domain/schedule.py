"""Hours of data time: the grid on which questions, values and scores stand.

Every result is in UTC. A naive datetime is refused, because it would silently mean
another hour on another machine.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)


def floor_hour(when: datetime) -> datetime:
    """Return the start of the UTC hour that ``when`` lies in.

    Raises:
        ValueError: ``when`` is naive.
    """
    if when.utcoffset() is None:
        raise ValueError(f"{when.isoformat()} has no time zone; make it UTC")
    return when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def next_hour(when: datetime) -> datetime:
    """Return the first full UTC hour after ``when``, never ``when`` itself.

    Raises:
        ValueError: ``when`` is naive.
    """
    return floor_hour(when) + HOUR
