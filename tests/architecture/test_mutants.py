"""The mistakes that our tests are tried against still fit the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.planted import PLANTED

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", PLANTED, ids=[mutant.name for mutant in PLANTED])
def test_a_planted_mistake_fits_the_code_and_is_a_program(mutant: Mutant) -> None:
    for name, text in mutant.texts(ROOT).items():
        ast.parse(text, name)
        assert text != (ROOT / name).read_text()
    for test in mutant.first:
        assert (ROOT / test).exists()


def test_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in PLANTED}) == len(PLANTED)
