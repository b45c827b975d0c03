"""How to run the job of an output again.

That is the command, for the current folder, or in words why there is none. An output that is not
where its job writes is noticed here.
"""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import suppress
from dataclasses import replace

from batten.errors import StorageError
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Config, Unreadable, decode_record
from batten.model.disk.runs.job_calls import (
    BATTEN,
    JOB_BYTES_MAX,
    MODULE,
    SCRIPT,
    WITHHELD,
    JobCall,
    compose,
)
from batten.model.telling.commands import (
    as_path,
    command,
    join_words,
    name_arguments,
    quote,
)
from batten.model.value_class import value_class
from batten.storage.digests import find_digest_of_path
from batten.storage.local.there import current_folder

UNKNOWN_JOB = "batten run JOB.py, the job that writes here"


@value_class
class Again:
    """`line` is the command, empty if none is right here; `words` say what to do then. `warning`
    is what to know before the command is run. `elsewhere` is where the job writes, if that is
    another place than the one that was looked at. `call` is what the command is made of."""

    line: str = ""
    words: str = ""
    warning: str = ""
    elsewhere: str = ""
    call: JobCall | None = None

    @property
    def told(self) -> str:
        """What to do next."""
        return self.line or self.words


def find_again(place: Place, observation: Observation, *more: str) -> Again:
    """How to run the job that wrote here; `more` are options for `batten run`."""
    config = observation.config or find_begun(place, observation)
    if config is None:
        return Again(words=UNKNOWN_JOB)
    return choose_again(config.call, find_path(place), *more)


def find_begun(place: Place, observation: Observation) -> Config | None:
    """The record of a dataset that was begun beside its place, and is not in it yet."""
    try:
        data = place.storage.read(observation.layout.fresh.config)
        return decode_record(Config, data)
    except (OSError, StorageError, Unreadable):
        return None


def choose_again(call: JobCall, place: str, *more: str) -> Again:
    """How to run the job of an output at `place`, an absolute path without links."""
    if call.output and not _is_same(call.output, place):
        moved = _follow(call, place)
        if moved is None:
            return _tell_elsewhere(call, place)
        call = moved
    if call.kind == BATTEN and not call.folder and not os.path.isabs(call.file):
        asked = command("run", as_path(call.file))
        return Again(
            words=f"the job that writes here; it was started as {asked}, in a folder that is not "
            "recorded"
        )
    if more and call.kind != BATTEN:
        return Again(words=f"run the job from Python with {name_arguments(more)}")
    python = "" if call.kind == BATTEN else _name_python()
    line = compose(call, here=current_folder(), python=python, more=more)
    if call.kind in (BATTEN, SCRIPT) and not os.path.isfile(call.file):
        back = f"bring back {call.file}, which is not there"
        return Again(words=f"{back}; then: {line}" if line else back)
    if not line:
        return Again(words=_tell_unknown_caller(call))
    missing = call.folder if call.folder and not os.path.isdir(call.folder) else ""
    if missing:
        call = replace(call, folder="")
        line = compose(call, here="", python=python, more=more)
    if call.withheld:
        names = ", ".join(call.withheld)
        return Again(words=f"{line}, with the value of {names} in the place of {WITHHELD}")
    return Again(line=line, warning=_tell_owner(call), call=call)


def find_path(place: Place) -> str:
    """Where the output is, absolute and without links; or its address."""
    name = os.path.basename(place.path.rstrip("/"))
    if place.storage.local is None:
        return f"{place.storage.place}/{name}"
    return f"{os.path.realpath(place.storage.place)}/{name}"


def _is_same(there: str, here: str) -> bool:
    """Whether two names are of one place; a filesystem may be mounted twice."""
    if there == here:
        return True
    with suppress(OSError):
        return os.path.samefile(there + CONTROL_SUFFIX, here + CONTROL_SUFFIX)
    return False


def _follow(call: JobCall, place: str) -> JobCall | None:
    """The call of the same job file where output and job were moved or copied together. The same
    name is not enough, it must be the same file; and it must name its output relative to itself."""
    if call.kind != BATTEN or not call.is_relative or not call.digest:
        return None
    file = os.path.normpath(os.path.join(place, os.path.relpath(call.file, call.output)))
    to_output = os.path.relpath(place, os.path.dirname(file))
    if to_output != os.path.relpath(call.output, os.path.dirname(call.file)):
        return None
    if find_digest_of_path(file, bytes_max=JOB_BYTES_MAX) != call.digest:
        return None
    folder = os.path.normpath(os.path.join(place, os.path.relpath(call.folder, call.output)))
    is_there = bool(call.folder) and os.path.isdir(folder)
    folder = folder if is_there else os.path.dirname(file)
    return replace(call, file=file, folder=folder, output=place)


def _tell_elsewhere(call: JobCall, place: str) -> Again:
    """Of a copy, or of what was moved or renamed without its job."""
    there = call.output
    if os.path.lexists(there + CONTROL_SUFFIX):
        words = f"this is a copy: the job writes to {there}; see: {command('diagnose', there)}"
    else:
        words = f"move it back to {there}, with {os.path.basename(there)}{CONTROL_SUFFIX}: "
        words += _name_moves(place, there) or f"first move away what lies at {there}"
    return Again(words=words, elsewhere=there)


def _name_moves(place: str, there: str) -> str:
    """The command that moves an output, which nothing is in the way of; else empty."""
    if os.path.lexists(there):
        return ""
    ends = [end for end in ("", CONTROL_SUFFIX) if os.path.lexists(place + end)]
    return " && ".join(
        join_words("mv", as_path(_show(place + end)), as_path(_show(there + end))) for end in ends
    )


def _show(path: str) -> str:
    """The path as one would name it from the folder of now."""
    folder = current_folder()
    relative = os.path.relpath(path, folder) if folder else path
    return path if relative.startswith("../..") else relative


def _tell_unknown_caller(call: JobCall) -> str:
    where = f" in {call.folder}" if call.folder else ""
    if call.kind == SCRIPT:
        return f"run {quote(call.file)}{where} with the arguments that it was given"
    if call.kind == MODULE:
        return f"run python -m {call.module}{where} with the arguments that it was given"
    return f"run the pipeline again, from the notebook or program that ran it{where}"


def _tell_owner(call: JobCall) -> str:
    """A person should read somebody else's code before it is run."""
    if call.kind not in (BATTEN, SCRIPT):
        return ""
    try:
        owner = os.stat(call.file).st_uid
    except OSError:
        return ""
    if owner in (0, os.getuid()):
        return ""
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    return f"{call.file} belongs to user {name}: read it before you run it"


def _name_python() -> str:
    """The interpreter that runs batten, by its name where the shell would find it."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found = os.path.join(folder, "python")
        if os.access(found, os.X_OK):
            is_ours = os.path.abspath(folder) == os.path.dirname(sys.executable)
            return "python" if is_ours else sys.executable
    return sys.executable
