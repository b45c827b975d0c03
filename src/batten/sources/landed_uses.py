"""Which outputs are made of what was landed: noted beside it, before it is read for the first time.

So files that an output still needs are not deleted (decision 0144).
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from batten.errors import CorruptError, MisplacedError, StorageError
from batten.model.disk.bounds import build
from batten.model.disk.landed import NOTE_BYTES_MAX, READERS, LandedUse
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.json_text import parse_json
from batten.storage.failures import tell_reason
from batten.storage.local.folder import LocalStorage
from batten.storage.local.stand_alone import publish_file
from batten.storage.local.there import is_folder

_SUFFIX = ".json"


def find_uses_folder(landed: Path) -> Path:
    """Where the notes of a folder of landed files lie, by whatever links it is reached."""
    real = _find_real(landed)
    return real.with_name(real.name + CONTROL_SUFFIX) / READERS


def find_use(landed: Path, use: LandedUse) -> Path:
    """The note of a use."""
    told = _shorten(landed, use.output) + "\0" + use.prefix
    name = sha256(told.encode(errors="surrogateescape")).hexdigest()[:32] + _SUFFIX
    return find_uses_folder(landed) / name


def note_use(landed: Path, use: LandedUse) -> None:
    """Durable on return. What was only copied here has no control folder, and nobody deletes it."""
    note = find_use(landed, use)
    control = note.parent.parent
    if not is_folder(control):
        return
    storage = LocalStorage(control.parent)
    is_noted_so = use in list_uses(landed)
    try:
        storage.ensure_folder(f"{control.name}/{READERS}")
        # Else a note that is durable would go with its folder, and others would delete what it
        # keeps.
        storage.sync_names(control.name)
        if is_noted_so:
            # Whoever wrote it may have been killed before its name was durable.
            storage.sync_names(f"{control.name}/{READERS}")
            return
        told = replace(use, output=_shorten(landed, use.output))
        with publish_file(note, "wb") as file:
            file.write(json.dumps(vars(told)).encode())
    except MisplacedError:
        raise
    except StorageError as error:
        raise StorageError(
            f"It can't be noted beside {landed} that {use.output} is made of it: "
            f"{tell_reason(error)}.",
            safe="Nothing was planned or computed. Without the note, who cleans up there could "
            "delete what this output needs.",
            next=f"Let this user write to {note.parent}; then run the same command again.",
            errno=error.errno,
        ) from error


def is_noted(landed: Path, use: LandedUse) -> bool:
    """Raises `CorruptError` for a note that can't be read."""
    note = find_use(landed, use)
    return any(
        find_use(landed, each) == note and each.dataset in ("", use.dataset)
        for each in list_uses(landed)
    )


def is_read_by(landed: Path, use: LandedUse) -> bool:
    """Whether its dataset is noted, be it that the landing or the output was moved since. Raises
    `CorruptError` for a note that can't be read."""
    is_known = any(each.dataset == use.dataset for each in list_uses(landed))
    return is_known or is_noted(landed, use)


def list_uses(landed: Path) -> list[LandedUse]:
    """Raises `CorruptError` for a note that can't be read."""
    real = _find_real(landed)
    storage, folder = LocalStorage(real.parent), f"{real.name}{CONTROL_SUFFIX}/{READERS}"
    names = sorted(name for name in storage.list_names(folder) if not name.startswith("."))
    return [_read(landed, storage, f"{folder}/{name}") for name in names]


def _read(landed: Path, storage: LocalStorage, note: str) -> LandedUse:
    try:
        told: LandedUse = build(LandedUse, parse_json(storage.read(note, bytes_max=NOTE_BYTES_MAX)))
    except (OSError, StorageError, ValueError) as error:
        raise CorruptError(
            f"{storage.place}/{note} can't be read: {tell_reason(error)}.",
            safe="Nothing was changed.",
            next="Restore it from a copy; or delete it, and run every job that reads what is "
            "landed there: each notes itself again.",
        ) from error
    return replace(told, output=_lengthen(landed, told.output))


def _shorten(landed: Path, output: str) -> str:
    """Relative, so that both may be moved together; an address as it is. Links lead elsewhere from
    elsewhere, so none is left in it, but for the output's own name: its records lie beside that."""
    if "://" in output:
        return output
    holder, name = os.path.split(output)
    real = os.path.join(os.path.realpath(holder), name)
    return os.path.relpath(real, _find_real(landed).parent)


def _lengthen(landed: Path, output: str) -> str:
    return output if "://" in output else os.path.normpath(_find_real(landed).parent / output)


def _find_real(landed: Path) -> Path:
    return Path(os.path.realpath(landed))
