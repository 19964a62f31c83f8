"""What an operator does with the database before the validator runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from validator.adapters.groups import ungrouped
from validator.adapters.lanes import open_lanes
from validator.adapters.postgres_schema import (
    SchemaRefused,
    SchemaState,
    look,
    prepare,
)
from validator.adapters.postgres_session import Limits, Session, connected
from validator.ports import OutcomeUnknown, StoreUnavailable

_LOOKING = Limits(query=10)
_CHANGING = Limits(query=3600, transaction=3600)  # a table may be large


async def inspect_schema(dsn: str, *, schema: str) -> SchemaState:
    """Tell the state of the schema; nothing is changed, and nobody is waited for.

    Raises:
        StoreUnavailable: no validator could work with it (see ``open_store``), or the
            server did not answer within 10 s. The text is one line and holds no
            password.
    """
    return await _with(
        *(dsn, schema, _LOOKING),
        lambda session: session.run(
            "check schema", partial(look, schema=schema), writes=False
        ),
    )


async def upgrade_schema(dsn: str, *, schema: str) -> SchemaState:
    """Bring the schema up to date, or create it; return what it was before.

    All missing migrations are applied, or none.

    Raises:
        StoreInUse: there is something to do, and a validator is working in the schema.
        StoreUnavailable: as `inspect_schema`; nothing was changed, unless the text
            says that it may have been.
    """
    return await _with(
        *(dsn, schema, _CHANGING),
        lambda session: session.run(
            "upgrade schema", partial(prepare, schema=schema, fresh=False)
        ),
    )


async def _with(
    dsn: str,
    schema: str,
    limits: Limits,
    work: Callable[[Session], Awaitable[SchemaState]],
) -> SchemaState:
    try:
        with ungrouped():
            async with (
                open_lanes() as lanes,
                connected(lanes, dsn, schema, limits) as session,
            ):
                return await work(session)
    except TimeoutError as error:
        raise StoreUnavailable("the database server did not answer in time") from error
    except OutcomeUnknown as error:
        raise StoreUnavailable(
            "the connection was lost, and the schema is upgraded or as it was; "
            "run it again"
        ) from error
    except ValueError as error:
        raise SchemaRefused(f"--schema: {error}") from None
