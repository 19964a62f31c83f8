"""Which tests run which lines of our code, and how long each test takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import coverage

from tests.mutants.trial import COPIED, FAST, Bench
from tests.mutants.watch import TIMES


@attrs.frozen
class Reach:
    """What a run of all tests has shown."""

    lines: Mapping[str, Mapping[int, Sequence[str]]]
    """File -> line -> the tests that run it."""
    times: Mapping[str, float]
    """Test -> seconds."""

    def of(self, file: str, lines: Sequence[int]) -> dict[str, float]:
        """The tests that run one of these lines, the fastest first.

        Those of the whole file, if the lines run when it is imported.
        """
        by_line = self.lines.get(file, {})
        tests = {test for line in lines for test in by_line.get(line, ())}
        if not tests:
            tests = {test for each in by_line.values() for test in each}
        return {test: self.times[test] for test in sorted(tests, key=self._order)}

    def _order(self, test: str) -> tuple[float, str]:
        return self.times[test], test


def reach_of(bench: Bench, remembered: Path | None) -> Reach:
    """Run all tests and see; or what was seen before of the same code and tests.

    Raises:
        RuntimeError: a test fails without any mistake.
    """
    digest = _digest(bench.root)
    if remembered is not None and remembered.exists():
        seen = json.loads(remembered.read_text())
        if seen["digest"] == digest:
            lines = {
                file: {int(line): tests for line, tests in by_line.items()}
                for file, by_line in seen["lines"].items()
            }
            return Reach(lines, seen["times"])
    reach = _measured(bench)
    if remembered is not None:
        known = {"digest": digest, "lines": reach.lines, "times": reach.times}
        remembered.write_text(json.dumps(known))
    return reach


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(root):
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for name in COPIED[:-1]:
        yield from sorted((root / name).rglob("*.py"))


def _measured(bench: Bench) -> Reach:
    root = bench.root
    data, times = root / "coverage", root / "times"
    environment = {TIMES: str(times), "COVERAGE_FILE": str(data)}
    source = ["-m", "coverage", "run", "--source=actors,supervision"]
    code, output = bench.run(FAST, 3600, environment, before=source)
    if code != 0:
        raise RuntimeError(f"tests fail without any mistake:\n{output}")
    covered = coverage.Coverage(
        data_file=str(data), config_file=str(root / "pyproject.toml")
    )
    covered.combine([str(root)])
    found = covered.get_data()
    lines = {
        str(Path(file).relative_to(root.resolve())): {
            line: [test for test in tests if test]
            for line, tests in found.contexts_by_lineno(file).items()
        }
        for file in found.measured_files()
    }
    return Reach(lines, json.loads(times.read_text()))
