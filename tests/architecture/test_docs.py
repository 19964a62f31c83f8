"""The documentation leaves nothing out, and claims nothing that no test shows."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize(
    ("package", "page"),
    [
        ("actors", "actors"),
        ("supervision", "supervision"),
        ("actors.testing", "testing"),
        ("supervision.testing", "testing"),
    ],
)
def test_every_public_name_is_in_the_reference(package: str, page: str) -> None:
    text = (DOCS / "reference" / f"{page}.md").read_text()
    directive = rf"^\.\. auto\w+:: {package}\.(\w+)(?:\(\))?$"
    documented = re.findall(directive, text, re.MULTILINE)
    assert sorted(documented) == sorted(importlib.import_module(package).__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_every_promise_names_a_test_that_exists() -> None:
    text = (DOCS / "design" / "semantics.md").read_text()
    promises = re.findall(r"^\* .*(?:\n  .*)*", text, re.MULTILINE)
    assert promises
    assert [each for each in promises if not LINK.search(each)] == []
    missing = [
        f"{file}::{name}"
        for file, name in LINK.findall(text)
        if name not in _functions(ROOT / file)
    ]
    assert missing == []


def _functions(file: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
