from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from validator.adapters.dst_files import DstFiles, DstPathError, load
from validator.domain.dst import DstConflict, DstFormatError, Nanotesla, format_days
from validator.domain.schedule import HOUR

DAY = datetime(2015, 3, 17, tzinfo=UTC)


def write(path: Path, *values: int, day: datetime = DAY, version: int = 2) -> Path:
    series = {day + i * HOUR: Nanotesla(value) for i, value in enumerate(values)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_days(series, version=version), encoding="ascii")
    return path


def test_a_single_file_may_have_any_name(tmp_path: Path) -> None:
    assert load(write(tmp_path / "storm.txt", -1, -2)) == {DAY: -1, DAY + HOUR: -2}


def test_a_folder_is_read_with_the_folders_below_it(tmp_path: Path) -> None:
    write(tmp_path / "b" / "dst1503.for.request", -2, day=DAY + timedelta(days=1))
    write(tmp_path / "a" / "deep" / "dst1503.for.request", -1)
    (tmp_path / "README.md").write_text("not in the format", encoding="ascii")

    assert load(tmp_path) == {DAY: -1, DAY + timedelta(days=1): -2}


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DstPathError) as caught:
        load(tmp_path / "nowhere")

    assert str(caught.value) == f"{tmp_path / 'nowhere'}: No such file or directory"


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DstPathError, match=r"holds no \*\.for\.request"):
        load(tmp_path)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(DstPathError, match="neither a file nor a folder"):
        load(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "dst1503.for.request", -1)
    path.chmod(0)

    with pytest.raises(DstPathError, match="Permission denied"):
        load(tmp_path)


def test_a_byte_that_is_not_ascii_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "dst1503.for.request", -1)
    path.write_bytes(path.read_bytes() + b"\nDST\xff")

    with pytest.raises(DstFormatError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:3: the byte 0xff is not ASCII"


def test_values_that_are_all_missing_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "dst1503.for.request", -1)
    text = path.read_text(encoding="ascii")
    path.write_text(text.replace("  -1", "9999"), encoding="ascii")

    with pytest.raises(DstPathError, match="every value is missing"):
        load(path)


def test_two_files_that_disagree_are_both_named(tmp_path: Path) -> None:
    one = write(tmp_path / "1.for.request", -1)
    two = write(tmp_path / "2.for.request", -2)

    with pytest.raises(DstConflict) as caught:
        load(tmp_path)
    assert caught.value.sources == (str(one), str(two))


async def test_an_hour_is_published_once_it_is_over() -> None:
    source = DstFiles({DAY + i * HOUR: Nanotesla(-i) for i in range(3)})
    instant = timedelta(microseconds=1)

    assert await source.published(DAY + HOUR - instant) == {}
    assert await source.published(DAY + HOUR) == {DAY: 0}
    assert await source.published(DAY + 2 * HOUR - instant) == {DAY: 0}
    assert await source.published(DAY + 30 * HOUR) == source.series


# --- the real files ----------------------------------------------------------


def test_all_real_files_make_one_series(dst_data: Path) -> None:
    series = load(dst_data)

    assert list(series) == sorted(series)
    # 2015 and 2016, then November 2021 to January 2022; no hour is missing.
    assert len(series) == (365 + 366 + 30 + 31 + 31) * 24
    assert series[datetime(2015, 3, 17, 22, tzinfo=UTC)] == -234


def test_the_final_values_replace_the_quick_look(dst_data: Path) -> None:
    hour = datetime(2016, 7, 22, 5, tzinfo=UTC)

    assert load(dst_data / "realtime-201607")[hour] == -8
    assert load(dst_data)[hour] == load(dst_data / "201607")[hour]


def test_a_real_file_cut_off_is_refused_at_its_last_line(
    dst_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "dst1503.for.request"
    shutil.copyfile(dst_data / "201503" / "dst1503.for.request", path)
    path.write_bytes(path.read_bytes()[:-60])

    with pytest.raises(DstFormatError, match=":31: a Dst record has 120 columns"):
        load(path)
