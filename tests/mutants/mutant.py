"""A mutant: a mistake that is planted into a copy of our code, to see who notices."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs


class Misplaced(Exception):
    """The code that a mutant changes is not there, or not there once."""


@attrs.frozen
class Change:
    """One piece of code that becomes another. ``old`` must stand there exactly once."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The text of the file with the change.

        Raises:
            Misplaced: ``old`` does not stand in it exactly once.
        """
        if (times := text.count(self.old)) != 1:
            raise Misplaced(
                f"{self.file}: what is to be changed stands there {times} times, not "
                f"once; write it anew:\n{self.old}"
            )
        return text.replace(self.old, self.new)


@attrs.frozen
class Rewritten:
    """A whole file that is another."""

    file: str
    text: str

    def applied(self, _text: str) -> str:
        """That."""
        return self.text


@attrs.frozen
class Mutant:
    """A mistake, and the rule that it breaks."""

    name: str
    rule: str
    changes: tuple[Change | Rewritten, ...]
    first: tuple[str, ...] = ()
    """Files of tests that are the likeliest to notice; the others come after them."""

    def texts(self, root: Path) -> dict[str, str]:
        """The changed files.

        Raises:
            Misplaced: a change does not fit the code below ``root``.
        """
        texts: dict[str, str] = {}
        for change in self.changes:
            before = texts.get(change.file) or (root / change.file).read_text()
            texts[change.file] = change.applied(before)
        return texts

    @contextmanager
    def planted(self, root: Path) -> Generator[None]:
        """Let the code below ``root`` have the mistake while the block runs.

        Raises:
            Misplaced: a change does not fit.
        """
        texts = self.texts(root)
        before = {root / name: (root / name).read_text() for name in texts}
        stamps = {file: file.stat() for file in before}
        try:
            for name, text in texts.items():
                (root / name).write_text(text)
            yield
        finally:
            for file, text in before.items():
                file.write_text(text)
                # What was compiled from it is known by the time, and is right again.
                stamp = stamps[file]
                os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
