"""What a path is that names no output (decision 0040).

It may be a slip of the finger, a run that has not been, something within an output, a job file, or
a cache. It looks at what lies around the path, and only reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from batten.errors import StorageError
from batten.inspect.advising.again import Again, choose_again, find_path
from batten.inspect.diagnosis import Diagnosis
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.locating import find_layout
from batten.model.cached.cache_names import CacheLayout
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Config, Unreadable, decode_record
from batten.model.disk.runs.job_calls import BATTEN, JobCall
from batten.model.patterns import pattern
from batten.model.rules.findings import Code
from batten.model.telling.commands import as_path, command
from batten.model.value_class import value_class
from batten.model.words import Action, State
from batten.storage.base import Store
from batten.storage.local.folder import LocalStorage

_FOREIGN = frozenset({Code.NOT_A_FOLDER, Code.NOT_BATTENS})
_NEAR_MAX = 3
_FOLDERS_MAX = 100
_OUTPUTS_MAX = 5
_DIGITS = pattern(r"\d+")


@value_class
class Known:
    """What the path is, and the command for it."""

    is_what: str
    next: str


def explain_path(place: Place, found: Diagnosis, *, is_brief: bool) -> Diagnosis:
    """The same diagnosis of what is no output, with what the path likely is and the right command.
    `is_brief`: it is one of many that are expected, whose names are right."""
    codes = {finding.code for finding in found.findings}
    is_foreign = found.state is State.UNKNOWN and bool(codes & _FOREIGN)
    if (found.state is not State.NEW and not is_foreign) or place.storage.local is None:
        return found
    if known := _recognise(place, is_there=is_foreign):
        return replace(found, action=Action.LOOK, next=known.next, reason=known.is_what)
    if found.state is not State.NEW:
        return found
    near = [] if is_brief else _list_near(place)
    if again := _find_neighbour(place, near):
        hint = f"{again[0]} was made by another run of the same job; next has what differs put in"
        return replace(found, next=again[1].told, hints=(*found.hints, hint))
    if not near:
        return found if is_brief else _tell_folder(place, found)
    paths = [place.folder + name for name in near]
    return replace(
        found,
        action=Action.LOOK,
        next=f"look at the name; near it is: {command('diagnose', as_path(paths[0]))}",
        hints=(*found.hints, f"outputs with a name like it: {', '.join(paths)}"),
    )


def _tell_folder(place: Place, found: Diagnosis) -> Diagnosis:
    """That the folder of the path is not there; it may be a slip of the finger."""
    folder = os.path.dirname(find_path(place))
    if os.path.isdir(folder):
        return found
    rest = [os.path.basename(find_path(place))]
    while not os.path.isdir(os.path.dirname(folder)):
        folder, last = os.path.split(folder)
        rest.insert(0, last)
    above, missing = os.path.split(folder)
    near = [
        path
        for name in _list_like(above, missing)
        if os.path.isdir((path := os.path.join(above, name, *rest)) + CONTROL_SUFFIX)
    ]
    reason = f"{found.reason}; the folder {_show(folder)} is not there either"
    if near:
        shown = [as_path(_show(path)) for path in near]
        return replace(
            found,
            action=Action.LOOK,
            reason=reason,
            next=f"look at the name; near it is: {command('diagnose', shown[0])}",
            hints=(*found.hints, f"outputs with a name like it: {', '.join(shown)}"),
        )
    told = f"look at the path; if it is right, run its job: {found.next}"
    return replace(found, action=Action.LOOK, reason=reason, next=told)


def _list_like(folder: str, name: str) -> list[str]:
    """The folders in it with a name like that one."""
    from difflib import get_close_matches

    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.is_dir()]
    except OSError:
        return []
    return get_close_matches(name, names, n=_NEAR_MAX)


def _recognise(place: Place, *, is_there: bool) -> Known | None:
    path = find_path(place)
    shown = as_path(place.path)
    for output in _list_holders(path):
        above = os.path.relpath(output)
        above = output if above.startswith("../..") else above
        what = f"it lies within the output {above}"
        return Known(is_what=what, next=command("diagnose", as_path(above)))
    if not is_there:
        file, colon, name = path.rpartition(":")
        is_job = bool(colon) and name.isidentifier() and file.endswith(".py")
        return _describe_job(file, name, shown) if is_job and os.path.isfile(file) else None
    if os.path.isdir(CacheLayout(path).home):
        return Known(is_what="it is a cache", next=command("cache", "show", shown))
    if path.endswith(".py") and os.path.isfile(path):
        return _describe_job(path, "", shown)
    inner = _list_outputs(path)[0] if os.path.isdir(path) else ()
    if inner:
        what = f"it is a folder with outputs in it, {len(inner)} of them"
        return Known(is_what=what, next=command("diagnose", os.path.join(shown, "*")))
    return None


def _describe_job(file: str, name: str, shown: str) -> Known:
    """A job file, or a pipeline in one: its outputs are asked for, where they are near it."""
    outputs = [_show(path) for path in _list_made_by(file, name)]
    if not outputs:
        look = command("run", shown, "--dry-run")
        return Known(
            is_what="it is a program, and no output",
            next=f"name the output that it writes; what it would do, if it is a job: {look}",
        )
    return Known(
        is_what="it is a job, and no output",
        next=command("diagnose", *map(as_path, outputs[:_OUTPUTS_MAX])),
    )


def _list_made_by(file: str, name: str) -> Iterator[str]:
    """The outputs of the job in its own folder and in those right below it, by their records.
    Copies of them are left out."""
    folder = os.path.dirname(file)
    try:
        with os.scandir(folder) as entries:
            below = sorted(each.path for each in entries if each.is_dir(follow_symlinks=False))
    except OSError:
        below = []
    for place in (folder, *below[:_FOLDERS_MAX]):
        if not place.endswith(CONTROL_SUFFIX):
            for output in _list_outputs(place)[0]:
                call = _read_call(LocalStorage(place), output)
                path = os.path.join(place, output)
                is_named = call is not None and (not name or call.name in ("", name))
                if call is not None and call.file == file and is_named and call.output == path:
                    yield path


def _show(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("../..") else relative


def _list_holders(path: str) -> Iterator[str]:
    """The outputs that the path lies in, or in whose control folder it lies, innermost first."""
    folder = os.path.dirname(path)
    while folder != os.path.dirname(folder):
        if os.path.isfile(f"{folder}{CONTROL_SUFFIX}/dataset.json"):
            yield folder
        elif folder.endswith(CONTROL_SUFFIX) and os.path.isfile(f"{folder}/dataset.json"):
            yield folder.removesuffix(CONTROL_SUFFIX)
        folder = os.path.dirname(folder)


def _list_near(place: Place) -> list[str]:
    from difflib import get_close_matches

    names, _ = _list_outputs(place.storage.place)
    return get_close_matches(os.path.basename(place.path.rstrip("/")), names, n=_NEAR_MAX)


def _list_outputs(folder: str) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """The outputs in a folder by name, and by how a name looks with its digits left out."""
    try:
        return _list_outputs_at(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return (), {}


@lru_cache(maxsize=8)
def _list_outputs_at(folder: str, _: int) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    with os.scandir(folder) as entries:
        ends = (each.name for each in entries if each.name.endswith(CONTROL_SUFFIX))
        names = tuple(sorted(name.removesuffix(CONTROL_SUFFIX) for name in ends))
    shapes: dict[str, list[str]] = {}
    for name in names:
        if name:
            shapes.setdefault(_shape(name), []).append(name)
    return tuple(filter(None, names)), shapes


def _shape(text: str) -> str:
    return _DIGITS.sub(lambda found: "0" * len(found[0]), text)


def _find_neighbour(place: Place, near: list[str]) -> tuple[str, Again] | None:
    """The output of another run of the job that would write here, and how to run it for this one:
    its name is the same but for the value of a parameter."""
    name = os.path.basename(place.path.rstrip("/"))
    _, shapes = _list_outputs(place.storage.place)
    before = [each for each in shapes.get(_shape(name), ()) if each != name]
    before.sort(key=lambda each: (each < name, each), reverse=True)
    for other in dict.fromkeys([*before[:_NEAR_MAX], *near]):
        call = _find_call(place, other, name)
        if call is not None:
            return place.folder + other, choose_again(call, find_path(place))
    return None


def _find_call(place: Place, other: str, name: str) -> JobCall | None:
    """The call that made the other, with the one value changed in which the names differ."""
    config = _read_config(place.storage, other)
    call = config.call if config is not None else None
    if config is None or call is None or call.kind != BATTEN:
        return None
    if os.path.basename(call.output) != other:
        return None
    for parameter, value in config.parameters.items():
        before, found, after = other.partition(value)
        middle = name[len(before) : len(name) - len(after)]
        is_same = bool(value and found) and name == before + middle + after
        is_like = _shape(middle) == _shape(value)
        if not _DIGITS.search(value):
            is_like = middle.replace("-", "_").isidentifier()
        if is_same and is_like:
            given = {**call.parameters, parameter: middle}
            output = f"{os.path.dirname(call.output)}/{name}"
            return replace(call, parameters=given, output=output)
    return None


def _read_call(storage: LocalStorage, output: str) -> JobCall | None:
    """How the job of an output was started, if that can be read."""
    config = _read_config(storage, output)
    return config.call if config is not None else None


def _read_config(storage: Store, output: str) -> Config | None:
    try:
        return decode_record(Config, storage.read(find_layout(storage, output).config))
    except (OSError, StorageError, Unreadable):
        return None
