"""Processes to fork commands from, kept for the next sweep and the next test.

    template = find_template(command, folder)            # runs it once, to see what it imports
    run_traced(command, folders=[...], template=template, working_folder=other)

    commands = ForkedCommands()
    commands.run(command, folder)                        # in the place of a new Python

A new Python takes a third of a second to import what a run needs, and some seconds where a library
is large. A fork of a process that has imported it takes none. What is imported depends on the
command and on the environment alone, not on what was asked for before.
"""

from __future__ import annotations

import atexit
import os
import pkgutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import batten
from batten.crashlab.imports import watch_imports
from batten.crashlab.tracing.laboratory import CommandEnd, is_tracing_possible, run_traced
from batten.crashlab.tracing.starting import Template

_KEPT_MAX = 4
_OF_ONE_TEST = "PYTEST_CURRENT_TEST"
_HASH_SEED = "PYTHONHASHSEED"
_NOT_USUAL = ("batten.crashlab", "batten.testing", "batten.sinks.lakes", "batten.__main__")
"""What proves batten, and adapters that stand on large libraries."""


_Key = tuple[frozenset[str], frozenset[tuple[str, str]]]

_kept: dict[_Key, Template] = {}
_keeping = threading.Lock()
_keeper = os.getpid()


def find_template(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 60.0,
) -> Template:
    """What the command is forked from from now on. It is run here once, and not disturbed."""
    usual = keep_template((), environment)
    _, names = watch_imports(command, folder, usual.environment, timeout_seconds, template=usual)
    return keep_template(names, environment)


def keep_template(
    names: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Template:
    """One that has imported batten, pyarrow, and what is named. Only the thread that asks first
    keeps it alive, so that should be the main one; one that is dead is made again."""
    given = dict(os.environ if environment is None else environment)
    given.pop(_OF_ONE_TEST, None)
    key = frozenset(names), frozenset(given.items())
    with _keeping:
        found = _kept.pop(key, None)
        if found is not None and not found.is_alive:
            found.close()
            found = None
        if found is None:
            while len(_kept) >= _KEPT_MAX:
                _kept.pop(next(iter(_kept))).close()
            found = Template([*_name_usual(), *names], given)
        _kept[key] = found
        return found


class ForkedCommands:
    """Commands that need much the same beside batten: the modules of these `names`."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = names

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        timeout_seconds: float = 300.0,
        hash_seed: int = 1,
        **variables: str,
    ) -> CommandEnd:
        """Run it in the folder to its end, with these variables beside those of this process.

        Sets have an order of their own for each `hash_seed`, as they have in each new Python. The
        command is executed where nothing can be forked, and where a variable speaks to Python."""
        is_for_python = any(name.startswith("PYTHON") for name in variables)
        if is_for_python or not is_tracing_possible():
            return execute(command, folder, timeout_seconds=timeout_seconds, **variables)
        template = keep_template(self._names, {**os.environ, _HASH_SEED: str(hash_seed)})
        environment = {**template.environment, **variables}
        # What the command itself starts has a seed of its own.
        del environment[_HASH_SEED]
        ended = run_traced(
            command,
            folders=[],
            kinds=frozenset(),
            environment=environment,
            working_folder=folder,
            timeout_seconds=timeout_seconds,
            template=template,
        )
        if ended.is_timed_out:
            raise subprocess.TimeoutExpired(command, timeout_seconds, ended.stdout, ended.stderr)
        return CommandEnd(returncode=ended.returncode, stdout=ended.stdout, stderr=ended.stderr)


def execute(
    command: Sequence[str], folder: Path, *, timeout_seconds: float = 300.0, **variables: str
) -> CommandEnd:
    """The same with a new Python."""
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout_seconds,
    )
    return CommandEnd(returncode=ended.returncode, stdout=ended.stdout, stderr=ended.stderr)


@cache
def _name_usual() -> list[str]:
    """All of batten that imports no optional library by itself."""
    modules = pkgutil.walk_packages(batten.__path__, "batten.")
    names = [module.name for module in modules if not module.name.startswith(_NOT_USUAL)]
    return [*names, "pyarrow.parquet"]


@atexit.register
def _close_all() -> None:
    if os.getpid() == _keeper:
        for template in _kept.values():
            template.close()
