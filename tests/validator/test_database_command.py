"""``validator db``: what it says, what it changes, and with which code it ends."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import pytest
import trio
from pretender import pretending

from validator.adapters import postgres_session
from validator.adapters.postgres import open_store, postgres_opener
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.postgres_units import Connection
from validator.adapters.schema import migrations
from validator.ports import OutcomeUnknown
from validator.simulation.command import run

pytestmark = pytest.mark.real

SCHEMA = "command_test"
NEWEST = migrations()[-1].number


def execute(dsn: str, *statements: str) -> Any:
    """Run statements, some of them on our schema; return the last one's value."""

    async def unit(connection: Connection) -> Any:
        *first, last = statements
        for statement in first:
            await connection.execute(statement)
        return await connection.fetchval(last)

    async def main() -> Any:
        async with postgres_opener(dsn, schema="beside", fresh=False)() as store:
            assert isinstance(store, PostgresStore)
            return await store._session.run("test", unit)

    return trio.run(main)


@pytest.fixture
def none(dsn: str) -> Generator[str]:
    """A server without our schema, which has all that is made in it removed."""
    drop = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE", "SELECT 1"
    execute(dsn, *drop)
    yield dsn
    execute(dsn, *drop)


@pytest.fixture
def db(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run ``validator db`` with arguments; return its code and the line it wrote."""

    def command(*arguments: str, schema: str = SCHEMA) -> tuple[int, str]:
        code = run(["db", *arguments, "--schema", schema], version="test")
        captured = capsys.readouterr()
        (line,) = (captured.out + captured.err).splitlines()
        assert bool(captured.err) == (code == 2)
        assert "secret" not in line
        return code, line

    return command


def exists(dsn: str) -> bool:
    query = f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL"
    return bool(execute(dsn, query))


def test_a_missing_schema_is_told_made_and_found(db: Any, none: str) -> None:
    code, line = db("check", "--dsn", none)
    assert (code, "does not exist yet and lacks 0001_" in line) == (1, True)
    assert not exists(none), "looking changes nothing"

    code, line = db("upgrade", "--dsn", none)
    assert (code, "applied 0001_" in line) == (0, True)

    for word in ("check", "upgrade"):
        code, line = db(word, "--dsn", none)
        assert code == 0
        assert f"is at migration {NEWEST}, the newest" in line


def test_an_older_schema_is_told_and_brought_up_to_date(db: Any, none: str) -> None:
    db("upgrade", "--dsn", none)
    execute(
        none,
        f"DROP TABLE {SCHEMA}.soil_targets, {SCHEMA}.soil_regions, "
        f"{SCHEMA}.soil_images, {SCHEMA}.soil_predictions, {SCHEMA}.soil_history, "
        f"{SCHEMA}.geomagnetic_excuses",
        f"DROP DOMAIN {SCHEMA}.soil_grid",
        f"DELETE FROM {SCHEMA}.migrations WHERE number > 1",  # noqa: S608
        "SELECT 1",
    )

    code, line = db("check", "--dsn", none)
    assert code == 1
    assert "is at migration 1 and lacks 0002_soil_moisture" in line
    assert db("upgrade", "--dsn", none)[0] == 0
    assert db("check", "--dsn", none)[0] == 0


@pytest.mark.parametrize("word", ["check", "upgrade"])
@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        ("", "the DSN is not valid"),
        ("nonsense", "the DSN is not valid"),
        ("postgresql://me:secret@127.0.0.1:99999/x", "the DSN is not valid"),
        ("postgresql://me:secret@127.0.0.1:1,there:70000/x", "the DSN is not valid"),
        ("postgresql://me:secret@/x?host=127.0.0.1&port=99999", "the DSN is not valid"),
        ("postgresql://me:secret@127.0.0.1:1/x", "cannot connect"),
        ("postgresql://me:70000@[::1]:1/x", "cannot connect"),
        ("postgresql://me:secret@/x?host=/nowhere", "cannot connect"),
    ],
)
def test_a_wrong_dsn_is_told_on_one_line(
    db: Any, word: str, dsn: str, says: str
) -> None:
    code, line = db(word, "--dsn", dsn)

    assert code == 2
    assert line.startswith("validator: ")
    assert says in line


@pytest.mark.parametrize("word", ["check", "upgrade"])
@pytest.mark.parametrize("schema", ['x"; DROP', "", "X", "pg_mine", "x" * 64])
def test_a_schema_name_that_is_not_plain_is_refused(
    db: Any, none: str, word: str, schema: str
) -> None:
    code, line = db(word, "--dsn", none, schema=schema)

    assert (code, "--schema: a schema name is lower case" in line) == (2, True)


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_another_products_schema_is_left_alone(db: Any, none: str, word: str) -> None:
    execute(none, f"CREATE SCHEMA {SCHEMA}", f"CREATE TABLE {SCHEMA}.x ()", "SELECT 1")

    code, line = db(word, "--dsn", none)

    assert (code, "was not made by this program" in line) == (2, True)
    tables = f"SELECT count(*) FROM pg_tables WHERE schemaname = '{SCHEMA}'"  # noqa: S608
    assert execute(none, tables) == 1


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_a_newer_schema_is_left_alone(db: Any, none: str, word: str) -> None:
    db("upgrade", "--dsn", none)
    insert = "SELECT 9999, 'later', '', product FROM {0}.migrations LIMIT 1"
    execute(
        none,
        f"INSERT INTO {SCHEMA}.migrations " + insert.format(SCHEMA),
        "SELECT 1",
    )

    code, line = db(word, "--dsn", none)

    assert (code, "at migration 9999" in line) == (2, True)


def test_a_schema_name_may_be_a_word_of_sql(db: Any, none: str) -> None:
    assert db("upgrade", "--dsn", none, schema="select")[0] == 0
    assert db("check", "--dsn", none, schema="select")[0] == 0
    execute(none, 'DROP SCHEMA "select" CASCADE', "SELECT 1")


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_that_a_table_is_gone_is_told(db: Any, none: str, word: str) -> None:
    db("upgrade", "--dsn", none)
    execute(none, f"DROP TABLE {SCHEMA}.scores, {SCHEMA}.soil_images", "SELECT 1")

    code, line = db(word, "--dsn", none)

    assert (code, "not as this program left it" in line) == (2, True)
    assert "there is no table scores, soil_images" in line


def test_a_schema_that_somebody_has_changed_is_left_alone(db: Any, none: str) -> None:
    db("upgrade", "--dsn", none)
    execute(
        none,
        f"DELETE FROM {SCHEMA}.migrations WHERE number > 1",  # noqa: S608
        "SELECT 1",
    )

    code, line = db("upgrade", "--dsn", none)

    assert (code, "is not as this program left it at migration 1" in line) == (2, True)
    assert 'relation "soil_targets" already exists' in line
    assert execute(none, f"SELECT max(number) FROM {SCHEMA}.migrations") == 1  # noqa: S608


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_missing_rights_are_told_before_anything_is_written(
    db: Any, none: str, word: str
) -> None:
    make = (
        "DO 'BEGIN CREATE ROLE pauper LOGIN; EXCEPTION WHEN duplicate_object THEN END'"
    )
    execute(none, make, "SELECT 1")
    pauper = none.replace("postgres@", "pauper@", 1)

    code, line = db(word, "--dsn", pauper)
    assert (code, "rights are missing: may not create schema" in line) == (2, True)
    assert not exists(none)

    db("upgrade", "--dsn", none)
    code, line = db(word, "--dsn", pauper)
    assert (code, "rights are missing: may not read schema" in line) == (2, True)

    execute(
        none,
        f"GRANT USAGE ON SCHEMA {SCHEMA} TO pauper",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO pauper",
        "SELECT 1",
    )
    code, line = db(word, "--dsn", pauper)
    assert (code, "may not read and write geomagnetic_excuses, " in line) == (2, True)


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_a_server_that_takes_no_writes_is_refused(
    db: Any, none: str, word: str
) -> None:
    code, line = db(word, "--dsn", f"{none}&default_transaction_read_only=on")

    assert (code, "the server takes no writes" in line) == (2, True)
    assert not exists(none)


@pytest.mark.parametrize("word", ["check", "upgrade"])
def test_a_server_too_old_is_refused_and_the_oldest_is_not(
    db: Any, none: str, word: str
) -> None:
    with pretending(none, 12) as old:
        code, line = db(word, "--dsn", old)
    says = "validator: the server is PostgreSQL 12; at least 13 is needed"
    assert (code, line) == (2, says)
    assert not exists(none)

    with pretending(none, 13) as oldest:
        code, line = db(word, "--dsn", oldest)
    assert code == (1 if word == "check" else 0)


def test_a_schema_is_not_upgraded_below_a_running_validator(db: Any, none: str) -> None:
    async def outdate(connection: Connection) -> None:
        await connection.execute("DELETE FROM migrations WHERE number > 1")

    async def main() -> tuple[int, str]:
        async with open_store(none, schema=SCHEMA, fresh=False) as store:
            assert isinstance(store, PostgresStore)
            await store._session.run("test", outdate)
            result: tuple[int, str] = await trio.to_thread.run_sync(
                partial(db, "upgrade", "--dsn", none)
            )
            return result

    code, line = trio.run(main)

    assert (code, "in use by another validator" in line) == (2, True)


def test_a_missing_dsn_is_a_usage_error(db: Any) -> None:
    code, line = db("check")

    assert (code, "--dsn" in line) == (2, True)


def test_an_upgrade_whose_end_is_not_known_says_so(
    db: Any, none: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_args: object, **_kwargs: object) -> None:
        raise OutcomeUnknown("not confirmed")

    monkeypatch.setattr(postgres_session.Session, "run", lost)

    code, line = db("upgrade", "--dsn", none)
    monkeypatch.undo()

    assert (code, "upgraded or as it was; run it again" in line) == (2, True)
