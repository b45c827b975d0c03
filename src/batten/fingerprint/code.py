"""The code of functions and classes without its formatting, and the names that it reads.

Code is described by the syntax tree of its source, which is the same for any layout, comment,
docstring and line number. Without source it is described by its bytecode, which holds for one minor
version of Python.
"""

from __future__ import annotations

import ast
import dis
import linecache
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NamePath = tuple[str, ...]
"""A name and the attributes that are read from it: `helpers.scale` is `("helpers", "scale")`."""

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_NAMED_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_FUNCTIONS = (*_NAMED_FUNCTIONS, ast.Lambda)
_GLOBAL_READS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_ATTRIBUTE_READS = {"LOAD_ATTR", "LOAD_METHOD"}
_FILLERS = {"EXTENDED_ARG", "PUSH_NULL", "CACHE", "PRECALL"}
_FORMALITIES = {"ctx", "kind", "type_comment", "type_ignores"}

_COMPOSED = (ast.AST, list)


@dataclass
class _SourceFile:
    """A parsed file, with its functions by first line and its classes by qualified name."""

    lines: list[str]
    tree: ast.Module
    functions: dict[int, list[FunctionNode]] = field(default_factory=dict)
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=dict)


_files: dict[str, _SourceFile] = {}


def find_function(code: CodeType, names: dict[str, Any]) -> FunctionNode | None:
    """The definition that `code` was compiled from, or None if its source cannot be had or two
    functions cannot be told apart. `names` are the globals of the function."""
    file = _find_file(code.co_filename, names)
    if file is None:
        return None
    candidates = [
        node
        for node in file.functions.get(code.co_firstlineno, [])
        if _name_of(node) == code.co_name and _argument_names(node) == _code_arguments(code)
    ]
    if code.co_name != "<lambda>" or len(candidates) < 2:
        return candidates[0] if candidates else None
    around = [node for node in candidates if _lies_around(node.body, code)]
    if around and _has_columns(code):
        return min(around, key=_extent)
    same = {describe_node(node) for node in candidates}
    return candidates[0] if len(same) == 1 else None


def find_class(
    qualified_name: str, filename: str, names: dict[str, Any], lines: Iterable[int]
) -> ast.ClassDef | None:
    """The definition of the class, or None. If several have one name, it is the one that has the
    first `lines` of its methods; if none has, the last."""
    file = _find_file(filename, names)
    candidates = file.classes.get(qualified_name, []) if file else []
    wanted = list(lines)
    for node in reversed(candidates):
        if any(node.lineno <= line <= (node.end_lineno or 0) for line in wanted):
            return node
    return candidates[-1] if candidates else None


def find_module(filename: str, names: dict[str, Any]) -> ast.Module | None:
    file = _find_file(filename, names)
    return file.tree if file else None


def _find_file(filename: str, names: dict[str, Any]) -> _SourceFile | None:
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, names)
    if not lines:
        return None
    known = _files.get(filename)
    if known is None or known.lines is not lines:
        try:
            tree = ast.parse("".join(lines))
        except (SyntaxError, ValueError):
            return None
        known = _files[filename] = _index(lines, tree)
    return known


def _index(lines: list[str], tree: ast.Module) -> _SourceFile:
    file = _SourceFile(lines, tree)
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, prefix = waiting.pop()
        inner = prefix
        if isinstance(node, _FUNCTIONS):
            decorators = getattr(node, "decorator_list", ())
            line = min([node.lineno, *(each.lineno for each in decorators)])
            file.functions.setdefault(line, []).append(node)
            inner = f"{prefix}{_name_of(node)}.<locals>."
        elif isinstance(node, ast.ClassDef):
            file.classes.setdefault(prefix + node.name, []).append(node)
            for each in node.body:
                if isinstance(each, ast.AnnAssign):
                    each.is_field = True  # type: ignore[attr-defined]
            inner = f"{prefix}{node.name}."
        waiting.extend((child, inner) for child in reversed(list(ast.iter_child_nodes(node))))
    return file


