"""Every command that batten advises can be pasted: it parses, and names the path that it needs.

The sources are gone through for them, so that advice that is added later is held to it too. A
command in a message is made by `command` of `model/telling/commands.py`, or is in the table of
findings.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import batten
from batten.cli.main import COMMANDS, make_parser
from batten.errors import UsageError
from batten.model.rules.findings import MEANINGS, Code, Finding

SOURCES = Path(batten.__file__).parent
OUTPUT = "out/it's a report.csv"
WRITTEN = re.compile(rf"batten ({'|'.join(COMMANDS)})\b(?!:)")
IN_WORDS = {
    *("batten diagnose PATH", "batten run JOB.py", "batten diagnose --help"),
    *("batten completion bash", "batten init features.py"),
}
"""Where the path is not known. What follows is the user's to fill in, or asks for help."""


def parse(words: list[str]) -> argparse.Namespace:
    assert words[0] == "batten"
    return make_parser(words[1]).parse_args(words[2:])


def list_trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted(SOURCES.rglob("*.py")):
        if "crashlab" not in path.parts:
            yield path, ast.parse(path.read_text())


def list_texts(tree: ast.AST) -> Iterator[str]:
    """All texts but docstrings; what is filled in is a brace."""
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    within = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and id(node) not in docstrings | within:
            yield str(node.value)


def list_calls(tree: ast.AST) -> Iterator[list[str]]:
    """The words of all calls of `command`; a path where one is filled in."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or any(isinstance(a, ast.Starred) for a in node.args):
            continue
        words = [a.value if isinstance(a, ast.Constant) else OUTPUT for a in node.args]
        name = ast.unparse(node.func)
        if name == "command" and words:
            yield ["batten", *map(str, words)]
        elif name.endswith("place.command"):
            yield ["batten", *map(str, words), OUTPUT]


def test_no_message_writes_a_command_by_hand() -> None:
    texts = {
        text: path
        for path, tree in list_trees()
        for text in list_texts(tree)
        if WRITTEN.search(text) and path.name != "findings.py"
    }
    by_hand = [
        f"{path}: {text}"
        for text, path in texts.items()
        if not any(known in text for known in IN_WORDS)
    ]
    assert by_hand == []


def test_every_command_that_is_advised_parses() -> None:
    calls = {shlex.join(words) for _, tree in list_trees() for words in list_calls(tree)}
    assert len(calls) > 5
    for line in sorted(calls):
        arguments = vars(parse(shlex.split(line)))
        assert OUTPUT in str(arguments), line


@pytest.mark.parametrize("code", Code)
def test_the_advice_for_every_finding_can_be_pasted(code: Code) -> None:
    finding = Finding(code=code, path="x", evidence="y")
    advice = finding.advise(OUTPUT)
    assert bool(WRITTEN.search(advice)) == bool(WRITTEN.search(MEANINGS[code].safe_action))
    for found in WRITTEN.finditer(advice):
        assert parse(shlex.split(advice[found.start() :])).path == OUTPUT


def test_what_cannot_be_parsed_would_be_found() -> None:
    with pytest.raises(UsageError):
        parse(["batten", "recover", "--recompute-missing"])
    with pytest.raises(UsageError):
        parse(["batten", "verify", OUTPUT, "--recompute-missing"])
