"""``validator db``: what an operator asks of the database by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from validator.adapters.postgres_admin import inspect_schema, upgrade_schema
from validator.adapters.schema import Migration

SCHEMA = "validator"
"""Where a validator's tables are unless told otherwise."""


def check(*, dsn: str, schema: str = SCHEMA) -> int:
    """Tell whether a validator can work with the database as it is.

    Nothing is changed. Exit code 0: it can; 1: the schema is missing or older than
    this program, and `validator db upgrade` would make it fit; 2: it cannot, and
    one line says why.

    Parameters
    ----------
    dsn
        Such as postgresql://user@host:5432/database.
    schema
        In which schema of the database the validator's tables are.
    """
    state = trio.run(partial(inspect_schema, dsn, schema=schema))
    if not state.missing:
        print(f"schema {schema!r} is at migration {state.version}, the newest")
        return 0
    is_ = f"is at migration {state.version}" if state.version else "does not exist yet"
    print(
        f"schema {schema!r} {is_} and lacks {_names(state.missing)}; "
        "stop the validator and run: validator db upgrade"
    )
    return 1


def upgrade(*, dsn: str, schema: str = SCHEMA) -> int:
    """Bring the schema up to what this program needs, or create it.

    The validator does the same when it starts. All missing migrations are applied or
    none. Exit code 0: done, or there was nothing to do; 2: refused, and one line says
    why; nothing was changed.

    Parameters
    ----------
    dsn
        Such as postgresql://user@host:5432/database.
    schema
        In which schema of the database the validator's tables are.
    """
    before = trio.run(partial(upgrade_schema, dsn, schema=schema))
    if before.missing:
        print(f"schema {schema!r}: applied {_names(before.missing)}")
    else:
        print(f"schema {schema!r} is at migration {before.version}, the newest")
    return 0


def _names(migrations: Sequence[Migration]) -> str:
    return ", ".join(f"{step.number:04}_{step.name}" for step in migrations)