def _name_of(node: FunctionNode) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _argument_names(node: FunctionNode) -> tuple[str, ...]:
    arguments = node.args
    return tuple(
        each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    )


def _code_arguments(code: CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _positions(code: CodeType) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for line, end_line, column, end_column in code.co_positions():
        if line is None or end_line is None or column is None or not end_column:
            continue
        yield (line, column), (end_line, end_column)


def _has_columns(code: CodeType) -> bool:
    return next(_positions(code), None) is not None


def _lies_around(body: Any, code: CodeType) -> bool:
    start, end = (body.lineno, body.col_offset), (body.end_lineno, body.end_col_offset)
    return all(start <= first and last <= end for first, last in _positions(code))


def _extent(node: FunctionNode) -> tuple[int, int]:
    lines = (node.end_lineno or 0) - node.lineno
    return lines, (node.end_col_offset or 0) - (0 if lines else node.col_offset)


def describe_node(node: ast.AST, without: Iterable[ast.AST] = ()) -> str:
    """The code of `node` as text. The decorators of a function are part of it; its defaults are
    not, since they are described as values. Definitions in `without` are left out."""
    left_out = set(without)
    pieces: list[str] = []
    # Values that are no text yet, and texts, which are part of the description.
    waiting: list[ast.AST | list[Any] | str] = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif isinstance(item, list):
            pieces.append("[")
            waiting.append("]")
            kept = [each for each in item if each not in left_out] if left_out else item
            waiting.extend(
                each if isinstance(each, _COMPOSED) else describe_literal(each)
                for each in reversed(kept)
            )
        else:
            pieces.append(f"({_kind(item)}")
            waiting.append(")")
            for name, value in reversed(_fields(item, is_outermost=item is node)):
                if isinstance(value, _COMPOSED):
                    waiting.append(value)
                    waiting.append(f" {name}=")
                else:
                    waiting.append(f" {name}={describe_literal(value)}")
    return "".join(pieces)


def describe_literal(value: object) -> str:
    """A literal as text, for any size of number and on any version of Python."""
    return hex(value) if type(value) is int and abs(value) >= 1 << 64 else ascii(value)


def _kind(node: ast.AST) -> str:
    return "Assign" if _is_local_annotation(node) else type(node).__name__


def _is_local_annotation(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and not hasattr(node, "is_field")


def _fields(node: ast.AST, *, is_outermost: bool) -> list[tuple[str, Any]]:
    if isinstance(node, ast.AnnAssign) and _is_local_annotation(node):
        return [("targets", [node.target]), ("value", node.value)]
    found = []
    for name, value in ast.iter_fields(node):
        if value is None and isinstance(node, ast.Constant):
            found.append((name, value))
        if value is None or value == [] or name in _FORMALITIES:
            continue
        if isinstance(value, list):
            value = _statements(node, name, value)
        elif isinstance(value, ast.arguments):
            value = _arguments(node, value, has_defaults=not is_outermost)
        if name == "returns" and isinstance(node, _NAMED_FUNCTIONS) and not node.decorator_list:
            continue
        found.append((name, value))
    return found


def _statements(node: ast.AST, name: str, value: list[Any]) -> list[Any]:
    if name == "body" and isinstance(node, (*_DEFINITIONS, ast.Module)) and _has_docstring(value):
        value = value[1:]
    return [
        each
        for each in value
        if not isinstance(each, ast.Pass)
        and not (_is_local_annotation(each) and each.value is None)
    ]


def _has_docstring(body: list[Any]) -> bool:
    first = body[0] if body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _arguments(node: ast.AST, value: ast.arguments, *, has_defaults: bool) -> ast.arguments:
    """Annotations say nothing to Python, but they may to a decorator."""
    keeps_annotations = isinstance(node, _NAMED_FUNCTIONS) and bool(node.decorator_list)

    def plain(each: ast.arg) -> ast.arg:
        return each if keeps_annotations else ast.arg(arg=each.arg)

    return ast.arguments(
        posonlyargs=[plain(each) for each in value.posonlyargs],
        args=[plain(each) for each in value.args],
        vararg=plain(value.vararg) if value.vararg else None,
        kwonlyargs=[plain(each) for each in value.kwonlyargs],
        kw_defaults=value.kw_defaults if has_defaults else [],
        kwarg=plain(value.kwarg) if value.kwarg else None,
        defaults=value.defaults if has_defaults else [],
    )


def describe_bytecode(code: CodeType, docstring: str | None) -> str:
    """The code as text where there is no source, for this minor version of Python."""
    constants = [
        describe_bytecode(each, None) if isinstance(each, CodeType) else _constant(each)
        for each in code.co_consts
        if docstring is None or each != docstring
    ]
    shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return repr(
        (sys.version_info[:2], shape, names, code.co_code, code.co_exceptiontable, constants)
    )


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(_constant, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    return describe_literal(value)


@dataclass(frozen=True)
class GlobalNames:
    """The global names that code and the functions within it read, with their attributes, and those
    that it assigns to."""

    read: list[NamePath]
    rebound: set[str]
    has_imports: bool


def read_names(code: CodeType) -> GlobalNames:
    found: dict[NamePath, None] = {}
    others: dict[str, set[str]] = {"STORE_GLOBAL": set(), "IMPORT_NAME": set()}
    path: NamePath = ()
    for instruction in _instructions(code):
        operation = instruction.opname
        if operation in _FILLERS:
            continue
        if path and operation in _ATTRIBUTE_READS:
            path = (*path, instruction.argval)
            continue
        if path:
            found[path] = None
        path = (instruction.argval,) if operation in _GLOBAL_READS else ()
        if operation in others:
            others[operation].add(instruction.argval)
    return GlobalNames(list(found), others["STORE_GLOBAL"], bool(others["IMPORT_NAME"]))


def rebound_captured(code: CodeType, names: Iterable[str] | None = None) -> set[str]:
    """Captured names that the code assigns to."""
    captured = set(code.co_freevars).intersection(code.co_freevars if names is None else names)
    if not captured:
        return set()
    found = {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_DEREF"}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found |= rebound_captured(each, captured)
    return found & captured


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _instructions(each)


def read_expressions(nodes: Iterable[ast.AST]) -> list[NamePath]:
    """Names with their attributes that are read when these are evaluated, or later by lambdas in
    them. What lies in functions that are defined there is not."""
    found: dict[NamePath, None] = {}
    no_arguments: frozenset[str] = frozenset()
    waiting = [(node, no_arguments) for node in nodes][::-1]
    while waiting:
        node, arguments = waiting.pop()
        path = _name_path(node)
        if path:
            if path[0] not in arguments:
                found[path] = None
            continue
        if isinstance(node, _NAMED_FUNCTIONS):
            continue
        if isinstance(node, ast.Lambda):
            arguments = arguments.union(_argument_names(node))
        waiting.extend((child, arguments) for child in reversed(list(ast.iter_child_nodes(node))))
    return list(found)


def _name_path(node: ast.AST) -> NamePath:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return (node.id, *reversed(attributes)) if isinstance(node, ast.Name) else ()


def read_imports(node: ast.AST) -> list[tuple[str, str | None]]:
    """Modules that are imported within `node`, each with the name taken from it or None for the
    whole; a relative one begins with dots."""
    found: dict[tuple[str, str | None], None] = {}
    for each in ast.walk(node):
        if isinstance(each, ast.Import):
            found.update(dict.fromkeys((alias.name, None) for alias in each.names))
        elif isinstance(each, ast.ImportFrom):
            module = "." * each.level + (each.module or "")
            found.update(dict.fromkeys((module, alias.name) for alias in each.names))
    return list(found)
