"""The fingerprint of the user's functions.

It covers the code that they reach by name in the user's own modules, and the values that this code
reads. It does not cover the code's formatting, its place, or what is installed.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections import deque
from collections.abc import Callable
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from batten.errors import UsageError, usage_error
from batten.fingerprint import classes, code
from batten.fingerprint.descriptions import FunctionDescription
from batten.fingerprint.names_of_0_1 import name_as_0_1
from batten.fingerprint.ownership import (
    Namespace,
    namespace_of_class,
    namespace_of_function,
    namespace_of_module,
    public_name,
)
from batten.fingerprint.reads import Reads
from batten.fingerprint.values import Opaque, ValueText, digest_text, shorten
from batten.model.telling.hiding import hide, is_secret_part

_BUILT_IN_METHODS = (
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
)


def describe_function(
    function: Callable[..., Any], *, version: str | None = None
) -> FunctionDescription:
    """Describe a step's function, class or callable instance. `version` stands for the values that
    have no content to compare, and for nothing else.

    Raises `UsageError` if it depends on such a value and no version is given.
    """
    return _Walk(_name_of(function), version=version).describe(function)


def describe_loaded(value: Any, *, version: str | None) -> tuple[FunctionDescription, Reads]:
    """Describe any value by its source and its compiled code. Also tells what was read for that."""
    walk = _Walk(_name_of(value), version=version, has_bytecode=True)
    return walk.describe(value), walk.reads


def _name_of(value: Any) -> str:
    if isinstance(value, functools.partial):
        return _name_of(value.func)
    inner = getattr(value, "__wrapped__", None)
    if inner is not None and not isinstance(value, type):
        return _name_of(inner)
    if isinstance(value, FunctionType):
        return namespace_of_function(value).qualify_code(value.__code__)
    if isinstance(getattr(value, "__func__", None), FunctionType):
        return _name_of(value.__func__)
    kind = value if isinstance(value, type) else None
    if kind is None and isinstance(getattr(value, "__qualname__", None), str):
        return public_name(getattr(value, "__module__", None), value.__qualname__)
    return _class_name(kind or type(value))


def _class_name(kind: type[Any]) -> str:
    namespace = namespace_of_class(kind)
    if namespace.is_own:
        return namespace.qualify(kind.__qualname__)
    return public_name(kind.__module__, kind.__qualname__)


class _Walk:
    """Describes one step: what is reached is named at once and described later, each thing once."""

    def __init__(self, step: str, *, version: str | None, has_bytecode: bool = False) -> None:
        self.parts: dict[str, str] = {}
        self.places: dict[str, str] = {}
        self.reads = Reads()
        self._before: dict[str, str] = {}
        self._secrets: list[str] = []
        self._version = version
        self._has_bytecode = has_bytecode
        self._step = step
        self._references: dict[int, tuple[object, str]] = {}
        self._taken: set[str] = set()
        self._read: set[tuple[int, str, bool]] = set()
        self._waiting: deque[Callable[[], None]] = deque()

    def describe(self, function: Any) -> FunctionDescription:
        self._describe_step(function)
        before = {**self.parts, **self._before}
        if self._version is not None:
            before = {f"function {self._step}": f"version {self._version!r}"}
            self.parts[f"version of {self._step}"] = self._version
        return FunctionDescription(
            name=self._step,
            parts=self.parts,
            places=self.places,
            parts_before=before,
            secrets=tuple(self._secrets),
        )

    def _describe_step(self, function: Any) -> None:
        reference = self._refer(function)
        if reference is None:
            owner = namespace_of_class(type(function))
            self._add_value(f"value of {self._step}", function, owner, f"{self._step} itself is")
        elif not self._waiting:
            self._put(f"function {self._step}", reference)
        while self._waiting:
            self._waiting.popleft()()

    def _refer(self, value: Any) -> str | None:
        """What a function, class or module is called in texts, having it described if it is the
        user's own; None for other values."""
        if isinstance(value, FunctionType):
            return self._refer_function(value)
        if isinstance(value, type):
            if namespace_of_class(value).is_own:
                name = f"class {_class_name(value)}"
                return self._reserve(value, name, lambda name: self._describe_class(value, name))
            return f"class {_class_name(value)}"
        if isinstance(value, ModuleType):
            namespace = namespace_of_module(value)
            if namespace.is_own:
                name = f"module {namespace.label}"
                return self._reserve(value, name, lambda name: self._describe_module(value, name))
            return f"module {value.__name__}"
        if isinstance(value, BuiltinFunctionType):
            if value.__self__ is None or isinstance(value.__self__, ModuleType):
                return f"function {public_name(value.__module__, value.__qualname__)}"
            return None
        if isinstance(value, _BUILT_IN_METHODS):
            return f"function {_class_name(value.__objclass__)}.{value.__name__}"
        return None

    def _refer_function(self, function: FunctionType) -> str:
        namespace = namespace_of_function(function)
        if namespace.is_own:
            name = f"function {namespace.qualify_code(function.__code__)}"
            return self._reserve(function, name, lambda name: self._describe(function, name))
        name = f"function {public_name(namespace.label, function.__code__.co_qualname)}"
        own = self._own_within(function)
        return f"{name}({', '.join(own)})" if own else name

    def _own_within(self, value: Any) -> list[str]:
        """The user's own functions and classes that installed code, a decorator say, holds on to,
        having them described."""
        found: dict[str, None] = {}
        seen: dict[int, object] = {}
        if hasattr(value, "registry"):
            self.reads.is_lasting = False  # of a generic function: it grows
        waiting = [*classes.held_within(value), *getattr(value, "__dict__", {}).values()][::-1]
        while waiting:
            each = waiting.pop()
            if id(each) in seen or isinstance(each, ModuleType):
                continue
            seen[id(each)] = each
            kind = each if isinstance(each, type) else type(each)
            if isinstance(each, FunctionType) and namespace_of_function(each).is_own:
                found[self._refer_function(each)] = None
            elif namespace_of_class(kind).is_own:
                found[self._refer(kind) or ""] = None
            elif not isinstance(each, type):
                waiting.extend(classes.held_within(each)[::-1])
        return list(found)

    def _reserve(self, value: object, name: str, describe: Callable[[str], None]) -> str:
        known = self._references.get(id(value))
        if known is None:
            numbered, count = name, 1
            while numbered in self._taken:
                count += 1
                numbered = f"{name} ({count})"
            self._taken.add(numbered)
            known = self._references[id(value)] = (value, numbered)
            self._waiting.append(lambda: describe(numbered))
        return known[1]

    def _describe(self, function: FunctionType, name: str) -> None:
        namespace = namespace_of_function(function)
        own_code = function.__code__
        bare = name.removeprefix("function ")
        names = code.read_names(own_code)
        self.reads.add_function(function)
        node = code.find_function(own_code, function.__globals__)
        if node is None:
            text = code.describe_bytecode(own_code, function.__doc__)
        else:
            text = code.describe_node(node)
            for module, taken in code.read_imports(node) if names.has_imports else ():
                self._read_import(namespace, module, taken)
            for path in code.read_expressions(getattr(node, "decorator_list", ())):
                self._read_name(namespace, path, bare, is_lenient=True)
        if self._has_bytecode:
            text += code.describe_bytecode(own_code, function.__doc__)
        self.parts[name] = digest_text(text)
        self.places[name] = _show_place(own_code)
        for argument, value in classes.defaults(function).items():
            what = f"{bare} has the default `{argument}`,"
            self._add_value(f"default of {bare}: {argument}", value, namespace, what)
        rebound = code.rebound_captured(own_code)
        for variable, value in classes.captured(function).items():
            if variable not in rebound:
                what = f"{bare} captures the variable `{variable}`,"
                self._add_value(f"captured value of {bare}: {variable}", value, namespace, what)
        for path in names.read:
            self._read_name(namespace, path, bare, is_state=path[0] in names.rebound)
        self._own_within([getattr(function, "__wrapped__", None)])

    def _describe_class(self, kind: type[Any], name: str) -> None:
        namespace = namespace_of_class(kind)
        bare = name.removeprefix("class ")
        found = classes.describe_class(kind, namespace)
        self.reads.add_class(kind)
        self.parts[name] = digest_text(found.text)
        if found.place:
            self.places[name] = found.place
        for each in (*kind.__bases__, type(kind), *found.functions):
            self._refer(each)
        for attribute, value in found.attributes.items():
            what = f"{bare} has the class attribute `{attribute}`,"
            is_lenient = hasattr(type(value), "__get__")
            self._add_value(
                f"constant {bare}.{attribute}", value, namespace, what, is_lenient=is_lenient
            )
        for path in found.reads:
            self._read_name(namespace, path, bare, is_lenient=True)

    def _describe_module(self, module: ModuleType, name: str) -> None:
        namespace = namespace_of_module(module)
        self.reads.is_lasting = False
        tree = code.find_module(namespace.file, namespace.names) if namespace.file else None
        self.parts[name] = digest_text(code.describe_node(tree) if tree else "without source")
        for each in list(namespace.names):
            self._read_name(namespace, (each,), namespace.label, is_lenient=True)

    def _read_import(self, namespace: Namespace, module: str, taken: str | None) -> None:
        """An import within a function: of the user's own module, what is taken is described."""
        package = namespace.names.get("__package__") or ""
        try:
            absolute = importlib.util.resolve_name(module, package)
            spec = importlib.util.find_spec(absolute.partition(".")[0])
            if spec is None or not Namespace.of_spec(spec).is_own:
                return
            imported = importlib.import_module(absolute)
        except Exception:  # noqa: BLE001
            # It cannot be imported here, so the function cannot either; it may not need it.
            return
        if taken is None or taken == "*":
            self._refer(imported)
        else:
            self._read_name(namespace_of_module(imported), (taken,), self._step)

    def _read_name(
        self,
        namespace: Namespace,
        path: code.NamePath,
        reader: str,
        *,
        is_lenient: bool = False,
        is_state: bool = False,
    ) -> None:
        name, *attributes = path
        self.reads.add_name(namespace.names, name)
        if name not in namespace.names or (name.startswith("__") and name.endswith("__")):
            return
        value = namespace.names[name]
        full = namespace.qualify(name)
        if isinstance(value, ModuleType) and (attributes or not namespace_of_module(value).is_own):
            inner = namespace_of_module(value)
            if inner.label != name:
                self.parts[f"name {full}"] = inner.label
            if inner.is_own:
                self._read_name(inner, tuple(attributes), reader, is_lenient=is_lenient)
            return
        if isinstance(value, FunctionType) and attributes and attributes[0] in vars(value):
            what = f"{reader} reads the attribute `{attributes[0]}` of {full},"
            part, attribute = f"constant {full}.{attributes[0]}", vars(value)[attributes[0]]
            self.reads.add_name(vars(value), attributes[0])
            self._add_value(part, attribute, namespace, what, is_lenient=is_lenient)
        seen = (id(namespace.names), name, is_lenient or is_state)
        if seen in self._read:
            return
        self._read.add(seen)
        reference = self._refer(value)
        if reference is None:
            if is_state:
                return
            what = f"{reader} reads the global `{name}`,"
            self._add_value(f"constant {full}", value, namespace, what, is_lenient=is_lenient)
        elif reference not in (f"function {full}", f"class {full}", f"module {name}"):
            self._put(f"name {full}", reference)

    def _add_value(
        self, part: str, value: Any, namespace: Namespace, what: str, *, is_lenient: bool = False
    ) -> None:
        self.reads.add_value(value)
        has_version = self._version is not None and not is_lenient  # decision 0044
        teller = ValueText(self._refer, self._own_within, namespace.folder, has_version=has_version)
        try:
            text = teller.describe(value)
        except Opaque as error:
            if not is_lenient:
                raise self._cannot_compare(value, what, error) from error
            self._own_within(value)
            return
        self._put(part, text)
        self._secrets += teller.secrets
        if teller.is_secret or is_secret_part(part, text):
            self._before.setdefault(part, self.parts[part])
            self.parts[part] = hide(part, self.parts[part])

    def _put(self, part: str, text: str) -> None:
        self.parts[part] = shorten(text)
        before = name_as_0_1(text)
        if before != text:
            self._before[part] = shorten(before)

    def _cannot_compare(self, value: object, what: str, error: Opaque) -> UsageError:
        kind = public_name(type(value).__module__, type(value).__qualname__)
        holds = (
            f"a {kind}"
            if kind == error.kind
            else f"a {kind} that holds something of type {error.kind}"
        )
        short = self._step.rpartition(".")[2]
        return usage_error(
            f"{what} {holds}, which has no content that batten can compare.",
            f'Let a version stand for this value: .map({short}, version="1"), to be changed '
            "whenever the value changes results; code and all other values are still compared. "
            "Or make it inside of the function, or a class its step. For a key or a password: "
            'batten.Secret("NAME").',
        )


def _show_place(own_code: CodeType) -> str:
    """Where it begins, for people. The file of a cell has a number that nobody has seen."""
    file = PurePath(own_code.co_filename)
    is_cell = file.parent.name.startswith("ipykernel_")
    return f"{'a cell' if is_cell else file.name}:{own_code.co_firstlineno}"
