from __future__ import annotations

import re

import pytest

from validator.adapters.schema import Migration, SchemaConflict, migrations, pending

KNOWN = (Migration(1, "one", "SELECT 1"), Migration(2, "two", "SELECT 2"))


def test_migrations_are_numbered_without_gaps() -> None:
    assert [step.number for step in migrations()] == [
        n + 1 for n in range(len(migrations()))
    ]
    assert all(re.fullmatch(r"[a-z_]+", step.name) for step in migrations())


def test_an_empty_database_gets_every_migration_in_order() -> None:
    assert pending(KNOWN, {}) == list(KNOWN)


def test_what_is_recorded_is_not_applied_again() -> None:
    assert pending(KNOWN, {1: KNOWN[0].digest}) == [KNOWN[1]]


def test_a_database_newer_than_the_program_is_refused() -> None:
    with pytest.raises(SchemaConflict, match="at migration 3, this program knows"):
        pending(KNOWN, {1: KNOWN[0].digest, 2: KNOWN[1].digest, 3: "?"})


def test_a_migration_changed_afterwards_is_refused() -> None:
    with pytest.raises(SchemaConflict, match=r"migration 1 \(one\)"):
        pending(KNOWN, {1: "another text's"})
