"""The tree of the sources stays one in which a reader finds the file (see CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
FILES = sorted(SOURCE.rglob("*.py"))

FILE_LINES_MAX = 400
FOLDER_FILES_MAX = 13
"""A dozen, and the `__init__.py` that says what the folder is."""
FUNCTION_LINES_MAX = 60
"""Without a docstring, which may teach."""


def test_no_file_is_long() -> None:
    lines = {str(path.relative_to(SOURCE)): len(path.read_text().splitlines()) for path in FILES}

    assert len(lines) > 100
    assert {path: count for path, count in lines.items() if count > FILE_LINES_MAX} == {}


def test_no_folder_is_full() -> None:
    files = Counter(str(path.parent.relative_to(SOURCE)) for path in FILES)

    assert {folder: count for folder, count in files.items() if count > FOLDER_FILES_MAX} == {}


def test_no_function_is_long() -> None:
    found = {where: lines for path in FILES for where, lines in _measure_functions(path)}

    assert {where: lines for where, lines in found.items() if lines > FUNCTION_LINES_MAX} == {}


def test_nothing_comes_after_what_a_program_does() -> None:
    """It would not be there yet for what the program calls."""
    found = [(path, ast.parse(path.read_text()).body) for path in FILES]
    starts = [
        (path, body.index(each), body) for path, body in found for each in body if _is_start(each)
    ]

    assert len(starts) > 3
    assert [path.name for path, at, body in starts if at < len(body) - 1] == []


def _is_start(statement: ast.stmt) -> bool:
    """Whether it is what is done where the module is the program."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def _measure_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's statements, from the first line to the last."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        lines = max(each.end_lineno or 0 for each in body) - body[0].lineno + 1 if body else 0
        yield f"{path.relative_to(SOURCE)}:{node.name}", lines
