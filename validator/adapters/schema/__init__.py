"""The numbered migrations: ``NNNN_name.sql``, applied in order, never edited again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import attrs


class SchemaConflict(Exception):
    """The database's migrations are not the beginning of ours; nothing was changed."""


@attrs.frozen
class Migration:
    """One step of the schema."""

    number: int
    name: str
    sql: str = attrs.field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex: what was applied is what stands here."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def tables(self) -> Sequence[str]:
        """The names of those it makes."""
        return re.findall(r"^CREATE TABLE (\w+)", self.sql, re.MULTILINE)


def migrations() -> tuple[Migration, ...]:
    """Read all migrations, in order. Reads files."""
    files = [f for f in resources.files(__name__).iterdir() if f.name.endswith(".sql")]
    steps: list[Migration] = []
    for file in sorted(files, key=lambda f: f.name):
        number, _, name = file.name.removesuffix(".sql").partition("_")
        steps.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return tuple(steps)


def pending(
    known: Sequence[Migration], recorded: Mapping[int, str]
) -> Sequence[Migration]:
    """Return the steps of ``known`` that are not recorded (number -> digest) yet.

    Raises:
        SchemaConflict: the database is newer than this program, or was made by
            other texts under the same numbers.
    """
    newest = known[-1].number
    if recorded and max(recorded) > newest:
        raise SchemaConflict(
            f"the database is at migration {max(recorded)}, this program knows only "
            f"{newest}; use a newer program"
        )
    for step in known:
        if recorded.get(step.number, step.digest) != step.digest:
            raise SchemaConflict(
                f"migration {step.number} ({step.name}) in the database differs from "
                "this program's; use the program that made it or another schema"
            )
    return [step for step in known if step.number not in recorded]
