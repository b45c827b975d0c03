"""How a job was started, as checked fields, and the command that starts it again.

What a record says is never shown as a command by itself: it may come from anybody. The command is
put together from these fields, for the folder in which it is read.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from batten.model.disk.bounds import IN_PATHS, Many, MaybeHexadecimal, Name, Prose, Text
from batten.model.patterns import pattern
from batten.model.telling.commands import as_path, in_folder, join_words
from batten.model.telling.hiding import PLACEHOLDER
from batten.model.value_class import value_class

BATTEN, SCRIPT, MODULE, SESSION = "batten", "script", "module", "session"

JOB_BYTES_MAX = 1 << 24
"""No job file is larger, and what is larger is not read."""
"""Who called: `batten run`, a script of Python, a module (`python -m`), or a notebook, a shell or a
program that can't be started by a command that is known."""

_MaybePath = Annotated[str, Text(1 << 16, f"(/{IN_PATHS}*)?")]
OPTIONS: Mapping[str, re.Pattern[str]] = {
    "jobs": pattern(r"[0-9]{1,6}"),
    "memory-max": pattern(r"[0-9]{1,20}(\.[0-9]{1,9})?\s?[kmgt]?b?", re.IGNORECASE),
    "drain-seconds": pattern(r"[0-9]{1,9}(\.[0-9]{1,20})?(e-[0-9]{1,3})?"),
    "workers": pattern(r"fork|spawn"),
    "budget": pattern(r"[\w=.,+-]{1,1000}"),
}
"""The options of a run that its next one should have too, and the form of their values."""


@value_class
class JobCall:
    """How a job was started.

    `folder` is where, `file` the job file or the script, `module` the name of one. `name` is of the
    pipeline in the job file, empty if it need not be said. `digest` is the SHA-256 of the file.
    `output` is where the dataset was made, without links, empty if that is no folder. Paths are
    absolute. `is_relative`: the job file names its output relative to itself, so that both can be
    moved together. `parameters` and `options` are those that were given. `withheld` names
    parameters whose values are not kept; `has_arguments`: a script was given some, which are not
    kept either. `rows`, with their `rows_key` and perhaps a `done` file, are those of a hand-made
    job which `batten adopt` takes over into the `output`; they are named until it has ended.
    `asked_module` is what the file was asked for by, if that was the name of a module."""

    kind: Annotated[str, Text(16, f"{BATTEN}|{SCRIPT}|{MODULE}|{SESSION}")]
    folder: _MaybePath
    file: _MaybePath
    name: Name
    digest: MaybeHexadecimal
    output: _MaybePath
    is_relative: bool
    has_arguments: bool
    module: Name = ""
    parameters: Annotated[dict[str, Prose], Many(10_000)] = field(default_factory=dict)
    options: Annotated[dict[str, Name], Many(100)] = field(default_factory=dict)
    withheld: Annotated[list[Name], Many(10_000)] = field(default_factory=list)
    rows: Annotated[list[_MaybePath], Many(10_000)] = field(default_factory=list)
    rows_key: Name = ""
    done: _MaybePath = ""
    asked_module: Name = ""

    @property
    def is_adopting(self) -> bool:
        return bool(self.rows)

    def find_fault(self) -> str:
        """In which way its fields don't fit each other, or what no batten would have written."""
        if (self.kind in (BATTEN, SCRIPT)) is not bool(self.file):
            return "the file of the job's call is missing, or one too many"
        if (self.kind == MODULE) is not bool(self.module):
            return "the module of the job's call is missing, or one too many"
        modules = f"{self.module or '_'}.{self.asked_module or '_'}"
        names = [self.name or "_", *modules.split(".")]
        if not all(name.isidentifier() for name in names):
            return "the job's call has an odd name"
        for name, value in self.parameters.items():
            if not name.isidentifier() or "\0" in value:
                return f"the job's call has the odd parameter {name[:40]!r}"
        for name, value in self.options.items():
            if name not in OPTIONS or not OPTIONS[name].fullmatch(value):
                return f"the job's call has the odd option {name[:40]!r}"
        if not all(name.isidentifier() for name in self.withheld):
            return "the job's call withholds odd parameters"
        return ""


