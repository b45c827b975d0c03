"""What is printed, warned or logged may hold text from data, so it goes through one function that
escapes: of every place in the code that prints, this is seen in its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import batten

ROOT = Path(batten.__file__).parent
NOT_LOOKED_AT = ("crashlab", "testing")
"""Tools for tests: what they print is read by those who test."""

ALLOWED = {
    "cli/main.py: print": "batten's own version",
    "cli/looking/watching.py: sys.stdout.write": "how many rows are erased, a number",
    "executors/processes/worker.py: sys.stderr.write": "what a function ended its process with,"
    " as Python itself shows it: it goes the way of all that functions print",
    "executors/processes/worker.py: traceback.print_exc": "an error in a worker goes the way of"
    " all that functions print",
    "executors/processes/forking.py: traceback.print_exc": "an error of the nursery itself",
    "run/signals.py: os.write": "the name of a signal, from within its handler",
    "display/bar.py: last_line.draw": "numbers, and what is waited for: rate.py escapes that",
}
"""Places that print without it, and why."""

METHODS = {
    *("sys.stdout.write", "sys.stderr.write", "sys.stdout.writelines", "sys.stderr.writelines"),
    *("sys.__stdout__.write", "sys.__stderr__.write", "traceback.print_exc", "warnings.warn"),
    *("self._stream.write", "self._make.write", "last_line.draw", "traceback.print_exception"),
    *(f"_log.{level}" for level in ("info", "warning", "error", "exception", "critical")),
}


def is_escaped(node: ast.expr) -> bool:
    """Whether all of this text is batten's own, or has been escaped."""
    match node:
        case ast.Constant():
            return True
        case ast.Call(func=ast.Name(id="escape")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[joined]):
            return is_escaped(joined)
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id="escape"), _]):
            return True
        case ast.GeneratorExp(elt=made) | ast.ListComp(elt=made):
            return is_escaped(made)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return is_escaped(left) and is_escaped(right)
        case ast.JoinedStr(values=values):
            return all(map(is_escaped, values))
        case ast.FormattedValue(value=value):
            return is_escaped(value)
        case ast.Starred(value=value):
            return is_escaped(value)
    return False


def find_unescaped(source: str) -> Iterator[tuple[str, int]]:
    """The calls that print something else."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        texts = node.args
        if name == "warnings.warn":
            texts = texts[:1]
        elif name == "os.write":
            is_of_terminal = isinstance(texts[0], ast.Constant) and texts[0].value in (1, 2)
            texts = texts[1:] if is_of_terminal else []
        elif name != "print" and name not in METHODS:
            continue
        if name.startswith("traceback.") or not all(map(is_escaped, texts)):
            yield name, node.lineno


def test_whatever_prints_escapes() -> None:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[0] not in NOT_LOOKED_AT:
            for name, line in find_unescaped(path.read_text()):
                found[f"{place}: {name}"] = line
    assert found.keys() - ALLOWED.keys() == set(), found
    assert ALLOWED.keys() - found.keys() == set(), "they are there no more"


@pytest.mark.parametrize(
    "source",
    [
        "print(path)",
        "print('in', path)",
        "print(f'in {path}')",
        "print(*paths)",
        "sys.stderr.write(escape(path) + error)",
        "sys.stdout.write('\\n'.join(lines))",
        "print('\\n'.join(f'{escape(line)}{line}' for line in lines))",
        "warnings.warn(str(error), RuntimeWarning)",
        "_log.warning('%s: %s', escape(path), error)",
        "os.write(2, told)",
        "traceback.print_exc()",
    ],
)
def test_what_is_found(source: str) -> None:
    assert list(find_unescaped(source))
