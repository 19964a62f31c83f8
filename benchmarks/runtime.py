"""The runtime against trio and its peers: ``python -m benchmarks.runtime``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import growth, memory, messages, patterns, peers, waits
from benchmarks.harness import pin
from benchmarks.table import Row, options, report


def rows(triotp: Path | None) -> Iterator[Row]:
    """Every measure, as soon as it is there."""
    yield from messages.rows()
    yield from patterns.rows()
    yield from memory.rows()
    yield from peers.pykka_rows()
    yield from peers.triotp_rows(triotp)
    yield from waits.rows()
    yield from growth.rows()


if __name__ == "__main__":
    parser = options("runtime")
    parser.add_argument(
        "--triotp", type=Path, metavar="PYTHON", help="an interpreter that has triotp"
    )
    arguments = parser.parse_args()
    pin()
    sys.exit(report(rows(arguments.triotp), arguments.json))