UNKNOWN_CALL = JobCall(
    kind=SESSION,
    folder="",
    file="",
    name="",
    digest="",
    output="",
    is_relative=False,
    has_arguments=False,
)
"""Where nothing is recorded."""


def read_old_command(text: str) -> JobCall:
    """The call that a record of batten 0.1 kept as a command: nothing is taken from it but
    `batten run FILE[:NAME] [--param NAME=VALUE]…`. The folder in which that held is not known."""
    try:
        words = shlex.split(text)
    except ValueError:
        return UNKNOWN_CALL
    if words[:2] != ["batten", "run"] or len(words) < 3 or words[2].startswith("-"):
        return UNKNOWN_CALL
    pairs = words[3:]
    given = [pair.partition("=") for pair in pairs[1::2]]
    if len(pairs) % 2 or any(word != "--param" for word in pairs[::2]):
        return UNKNOWN_CALL
    file, colon, name = words[2].rpartition(":")
    is_named = bool(colon) and name.isidentifier()
    path = file if is_named else words[2]
    call = JobCall(
        kind=BATTEN,
        folder="",
        file=path,
        name=name if is_named else "",
        digest="",
        output="",
        is_relative=False,
        has_arguments=False,
        parameters={name: value for name, _, value in given if value != PLACEHOLDER},
        withheld=[name for name, _, value in given if value == PLACEHOLDER],
    )
    return UNKNOWN_CALL if "\0" in path or call.find_fault() else call


def compose(call: JobCall, *, here: str, python: str = "python", more: tuple[str, ...] = ()) -> str:
    """The command that starts the job again, right in the folder `here`; empty if there is none.
    `more` are options for this run. Values that are not kept are left for the reader to fill in."""
    line = join_words(*list_words(call, python, more))
    is_here = not call.folder or call.folder == here
    return in_folder("" if is_here else call.folder, line) if line else ""


def list_words(call: JobCall, python: str = "python", more: tuple[str, ...] = ()) -> list[str]:
    """The same as words, which hold in the folder of the call; none if there is no command."""
    if call.kind == BATTEN:
        spec = _find_module(call) or as_path(_name_from(call.folder, call.file))
        spec = f"{spec}:{call.name}" if call.name else spec
        # Other options than those of the call are those of a run.
        is_adopting = call.is_adopting and not more
        words = ["batten", *(_adopt_into(call, spec) if is_adopting else ["run", spec])]
        for name, value in call.parameters.items():
            words += ["--param", f"{name}={value}"]
        for name in call.withheld:
            words += ["--param", f"{name}={WITHHELD}"]
        for name, value in () if is_adopting else call.options.items():
            words += [f"--{name}", value]
        return [*words, *more]
    if call.kind == SCRIPT and not call.has_arguments:
        return [python, call.file]
    if call.kind == MODULE and not call.has_arguments:
        return [python, "-m", call.module]
    return []


def _find_module(call: JobCall) -> str:
    """The name of the module that the job was asked for, where that still leads to its file."""
    beneath = call.asked_module.replace(".", "/")
    is_there = call.asked_module and call.file == posixpath.join(call.folder, f"{beneath}.py")
    return call.asked_module if is_there else ""


def _adopt_into(call: JobCall, job: str) -> list[str]:
    rows = [as_path(_name_from(call.folder, path)) for path in call.rows]
    done = ["--done", _name_from(call.folder, call.done)] if call.done else []
    into = ["--into", _name_from(call.folder, call.output)]
    return ["adopt", *rows, "--key", call.rows_key, *done, *into, "--job", job]


def _name_from(folder: str, file: str) -> str:
    """The file as one would name it from the folder."""
    relative = posixpath.relpath(file, folder) if folder and posixpath.isabs(file) else file
    return file if relative.startswith("../..") else relative


WITHHELD = "VALUE"
"""Stands in a command for what is not kept."""
