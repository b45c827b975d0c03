"""The log of a run: what it did, for hints and for people. Nothing relies on it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from batten.fingerprint.secret import blot
from batten.model.disk.names import Layout
from batten.model.telling.hiding import hide_words, redact
from batten.run.clock import utc_now
from batten.storage.base import Store
from batten.storage.changing.publishing import append_line
from batten.storage.local.locking.locks import current_holder
from batten.storage.machine import Machine


class RunLogWriter:
    """Appends lines to `runs/<run>.jsonl`."""

    def __init__(self, storage: Store, layout: Layout, run: str) -> None:
        self._storage = storage
        self._name = layout.run_log(run)

    def start(self, **details: Any) -> None:
        holder = asdict(current_holder())
        for name in ("since", "memory_group", "memory_kills"):
            holder.pop(name)
        kills = asdict(Machine().count_memory_kills())
        self.write(
            "start",
            **holder,
            memory_kills=kills,
            python=sys.version.split()[0],
            argv=hide_words(sys.argv),
            **details,
        )

    def write(self, event: str, **details: Any) -> None:
        line = json.dumps(_without_secrets({"event": event, "time": utc_now(), **details}))
        append_line(self._storage, self._name, line.encode(errors="backslashreplace") + b"\n")


def _without_secrets(value: Any) -> Any:
    """Text by text: what is taken out of a line of JSON could end a text in its middle."""
    if isinstance(value, dict):
        told = {str(key): _without_secrets(each) for key, each in value.items()}
        if isinstance(error := told.get("error"), str):
            told["error"] = redact(error)
        return told
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return blot(str(value))
