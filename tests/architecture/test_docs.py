"""The documentation leaves nothing out, and claims nothing that no test shows."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("package", ["actors", "supervision"])
def test_every_public_name_is_in_the_reference(package: str) -> None:
    text = (DOCS / "reference" / f"{package}.md").read_text()
    documented = re.findall(rf"^\.\. auto\w+:: {package}\.(\w+)", text, re.MULTILINE)
    assert sorted(documented) == sorted(importlib.import_module(package).__all__)
