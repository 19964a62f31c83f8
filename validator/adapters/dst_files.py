"""Observed Dst from files in the WDC exchange format."""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile
from pathlib import Path

import attrs
import trio

from validator.domain import dst
from validator.domain.dst import DstFormatError, DstSeries
from validator.domain.schedule import HOUR

PATTERN = "*.for.request"
"""What the data center calls its files; others in a folder are left alone."""


class DstPathError(dst.DstError):
    """There is nothing to read at a path."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what


@attrs.frozen
class DstFiles:
    """A ``DstSource`` over a series read before: an hour is published once it is over.

    ``series`` must be in order of time, as ``load`` and ``dst.merge`` return it.
    """

    series: DstSeries

    async def published(self, now: datetime) -> DstSeries:
        """All values of hours that have ended at ``now``."""
        await trio.lowlevel.checkpoint()
        known = takewhile(lambda item: item[0] + HOUR <= now, self.series.items())
        return dict(known)


def load(path: Path) -> DstSeries:
    """Read one file, or every ``*.for.request`` in a folder and the folders below it.

    Reads from disk: call it before the loop runs, or in a thread. The result holds at
    least one value.

    Raises:
        DstPathError: nothing to read there, or it cannot be read.
        DstFormatError: a file is not in the WDC exchange format.
        DstConflict: two files of the same version disagree.
    """
    try:
        paths = _find(path)
        texts = [(file, file.read_bytes()) for file in paths]
    except OSError as error:
        where = Path(error.filename or path)
        raise DstPathError(where, error.strerror or str(error)) from None
    series = dst.merge(
        dst.parse(_decode(content, file), source=str(file)) for file, content in texts
    )
    if not series:
        raise DstPathError(path, "every value is missing (9999)")
    return series


def _find(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.rglob(PATTERN) if file.is_file())
        if not files:
            raise DstPathError(path, f"the folder holds no {PATTERN}")
        return files
    # Devices and pipes may never end, so only what is a file is read.
    if path.exists() and not path.is_file():
        raise DstPathError(path, "neither a file nor a folder")
    return [path]


def _decode(content: bytes, path: Path) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        line_number = content.count(b"\n", 0, error.start) + 1
        what = f"the byte {content[error.start]:#04x} is not ASCII"
        raise DstFormatError(str(path), line_number, what) from None
