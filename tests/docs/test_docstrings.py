"""Public docstrings name each parameter, what comes back, and which errors come.

A new parameter or field without a word of its own fails here. The form is that of Google's
sections, which mkdocstrings reads."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import batten
import batten.extending
import batten.testing
from batten.cache.clearing.counts import Counts, Statistics
from batten.inspect.diagnosis import Contents, NextRun, Orphan
from batten.ledger.files.quarantine_file import Quarantined
from batten.ledger.history.runs import RunSummary
from batten.model.rules.accounting import Accounts
from batten.pipeline.whole_tables import TablePipeline, Tables
from batten.run.report import Delivered, Finalized, Report

GIVEN = (
    *(Report, Finalized, Delivered, Accounts, Statistics, Counts, RunSummary, Quarantined),
    *(Contents, NextRun, Orphan, Tables, TablePipeline),
)
"""What public functions give, beside what `batten` itself names."""

NAMED = [
    (name, getattr(module, name))
    for module in (batten, batten.extending, batten.testing)
    for name in module.__all__
]
"""What is public."""

CONSTRUCTED = (batten.Cache, batten.Secret, batten.testing.Relay, batten.extending.Unavailable)
"""Classes that users call; of errors and values it is known by what they are."""

SOURCE = Path(__file__).parents[2] / "src"
SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Attributes):\n((?:    .*\n|\n)+)", re.MULTILINE)
ENTRY = re.compile(r"^    (\S[^:]*): \S", re.MULTILINE)
OTHER_SECTION = re.compile(r"^ *(Arguments|Parameters|Return|Raise|Yield):", re.MULTILINE)
SUMMARY_CHARACTERS_MAX = 100


def sections_of(docstring: str | None) -> dict[str, str]:
    return dict(SECTION.findall(f"{inspect.cleandoc(docstring or '')}\n"))


def classes() -> list[type]:
    kinds = [kind for kind in (*(value for _, value in NAMED), *GIVEN) if isinstance(kind, type)]
    return list(dict.fromkeys(kinds))


def functions() -> Iterator[tuple[str, Any]]:
    yield from ((name, value) for name, value in NAMED if inspect.isfunction(value))
    for kind in classes():
        own = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == "batten"]
        for base in reversed(own):
            for name, value in vars(base).items():
                if vars(kind).get(name, value) is value and is_public_method(base, name, value):
                    yield f"{kind.__name__}.{name}", value


def is_public_method(kind: type, name: str, value: Any) -> bool:
    is_named = not name.startswith(("_", "test_")) or name in ("__call__", "__iter__")
    is_field = dataclasses.is_dataclass(kind) and name in kind.__dataclass_fields__
    return is_named and not is_field and inspect.isfunction(value)


def problems_of_parameters(docstring: str | None, parameters: list[str], section: str) -> list[str]:
    told = ENTRY.findall(sections_of(docstring).get(section, ""))
    return [
        *(f"{name} is not in {section}" for name in parameters if name not in told),
        *(f"{name} in {section} is no parameter" for name in told if name not in parameters),
    ]


def parameters_of(function: Any) -> list[str]:
    star = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    names = [
        star.get(each.kind, "") + each.name
        for each in inspect.signature(function).parameters.values()
        if each.name != "self"
    ]
    return [name for name in names if not name.strip("*").startswith("_") and name.strip("*")]


def problems_of_defaults(function: Any) -> list[str]:
    """What may be left out and does not say what then holds."""
    args = f"{sections_of(function.__doc__).get('Args', '')}\n    : ."
    told = dict(re.findall(r"^    (\S[^:]*): (.*?)(?=^    \S)", args, re.MULTILINE | re.DOTALL))
    return [
        f"{name} does not say what holds by default"
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty and not name.startswith("_")
        if not re.search(r"\bdefault\b|as for `", told.get(name, ""))
    ]


def raises(function: Any) -> bool:
    """Whether the function itself raises, or calls what by its name is there to raise."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if re.match(r"_?(refuse|check|require)_|import_optional$|local_path$", called):
                return True
    return False


def problems_of(function: Any) -> list[str]:
    docstring = function.__doc__
    told = sections_of(docstring)
    problems = problems_of_parameters(docstring, parameters_of(function), "Args")
    problems += problems_of_defaults(function)
    annotation = str(inspect.signature(function).return_annotation)
    gives = annotation not in ("None", "NoReturn") and "Iterator[None]" not in annotation
    if gives and not told.keys() & {"Returns", "Yields"}:
        problems.append("it does not say what comes back")
    if raises(function) and "Raises" not in told:
        problems.append("it does not say which errors come")
    return [*problems, *problems_of_form(docstring)]


def problems_of_form(docstring: str | None) -> list[str]:
    summary = (docstring or "").partition("\n")[0]
    if not summary.endswith((".", "`")):
        return [f"the first line is no whole sentence: {summary!r}"]
    if len(summary) > SUMMARY_CHARACTERS_MAX:
        return [f"the first line is too long: {summary!r}"]
    untold = re.findall(
        r"^(?:Arguments|Parameters|Return|Raise|Yield):", docstring or "", re.MULTILINE
    )
    return [f"{each} is no section of Google's form" for each in untold]


@pytest.mark.parametrize(
    "function", [pytest.param(function, id=name) for name, function in functions()]
)
def test_functions_name_parameters_results_and_errors(function: Any) -> None:
    assert problems_of(function) == []


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_classes_say_what_they_hold(kind: type) -> None:
    is_value = dataclasses.is_dataclass(kind) and not issubclass(kind, batten.Pipeline | Tables)
    is_called = kind in CONSTRUCTED or (issubclass(kind, Exception) and "__init__" in vars(kind))
    problems = problems_of_form(kind.__doc__)
    if is_value:
        fields = [each.name for each in dataclasses.fields(kind)]
        problems += problems_of_parameters(kind.__doc__, fields, "Attributes")
    elif is_called:
        problems += problems_of_parameters(kind.__doc__, parameters_of(kind), "Args")

    assert problems == []


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_modules_say_in_a_sentence_what_they_are_for(path: Path) -> None:
    assert problems_of_form(ast.get_docstring(ast.parse(path.read_text()))) == []


def test_what_is_not_told_is_found() -> None:
    def untold(first: int, second: int, fourth: int = 4) -> int:
        """Add them.

        Args:
            first: A number.
            fourth: A number.
            third: A number.
        """
        if second:
            raise ValueError(second)
        return first + fourth

    assert problems_of(untold) == [
        "second is not in Args",
        "third in Args is no parameter",
        "fourth does not say what holds by default",
        "it does not say what comes back",
        "it does not say which errors come",
    ]
