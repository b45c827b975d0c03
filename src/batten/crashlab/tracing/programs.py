"""A command of this Python, and how a process that is a Python already becomes its program."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
from collections.abc import Sequence

from batten.model.value_class import value_class
from batten.storage.changing import faults, steps


@value_class
class Program:
    """What `python -m name` or `python name` runs, with the arguments that follow."""

    name: str
    is_module: bool
    arguments: tuple[str, ...]

    def run(self) -> None:
        """Be the program; to be called at the bottom of the stack, so that the process then ends
        as every Python does."""
        sys.argv[:] = [self.name, *self.arguments]
        # Modules may have been imported with other variables than these.
        steps.observer = faults.find_observer(os.environ)
        if not sys.flags.safe_path:
            folder = os.getcwd() if self.is_module else os.path.dirname(os.path.realpath(self.name))
            sys.path[0] = folder
        if self.is_module:
            runpy.run_module(self.name, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(self.name, run_name="__main__")


class ProgramBegins(BaseException):
    """Takes a forked process from wherever it was forked to the bottom of its stack."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.program = program


def find_program(command: Sequence[str]) -> Program | None:
    """The program of this Python that the command runs, or None: another Python, one that is
    given options, or no Python at all."""
    match command:
        case [sys.executable, "-m", name, *arguments]:
            return Program(name=name, is_module=True, arguments=tuple(arguments))
        case [sys.executable, name, *arguments] if not name.startswith("-"):
            return Program(name=name, is_module=False, arguments=tuple(arguments))
        case [name, *arguments] if path := _find_script(name):
            return Program(name=path, is_module=False, arguments=tuple(arguments))
    return None


def _find_script(name: str) -> str | None:
    """The path of a script that was installed with this Python, beside it."""
    path = shutil.which(name)
    if path is None or os.path.dirname(path) != os.path.dirname(sys.executable):
        return None
    with open(path, "rb") as file:
        is_script = file.readline().startswith(b"#!")
    return path if is_script else None
