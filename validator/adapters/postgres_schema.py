"""Whose schema it is, at which migration, and who else works in it.

Everybody who works in a schema holds a shared lock on it for as long as its connection
lives; whoever changes the schema itself must have it alone. Both are advisory locks, so
the server drops them with the connection, whatever ended it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import attrs

from validator.adapters.schema import Migration, SchemaConflict, migrations, pending
from validator.ports import StoreUnavailable

if TYPE_CHECKING:
    Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

PRODUCT = "actor-tree validator"
"""Written into every schema of ours; a schema without it is never touched."""

# Three seconds: the server may need a moment to notice a dead predecessor.
_TRIES = 30
_PAUSE = "SELECT pg_sleep(0.1)"
_KEY = "hashtext($1), hashtext($2)"


class StoreInUse(StoreUnavailable):
    """Somebody else is working in the schema; nothing was changed."""


class SchemaRefused(StoreUnavailable):
    """The schema or the server is not one we may work on; nothing was changed."""


@attrs.frozen
class SchemaState:
    """How a schema compares with this program."""

    version: int
    """The newest migration that was applied; 0: there is no such schema."""
    missing: Sequence[Migration]
    """What this program would still apply, in order."""


async def look(
    connection: Connection, schema: str, *, fresh: bool = False
) -> SchemaState:
    """Tell the state of the schema, without changing anything or waiting for anybody.

    With ``fresh`` it is judged as one that is to be emptied, of whatever version.

    Raises:
        SchemaRefused: it is another product's or of a newer program, rights are
            missing, tables are gone, or the server takes no writes.
    """
    steps, recorded = migrations(), await _recorded(connection, schema)
    await _check_rights(connection, schema, exists=recorded is not None)
    try:
        missing = pending(steps, {} if fresh else recorded or {})
    except SchemaConflict as error:
        raise SchemaRefused(str(error)) from None
    state = SchemaState(max(recorded or {0: ""}), missing)
    if not fresh:
        await _check_tables(connection, schema, state.version, steps)
    return state


async def prepare(connection: Connection, schema: str, *, fresh: bool) -> SchemaState:
    """Bring the schema up to date and take part in it; return what it was before.

    Runs in a transaction of the caller's. With ``fresh``, the schema is emptied first.
    Where nothing is to be changed, others may work in the schema meanwhile; of several
    who would change it at once, one does, and the others find it done.

    Raises:
        StoreInUse: there is something to change, and others are working in it.
        SchemaRefused: as ``look``.
    """
    for _ in range(_TRIES):
        if await _try_lock(connection, schema, shared=True):
            before = await look(connection, schema, fresh=fresh)
            if not before.missing:
                return before
            # Not held while we wait for the other, or two would wait for each other.
            await connection.execute(
                f"SELECT pg_advisory_unlock_shared({_KEY})", PRODUCT, schema
            )
        if await _try_lock(connection, schema, shared=False):
            before = await look(connection, schema, fresh=fresh)
            await _change(connection, schema, before, fresh=fresh)
            await _try_lock(connection, schema, shared=True)
            return before
        await connection.execute(_PAUSE)
    raise _in_use(schema)


async def have_alone(connection: Connection, schema: str) -> None:
    """Keep everybody else out of the schema until the transaction ends.

    Raises:
        StoreInUse: somebody is working in it.
    """
    for _ in range(_TRIES):
        if await _try_lock(connection, schema, shared=False):
            return
        await connection.execute(_PAUSE)
    raise _in_use(schema)


async def _try_lock(connection: Connection, schema: str, *, shared: bool) -> bool:
    """Lock the schema: shared for good, or alone until the transaction ends."""
    kind = "lock_shared" if shared else "xact_lock"
    locked = await connection.fetchval(
        f"SELECT pg_try_advisory_{kind}({_KEY})", PRODUCT, schema
    )
    return bool(locked)


def _in_use(schema: str) -> StoreInUse:
    return StoreInUse(
        f"schema {schema!r} of this database is in use by another validator; "
        "stop that one first or use another database"
    )


async def _change(
    connection: Connection, schema: str, state: SchemaState, *, fresh: bool
) -> None:
    exists = state.version > 0
    try:
        if exists and fresh:
            await connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
        if fresh or not exists:
            await connection.execute(f'CREATE SCHEMA "{schema}"')
            await connection.execute(
                "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT "
                "NULL, digest text NOT NULL, product text NOT NULL, applied_at "
                "timestamptz NOT NULL DEFAULT now())"
            )
        for step in state.missing:
            await connection.execute(step.sql)
            await connection.execute(
                "INSERT INTO migrations (number, name, digest, product) "
                "VALUES ($1, $2, $3, $4)",
                *(step.number, step.name, step.digest, PRODUCT),
            )
    except asyncpg.InsufficientPrivilegeError as error:
        raise SchemaRefused(f"rights are missing: {error}") from None
    except (
        asyncpg.SyntaxOrAccessError,
        asyncpg.IntegrityConstraintViolationError,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise _changed(schema, state.version, reason) from None


async def _check_rights(connection: Connection, schema: str, *, exists: bool) -> None:
    if await connection.fetchval("SHOW transaction_read_only") == "on":
        raise SchemaRefused(
            "the server takes no writes, as a standby or an account set to read only; "
            "use the primary server, or another account"
        )
    if not exists and not await connection.fetchval(
        "SELECT has_database_privilege(current_database(), 'CREATE')"
    ):
        raise SchemaRefused(f"rights are missing: may not create schema {schema!r}")
    denied = await connection.fetchval(
        "SELECT string_agg(DISTINCT relname, ', ') FROM pg_class, "
        "unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS needed "
        "WHERE relnamespace = to_regnamespace($1) AND relkind = 'r' "
        "AND NOT has_table_privilege(pg_class.oid, needed)",
        schema,
    )
    if denied:
        raise SchemaRefused(
            f"rights are missing: may not read and write {denied} in schema {schema!r}"
        )


async def _check_tables(
    connection: Connection, schema: str, version: int, steps: Sequence[Migration]
) -> None:
    gone = await connection.fetchval(
        "SELECT string_agg(made, ', ' ORDER BY made) FROM unnest($2::text[]) AS made "
        "LEFT JOIN pg_tables ON schemaname = $1 AND tablename = made "
        "WHERE tablename IS NULL",
        *(schema, [table for step in steps[:version] for table in step.tables]),
    )
    if gone:
        raise _changed(schema, version, f"there is no table {gone}")


def _changed(schema: str, version: int, reason: str) -> SchemaRefused:
    return SchemaRefused(
        f"schema {schema!r} is not as this program left it at migration {version} "
        f"({reason}); restore a backup or use another schema"
    )


async def _recorded(connection: Connection, schema: str) -> Mapping[int, str] | None:
    """Return number -> digest of what was applied; None: there is no such schema."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema
    ):
        return None
    columns = await connection.fetchval(
        "SELECT count(*) FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid "
        "WHERE relnamespace = to_regnamespace($1) AND relname = 'migrations' "
        "AND attname IN ('number', 'digest', 'product')",
        schema,
    )
    try:
        rows = (
            await connection.fetch("SELECT number, digest, product FROM migrations")
            if columns == 3
            else []
        )
    except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError):
        # The server passes over schemas in its search path that we may not use.
        raise SchemaRefused(
            f"rights are missing: may not read schema {schema!r}"
        ) from None
    if {row["product"] for row in rows} != {PRODUCT}:
        raise SchemaRefused(
            f"schema {schema!r} was not made by this program and is left alone; "
            "rename it or use another database"
        )
    return {row["number"]: row["digest"] for row in rows}
