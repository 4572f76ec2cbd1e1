"""Limits that linters do not check: sizes of files and functions, private names, imports between tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "fer_bench").rglob("*.py"), *(ROOT / "methods").glob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES, MAX_FUNCTION = 400, 60


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of each ``from module import name``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {each.name: (each.end_lineno or 0) - _first_line(each) + 1 for each in functions}
    assert {function: length for function, length in lengths.items() if length > MAX_FUNCTION} == {}


def _first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Where the code begins, below parameters and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[0].lineno if body else function.end_lineno or 0


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_private_names_stay_in_their_module(path: Path) -> None:
    private = [
        f"{module}.{what}"
        for module, what in imports(path)
        if what.startswith("_") and not what.endswith("__") and "fer_bench" in module
    ]
    assert private == []


def test_a_test_file_imports_no_other() -> None:
    found = [
        f"{name(path)}: {module}"
        for path in TESTS
        for module, _ in imports(path)
        if module.startswith("tests.") and module.rsplit(".", 1)[-1].startswith("test_")
    ]
    assert found == []
