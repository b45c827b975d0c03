"""The source of an output, made again of what is recorded of it: no code of the job is run.

It can be had where the record says all: files that a pattern names, records in a file, rows of a
dataset. What the job's own code gives can't be looked at without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from batten.chain.source import DatasetSource
from batten.errors import UsageError
from batten.inspect.advising.again import find_path
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.model.disk.items.versions import GONE, UNKNOWN, VERSION_BYTES
from batten.model.disk.runs.job_calls import BATTEN
from batten.model.json_text import parse_json
from batten.plan.plan import Plan
from batten.sources.base import Source
from batten.sources.files.object_files import find_files_named
from batten.sources.identity.keys import unescape_key
from batten.sources.identity.versions import BY_CONTENT, BY_STAT
from batten.sources.landed import LandedSource
from batten.sources.records.csv import CsvSource
from batten.sources.records.jsonl import JsonLinesSource
from batten.sources.records.parquet import ParquetSource

_OPTIONS: dict[str, tuple[Callable[..., Source], tuple[str, ...]]] = {
    "files": (find_files_named, ()),
    "jsonl": (JsonLinesSource, ("key", "encoding")),
    "csv": (CsvSource, ("key", "encoding", "delimiter")),
    "parquet": (ParquetSource, ("key", "columns")),
    "dataset": (DatasetSource, ("key", "columns")),
    "landed": (LandedSource, ()),
}
"""By the first word of what a source says of itself: its class, and the options that it says."""


def find_source(place: Place, observation: Observation, plan: Plan) -> Source | None:
    """None where the record does not say all of it."""
    config = observation.config
    folder = _find_folder(place, observation)
    if config is None or folder is None:
        return None
    parts = config.fingerprint.parts
    kind, _, written = parts.get("source", "").partition(" ")
    if kind not in _OPTIONS or not written:
        return None
    make, names = _OPTIONS[kind]
    options: dict[str, Any] = {name: parts[name] for name in names if name in parts}
    try:
        if "columns" in options:
            options["columns"] = parse_json(options["columns"])
        if kind != "landed":
            is_keyed = kind in ("files", "dataset") or "key" in options
            options |= _find_watch(kind, plan, drops_gone=config.drops_gone) if is_keyed else {}
        source = make(unescape_key(written), folder=folder, **options)
        leave_out = getattr(source, "without", None)
        return source if leave_out is None else leave_out(_list_made(place, observation))
    except (ValueError, UsageError):
        return None


def _find_watch(kind: str, plan: Plan, *, drops_gone: bool) -> Mapping[str, str]:
    changed = _find_changed(plan) if kind == "files" else "content"
    return {"changed": changed, "removed": "drop" if drops_gone else "keep"}


def _find_changed(plan: Plan) -> str:
    """How versions of files were taken, by the first that is known."""
    for segment in plan.segments:
        kept = plan.versions(segment)
        versions = b"" if kept is None else kept.versions
        for at in range(0, len(versions), VERSION_BYTES):
            version = versions[at : at + VERSION_BYTES]
            if version not in (UNKNOWN, GONE):
                kinds = {BY_STAT: "stat", BY_CONTENT: "content"}
                return kinds.get(version[:1], "ignore")
    return "ignore"


def _find_folder(place: Place, observation: Observation) -> Path | None:
    """What paths of the job are relative to, also where job and output were moved together."""
    config = observation.config
    call = config.call if config is not None else None
    if call is None:
        return None
    folder = os.path.dirname(call.file) if call.kind == BATTEN else call.folder
    if not os.path.isabs(folder):
        return None
    here = find_path(place)
    if call.is_relative and call.output and call.output != here:
        folder = os.path.normpath(os.path.join(here, os.path.relpath(folder, call.output)))
    return Path(folder)


def _list_made(place: Place, observation: Observation) -> list[Path]:
    """What the job itself makes, of which its source takes in nothing (decision 0073)."""
    root = place.storage.place
    if place.storage.local is None:
        return []
    given = [
        Path(delivery.where.locate(root))
        for delivery in observation.deliveries
        if delivery.is_here and delivery.kind != "tree" and delivery.where.path
    ]
    return [Path(root, observation.layout.output), *given]
