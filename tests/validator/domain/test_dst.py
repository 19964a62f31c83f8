from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from validator.domain.dst import (
    DstConflict,
    DstFile,
    DstFormatError,
    DstSeries,
    Nanotesla,
    Observation,
    format_days,
    merge,
    parse,
    scaled,
)
from validator.domain.schedule import HOUR

DAY = datetime(2015, 3, 17, tzinfo=UTC)


def record(
    *values: int, date: str = "1503*17", head: str = "  X220", base: int = 0
) -> str:
    """One line of the format, put together by hand; absent hours are missing."""
    padded = [*values, *[9999] * (24 - len(values))]
    fields = "".join(f"{value:4}" for value in padded)
    return f"DST{date}{head}{base:4}{fields}   0\n"


def values_of(text: str) -> dict[datetime, int]:
    found = parse(text, source="test").observations
    return {hour: seen.value for hour, seen in found.items()}


def file(source: str, version: int, *values: int) -> DstFile:
    return DstFile(
        source,
        {
            DAY + index * HOUR: Observation(Nanotesla(value), version)
            for index, value in enumerate(values)
        },
    )


# --- reading -----------------------------------------------------------------


def test_values_that_run_together_are_read_by_column() -> None:
    assert values_of(record(-101, -105, 9999, -999)) == {
        DAY: -101,
        DAY + HOUR: -105,
        DAY + 3 * HOUR: -999,
    }


def test_the_base_value_counts_hundreds_and_leaves_missing_missing() -> None:
    assert values_of(record(-34, 9999, 5, base=-3)) == {
        DAY: -334,
        DAY + 2 * HOUR: -295,
    }


def test_the_century_is_that_of_the_record() -> None:
    text = record(-1, date="8903*14", head="  X219")

    assert values_of(text) == {datetime(1989, 3, 14, tzinfo=UTC): -1}


@pytest.mark.parametrize(
    ("head", "version"), [("RRX020", 0), ("PPX120", 1), ("  X220", 2), ("  X320", 3)]
)
def test_the_version_is_kept(head: str, version: int) -> None:
    found = parse(record(-1, head=head), source="test").observations

    assert found == {DAY: Observation(Nanotesla(-1), version)}


def test_blank_lines_and_windows_line_ends_are_skipped() -> None:
    text = "\n  \n" + record(-1).replace("\n", "\r\n") + "\r\n"

    assert values_of(text) == {DAY: -1}


def test_a_file_whose_values_are_all_missing_is_a_file_without_hours() -> None:
    assert values_of(record()) == {}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("hello\n", "begins with 'hello'"),
        (record(-1)[:100] + "\n", "has 120 columns, this one has 100"),
        (record(-1).replace("\n", "1\n"), "has 120 columns, this one has 121"),
        (record(-1, date="1502*29"), "no such date: '1502*29' in century 20"),
        (record(-1, date="1503#17"), "begins with 'DST1503#17"),
        (record(-1, head="  X 20"), "begins with 'DST1503*17  X 20"),
        (record(-1, head="  X2  "), "begins with 'DST1503*17  X2  "),
        (record(-1).replace("  -1", " 1_0"), "columns 21-24 hold no number: ' 1_0'"),
        (record(-1).replace("  -1", "  +1"), "columns 21-24 hold no number"),
        (record(-1).replace("  -1", "-1  "), "columns 21-24 hold no number"),
        (record(-1).replace("  -1", "    "), "columns 21-24 hold no number"),
        (record(-1)[:-5] + "mean\n", "columns 117-120 hold no number: 'mean'"),
        (record(-1).replace("X220   0", "X220   b"), "columns 17-20 hold no number"),
    ],
)
def test_a_line_that_is_no_record_is_refused_where_it_stands(
    line: str, what: str
) -> None:
    with pytest.raises(DstFormatError) as caught:
        parse("\n" + record(-1, date="1503*01") + line, source="some.request")

    message = str(caught.value)
    assert message.startswith("some.request:3: ")
    assert what in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["", "\n", " \n\n"])
def test_a_text_without_any_record_is_refused(text: str) -> None:
    with pytest.raises(DstFormatError, match="holds no Dst record"):
        parse(text, source="empty.request")


def test_line_numbers_are_those_of_an_editor() -> None:
    with pytest.raises(DstFormatError) as caught:
        parse("\x0c\x1c\u2028\nhello", source="test")

    assert caught.value.line_number == 2


def test_an_hour_that_stands_twice_with_two_values_is_refused() -> None:
    with pytest.raises(DstFormatError) as caught:
        parse(record(-1, -2) + record(-1, -3), source="test")

    assert (
        str(caught.value) == "test:2: 2015-03-17T01 is -3 nT here and -2 nT further up"
    )


@pytest.mark.parametrize("heads", [("RRX020", "  X220"), ("  X220", "RRX020")])
def test_an_hour_that_stands_twice_with_one_value_counts_as_the_better_version(
    heads: tuple[str, str],
) -> None:
    text = "".join(record(-1, head=head) for head in heads)

    assert parse(text, source="test").observations == {
        DAY: Observation(Nanotesla(-1), 2)
    }


@given(st.text() | st.text(alphabet="DST1503*7 X209-\n"))
def test_any_text_is_read_or_refused_and_never_worse(text: str) -> None:
    try:
        parse(text, source="test")
    except DstFormatError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  both ends are right


