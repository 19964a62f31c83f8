"""The runtime against trio and its peers: ``python -m benchmarks.runtime``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from benchmarks import growth, memory, messages, patterns, peers, waits
from benchmarks.harness import pin
from benchmarks.table import Row, report


def rows(triotp: Path | None) -> Iterator[Row]:
    """Every measure, as soon as it is there."""
    yield from messages.rows()
    yield from patterns.rows()
    yield from memory.rows()
    yield from peers.pykka_rows()
    yield from peers.triotp_rows(triotp)
    yield from waits.rows()
    yield from growth.rows()


def main() -> int:
    """Read the command line, and measure."""
    parser = ArgumentParser(prog="python -m benchmarks.runtime")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write it there")
    parser.add_argument(
        "--triotp", type=Path, metavar="PYTHON", help="an interpreter that has triotp"
    )
    arguments = parser.parse_args()
    pin()
    return report(rows(arguments.triotp), arguments.json)


if __name__ == "__main__":
    sys.exit(main())
