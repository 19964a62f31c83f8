from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from validator.domain.schedule import HOUR, floor_hour, next_hour

instants = st.datetimes(
    min_value=datetime(1957, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
    max_value=datetime(2099, 12, 31),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
)


@given(instants)
def test_an_instant_lies_between_its_hour_and_the_next(when: datetime) -> None:
    assert floor_hour(when) <= when < next_hour(when)
    assert next_hour(when) - floor_hour(when) == HOUR


@given(instants)
def test_hours_are_full_hours_of_utc(when: datetime) -> None:
    hour = floor_hour(when)

    assert hour.tzinfo is UTC
    assert (hour.minute, hour.second, hour.microsecond) == (0, 0, 0)


def test_a_full_hour_is_its_own_floor_and_never_its_own_next() -> None:
    hour = datetime(2015, 3, 17, 22, tzinfo=UTC)

    assert floor_hour(hour) == hour
    assert next_hour(hour) == datetime(2015, 3, 17, 23, tzinfo=UTC)


@pytest.mark.parametrize("function", [floor_hour, next_hour])
def test_a_naive_datetime_is_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="2015-03-17T22:10:00 has no time zone"):
        function(datetime(2015, 3, 17, 22, 10))  # noqa: DTZ001  the fault itself
