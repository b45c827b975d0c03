"""What an older batten kept in clear and this one would not: found, not shown, and taken out."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import Any

from batten.model.disk.names import Layout
from batten.model.disk.records import Config, Unreadable, decode_record, encode_record
from batten.model.json_text import find_object
from batten.model.patterns import pattern
from batten.model.telling.hiding import (
    HIDDEN_PREFIX,
    PLACEHOLDER,
    hide,
    hide_words,
    is_secret_part,
    redact,
)
from batten.storage.base import Folder
from batten.storage.changing.publishing import replace as replace_file

_DIFFERENCE = pattern(
    r"((?:constant|parameter|captured value of|default of|value of) [^;→]+?): ([^→]*?) → "
    r"(.*?)(?=; [a-z]|\.$|\. [A-Z]|$)"
)
"""How a refusal tells a part that is another: its name, the old value, the new one."""


def conceal_config(config: Config) -> Config:
    """The record as it may be shown: its parameters and its command without secrets."""
    parameters = {
        name: PLACEHOLDER
        if text.startswith(HIDDEN_PREFIX) or is_secret_part(f"parameter {name}", text)
        else text
        for name, text in config.parameters.items()
    }
    return replace(config, parameters=parameters, next=conceal_command(config.next))


def find_clear(config: Config) -> list[str]:
    """The parts of the fingerprint that hold in clear what looks like a secret."""
    return [name for name, text in config.fingerprint.parts.items() if is_secret_part(name, text)]


def conceal_command(text: str) -> str:
    """A command line without what looks like a secret."""
    try:
        words = shlex.split(text)
    except ValueError:
        return redact(text)
    hidden = hide_words(words)
    return text if hidden == words else shlex.join(hidden)


def conceal_event(event: dict[str, Any]) -> dict[str, Any]:
    """A line of a run's log as it may be shown."""
    told = dict(event)
    if isinstance(command := told.get("command"), str):
        told["command"] = conceal_command(command)
    if isinstance(argv := told.get("argv"), list) and all(isinstance(each, str) for each in argv):
        told["argv"] = hide_words(argv)
    if isinstance(error := told.get("error"), str):
        told["error"] = redact(_DIFFERENCE.sub(_conceal_difference, error))
    return told


def _conceal_difference(found: re.Match[str]) -> str:
    name, before, after = found.groups()
    is_told = not (is_secret_part(name, before) or is_secret_part(name, after))
    return found[0] if is_told else f"{name} changed"


def take_out_of_fresh(storage: Folder, layout: Layout) -> None:
    """The same for what a fresh run began, where there is such."""
    fresh = layout.fresh
    try:
        config = decode_record(Config, storage.read(fresh.config))
    except (FileNotFoundError, Unreadable):
        return
    if find_clear(config):
        storage.ensure_folder(fresh.staging)
        take_out(storage, fresh, config)


def take_out(storage: Folder, layout: Layout, config: Config) -> None:
    """Write anew what holds secrets in clear: the logs of runs, then the record that told of it, so
    that a killed one is repeated. What the record says is the same, its digest too."""
    start = len(layout.runs) + 1
    names = [entry.name for entry in storage.list(layout.runs) if not entry.is_folder]
    for name in names:
        if name[start:].endswith(".jsonl"):
            _take_out_of_log(storage, layout, name)
    parts = config.fingerprint.parts
    hidden = {name: hide(name, parts[name]) for name in find_clear(config)}
    fingerprint = replace(config.fingerprint, parts={**parts, **hidden})
    kept = replace(conceal_config(config), fingerprint=fingerprint)
    replace_file(storage, layout.staging, layout.config, encode_record(kept))


def _take_out_of_log(storage: Folder, layout: Layout, name: str) -> None:
    data = storage.read(name)
    lines = [_take_out_of_line(line) for line in data.splitlines(keepends=True)]
    if (without := b"".join(lines)) != data:
        replace_file(storage, layout.staging, name, without)


def _take_out_of_line(line: bytes) -> bytes:
    event = find_object(line)
    if event is None or (told := conceal_event(event)) == event:
        return line
    return json.dumps(told).encode() + b"\n"
