"""The house keeps its own rules."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "supervision", "validator")
FILES = sorted(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))


def _public(tree: ast.Module) -> Iterator[ast.AST]:
    """Classes, functions, and the methods of classes, without a leading underscore."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from node.body


def _needs_no_docstring(node: ast.AST) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name.startswith("_")
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    # A handler's promise stands at its message; a hook's where it is declared.
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    handles = any(name.endswith(".handled") for name in decorators)
    return node.name.startswith("_") or handles or "overload" in decorators


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_file_is_one_idea_and_has_a_docstring(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 450
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("name", ["actors", "supervision"])
def test_what_is_public_makes_a_promise(name: str) -> None:
    silent = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in sorted((ROOT / name).glob("*.py"))
        for node in _public(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not _needs_no_docstring(node)
        and not ast.get_docstring(node)
        and node.name not in {"started", "leave", "below"}  # hooks, as declared
    ]
    assert silent == []


@pytest.mark.real
def test_embedding_stays_light() -> None:
    heavy = ("psutil", "structlog", "hypothesis", "httpx", "asyncpg")
    code = f"import actors, supervision, sys; print(set({heavy}) & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
