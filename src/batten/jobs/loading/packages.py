"""Job files that are modules of a package: how they are named, found, and import their siblings.

A job file is the same job by its path and by its module's name: what is recorded is the path.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

from batten.model.value_class import value_class
from batten.storage.local.there import is_file

_RELATIVE = re.compile(rb"^[ \t]*from[ \t]+\.", re.MULTILINE)


@value_class
class PackagePlace:
    """Of a file in a package: the `name` of its module, and the folder `root` from which Python
    finds that."""

    name: str
    root: str


def find_package(path: Path) -> PackagePlace | None:
    """None if the file's folder is no package."""
    names, folder = [path.stem], path.parent
    while is_file(folder / "__init__.py") and folder.name.isidentifier():
        names.append(folder.name)
        folder = folder.parent
    if len(names) == 1:
        return None
    return PackagePlace(name=".".join(reversed(names)), root=str(folder))


def find_module_file(name: str) -> Path | None:
    """The file of `package.job`: below the current folder, or where Python finds the package. It is
    not imported for that."""
    first, *rest = name.split(".")
    if not rest or not all(each.isidentifier() for each in (first, *rest)):
        return None
    places = [Path(first)]
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        spec = None
    if spec is not None:
        places += map(Path, spec.submodule_search_locations or ())
    files = (place.joinpath(*rest).with_suffix(".py") for place in places)
    return next((file for file in files if is_file(file)), None)


def imports_siblings(text: bytes) -> bool:
    """Whether the text of a module imports relative to its package."""
    if _RELATIVE.search(text) is None:
        return False
    tree = ast.walk(ast.parse(text))
    return any(isinstance(node, ast.ImportFrom) and node.level for node in tree)