# --- merging -----------------------------------------------------------------


def test_the_better_version_of_an_hour_wins() -> None:
    quick, final = file("quick", 0, -10, -20, -30), file("final", 2, -11, -21)

    expected = {DAY: -11, DAY + HOUR: -21, DAY + 2 * HOUR: -30}
    assert merge([quick, final]) == expected
    assert merge([final, quick]) == expected


def test_a_merged_series_is_in_order_of_time() -> None:
    later = parse(record(-2, date="1504*01"), source="later")
    earlier = parse(record(-1, -3, date="1503*01"), source="earlier")

    hours = list(merge([later, earlier]))
    assert hours == sorted(hours)
    assert len(hours) == 3


def test_two_values_of_one_version_name_both_files() -> None:
    with pytest.raises(DstConflict) as caught:
        merge([file("a.request", 2, -1, -2), file("b.request", 2, -1, -3)])

    assert str(caught.value) == (
        "a.request and b.request hold different values for 2015-03-17T01, "
        "both of version 2; remove one of them"
    )


def test_a_disagreement_of_worse_versions_is_settled_by_a_better_one() -> None:
    files = [file("a", 0, -1), file("b", 0, -2), file("c", 1, -3)]

    for order in itertools.permutations(files):
        assert merge(order) == {DAY: -3}


# --- writing -----------------------------------------------------------------

starts = st.datetimes(
    min_value=datetime(1957, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
    max_value=datetime(2099, 12, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda when: when.replace(minute=0, second=0, microsecond=0, fold=0))


@st.composite
def series(draw: st.DrawFn) -> DstSeries:
    start = draw(starts)
    offsets = draw(st.sets(st.integers(0, 80), min_size=1, max_size=80))
    value = st.integers(-999, 9998).map(Nanotesla)
    return {start + offset * HOUR: draw(value) for offset in sorted(offsets)}


@given(series(), st.integers(0, 9))
def test_what_is_written_is_read_back(written: DstSeries, version: int) -> None:
    text = format_days(written, version=version)
    found = parse(text, source="test")

    assert all(len(line) == 120 for line in text.splitlines())
    assert merge([found]) == written
    assert {seen.version for seen in found.observations.values()} == {version}


@pytest.mark.parametrize(
    ("values", "mean"),
    # Half away from zero, as 31 days of the real files have it.
    [([-1, -2], -2), ([1, 2], 2), ([-2, -3], -3), ([0, -1, 0], 0), ([7], 7)],
)
def test_the_daily_mean_is_rounded_half_away_from_zero(
    values: list[int], mean: int
) -> None:
    written = {
        DAY + index * HOUR: Nanotesla(value) for index, value in enumerate(values)
    }

    assert int(format_days(written, version=2)[116:120]) == mean


def test_days_between_two_values_are_written_as_missing() -> None:
    written = {DAY: Nanotesla(-1), DAY + timedelta(days=2): Nanotesla(-2)}

    lines = format_days(written, version=0).splitlines()
    assert [line[:20] for line in lines] == [
        "DST1503*17RRX020   0",
        "DST1503*18RRX020   0",
        "DST1503*19RRX020   0",
    ]
    assert lines[1][20:] == "9999" * 25


@pytest.mark.parametrize(
    ("written", "version", "what"),
    [
        ({}, 2, "without a value"),
        ({DAY: Nanotesla(-1000)}, 2, "within .-999, 9998. nT, got -1000"),
        ({DAY: Nanotesla(9999)}, 2, "got 9999"),
        ({DAY.replace(minute=1): Nanotesla(0)}, 2, "not the start of an hour"),
        ({DAY.replace(tzinfo=None): Nanotesla(0)}, 2, "no time zone"),
        ({DAY: Nanotesla(0)}, 10, "version must be"),
    ],
)
def test_what_does_not_fit_the_format_is_not_written(
    written: DstSeries, version: int, what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        format_days(written, version=version)


def test_dst_travels_in_hundreds_of_nanotesla() -> None:
    assert scaled(Nanotesla(-234)) == -2.34


# --- the real files ----------------------------------------------------------


def test_complete_real_months_are_written_byte_for_byte(dst_data: Path) -> None:
    months = sorted(dst_data.glob("2*/*.for.request"))
    assert len(months) == 27
    for month in months:
        text = month.read_text(encoding="ascii")
        found = parse(text, source=str(month))
        (version,) = {seen.version for seen in found.observations.values()}

        assert format_days(merge([found]), version=version) == text, month


def test_the_quick_look_file_ends_in_the_middle_of_a_day(dst_data: Path) -> None:
    path = dst_data / "realtime-201607" / "dst1607.for.request"
    observed = merge([parse(path.read_text(encoding="ascii"), source=str(path))])

    assert max(observed) == datetime(2016, 7, 22, 5, tzinfo=UTC)
    assert observed[max(observed)] == -8


def test_the_storm_of_march_2015_is_where_it_was(dst_data: Path) -> None:
    path = dst_data / "201503" / "dst1503.for.request"
    observed = merge([parse(path.read_text(encoding="ascii"), source=str(path))])

    assert observed[datetime(2015, 3, 17, 22, tzinfo=UTC)] == -234
    assert min(observed.values()) == -234
