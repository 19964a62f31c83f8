"""The command line: options in, exit code out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from validator import database_command, probe_command
from validator.adapters.wallet import WalletError
from validator.events import Level
from validator.logs import LogFormat
from validator.ports import StoreUnavailable
from validator.simulation.demo import DemoFailed, demonstrate
from validator.simulation.options import Options, UsageError

INTERRUPTED = 130

_REFUSALS = (
    CycloptsError,
    UsageError,
    StoreUnavailable,
    probe_command.ProbeRefused,
    WalletError,
)


def run(arguments: Sequence[str], *, version: str) -> int:
    """Run one command line and return its exit code.

    0: done; 1: it failed while running; 2: the command line cannot be carried out,
    and nothing was started; 130 and 143: ended by Ctrl-C or SIGTERM, in order.
    """
    app = App(
        name="validator",
        version=version,
        help="A Bittensor-subnet validator whose every task is a supervised actor.",
    )
    app.command(demo)
    app.command(probe_command.probe)
    db = App(name="db", help="Check or upgrade the validator's database.")
    db.command(database_command.check)
    db.command(database_command.upgrade)
    app.command(db)
    try:
        code: int | None = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except _REFUSALS as error:
        return _refuse(error, 2)
    except DemoFailed as error:
        return _refuse(error, 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code or 0


def _refuse(error: Exception, code: int) -> int:
    print(f"validator: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def demo(
    *,
    miners: int = 32,
    seed: int = 1,
    cycles: int = 3,
    hour: float = 5.0,
    dst: Path | None = None,
    first: Annotated[datetime | None, Parameter("--from")] = None,
    data: Path | None = None,
    dsn: str | None = None,
    chaos: int | None = None,
    json: Path | None = None,
    log_format: LogFormat | None = None,
    log_level: Level = "info",
) -> int:
    """Run the validator against a subnet simulated on this machine.

    Real TLS sockets, a real PostgreSQL and the real wire protocol; the chain, the
    miners and the pace of time are simulated. Progress and result go to standard
    output, the log to standard error.

    Parameters
    ----------
    miners
        How many miners are registered, 1 to 256; about 70 % are honest.
    seed
        Which miner behaves how, and everything it answers, follows from this.
    cycles
        How many questions are asked and scored before the end.
    hour
        How many seconds an hour of data time lasts, 1 to 3600.
    dst
        A file or folder of observed Dst in the WDC exchange format
        (*.for.request); without it a storm is made up.
    first
        When the first question goes out, such as 2015-03-17T20 (UTC).
    data
        Keep the embedded database in this directory instead of a temporary one.
    dsn
        Use this PostgreSQL server, in a schema validator_demo of its own that every
        demonstration empties first.
    chaos
        Let tasks crash, freeze and block the event loop, by a plan drawn from this
        number.
    json
        Write the report to this file.
    log_format
        By default readable on a terminal and JSON otherwise.
    log_level
        What is not logged below.
    """
    options = Options(
        miners=miners,
        seed=seed,
        cycles=cycles,
        hour=hour,
        dst=dst,
        first=first,
        data=data,
        dsn=dsn,
        json=json,
        chaos=chaos,
    )
    return demonstrate(options, log_format=log_format, log_level=log_level)
