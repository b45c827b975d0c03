"""Which modules a command imports, by the files that it and all that it starts open."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import all_suffixes
from pathlib import Path

from batten.crashlab.tracing.laboratory import Traced, run_traced
from batten.crashlab.tracing.starting import Template
from batten.crashlab.tracing.system_calls import CallKind

_COMPILED = "__pycache__"
_PACKAGE = "__init__"


def watch_imports(
    command: Sequence[str],
    working_folder: Path,
    environment: Mapping[str, str] | None,
    timeout_seconds: float,
    template: Template | None = None,
) -> tuple[Traced, list[str]]:
    """How the command ended, and the names of what it found on this Python's path, in the order in
    which it is opened; of a fork, what its template has not imported.

    Some may be no modules: a library may lie among them. A program, `__main__`, is left out.
    """
    folders = [Path(entry) for entry in map(os.path.realpath, sys.path) if os.path.isdir(entry)]
    run = run_traced(
        command,
        folders=[*folders, *(Path(entry) for entry in sys.path if os.path.isdir(entry))],
        kinds=frozenset({CallKind.OPEN_TO_READ}),
        environment=environment,
        working_folder=working_folder,
        timeout_seconds=timeout_seconds,
        template=template,
    )
    paths = dict.fromkeys(os.path.realpath(call.path) for call in run.calls)
    names = (_name_of(Path(path), folders) for path in paths)
    return run, list(dict.fromkeys(name for name in names if name is not None))


def _name_of(path: Path, folders: Sequence[Path]) -> str | None:
    suffix = next((each for each in all_suffixes() if path.name.endswith(each)), None)
    containing = [folder for folder in folders if path.is_relative_to(folder)]
    if suffix is None or not containing:
        return None
    nearest = max(containing, key=lambda folder: len(folder.parts))
    *packages, _ = path.relative_to(nearest).parts
    module = path.name.split(".")[0]
    parts = [each for each in packages if each != _COMPILED]
    if module != _PACKAGE:
        parts.append(module)
    return (
        ".".join(parts)
        if parts and parts[-1] != "__main__" and all(map(str.isidentifier, parts))
        else None
    )
