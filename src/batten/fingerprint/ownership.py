"""Whose a module is: the user's own, whose code is part of the fingerprint, or an installed one."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import Any

_COMPREHENSION = re.compile(r"<(?:list|set|dict)comp>\.(?:<locals>\.)?")
_MAIN = ("__main__", "__mp_main__")
"""The main module, and what it is called in a process that loads it but does not run it."""
_INSTALLED_FOLDERS = ("site-packages", "dist-packages")
_STANDARD_LIBRARY = os.path.dirname(os.path.realpath(os.__file__))
_PACKAGE = __name__.partition(".")[0]
_BATTEN = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


@dataclass(frozen=True)
class Namespace:
    """The names of a module. `label` is the module for people; that of a script run as `__main__`
    is the same as when it is imported."""

    label: str
    names: dict[str, Any]
    file: str | None
    is_own: bool

    def qualify(self, name: str) -> str:
        return f"{self.label}.{name}" if self.label else name

    def qualify_code(self, code: CodeType) -> str:
        """The qualified name of a function, without the list comprehension that it may be made in:
        some versions of Python make a function of that, some do not."""
        return self.qualify(_COMPREHENSION.sub("", code.co_qualname))

    @staticmethod
    def of_spec(spec: ModuleSpec) -> Namespace:
        """The namespace of a module that may not be imported yet, without its names."""
        file = spec.origin if spec.has_location else None
        places = list(spec.submodule_search_locations or ())
        return _namespace({"__name__": spec.name, "__file__": file, "__path__": places})

    @property
    def folder(self) -> str | None:
        return os.path.dirname(os.path.abspath(self.file)) if self.file else None


def namespace_of_function(function: FunctionType) -> Namespace:
    return _namespace(function.__globals__)


def namespace_of_module(module: ModuleType) -> Namespace:
    return _namespace(vars(module))


def namespace_of_class(kind: type[Any]) -> Namespace:
    module = sys.modules.get(kind.__module__)
    return _namespace(vars(module) if module is not None else {"__name__": kind.__module__})


def is_own_namespace(names: dict[str, Any]) -> bool:
    return _namespace(names).is_own


def public_name(module: str | None, name: str) -> str:
    """The qualified name of something installed, without the private modules that it moves
    between from version to version. What batten gives is named as users import it."""
    first, *others = (module or "builtins").split(".")
    if first == _PACKAGE and name.partition(".")[0] in sys.modules[_PACKAGE].__all__:
        return f"{first}.{name}"
    kept = [first, *(each for each in others if not each.startswith("_"))]
    return ".".join([*kept, name]) if kept != ["builtins"] else name


def _namespace(names: dict[str, Any]) -> Namespace:
    name = names.get("__name__")
    name = name if isinstance(name, str) else ""
    file = names.get("__file__")
    file = file if isinstance(file, str) else None
    label = PurePath(file).stem if name in _MAIN and file else name
    return Namespace(label=label, names=names, file=file, is_own=_is_own(name, file, names))


def _is_own(name: str, file: str | None, names: dict[str, Any]) -> bool:
    if file is None:
        file = next(iter(names.get("__path__") or ()), None)
    if file is None:
        return name.partition(".")[0] not in sys.stdlib_module_names
    return _is_own_file(file)


@lru_cache(maxsize=1024)
def _is_own_file(file: str) -> bool:
    if file.startswith((_STANDARD_LIBRARY + os.sep, _BATTEN + os.sep)):
        return False
    if any(f"{os.sep}{folder}{os.sep}" in file for folder in _INSTALLED_FOLDERS):
        return False
    real = os.path.realpath(file)
    return not any(
        os.path.commonpath([real, folder]) == folder for folder in (_STANDARD_LIBRARY, _BATTEN)
    )
