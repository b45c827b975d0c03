"""What a pipeline is: the fingerprint of all that changes its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_origin

from batten.engine.pipeline import Pipeline
from batten.fingerprint.functions import combine, describe_function, merge_descriptions
from batten.model.fingerprints import TABLE_PREFIX
from batten.model.records import Fingerprint

LAYOUT_PARTS = ("schema",)
"""Parts of the fingerprint that change how rows are written but not what the functions make."""

ONE_PER_DATASET = ("key column", "schema")
"""Parts of the fingerprint that can't change within a dataset, accepted or not."""


_OF_SETTINGS = frozenset(
    {"source", "key", "delimiter", "columns", "batch size", "seed", "key column", "schema"}
)


def is_of_code(part: str) -> bool:
    """Whether the part of a fingerprint of that name is of the steps' functions, and neither of the
    source nor of parameters or settings."""
    return part not in _OF_SETTINGS and not part.startswith(("parameter ", TABLE_PREFIX))


def fingerprint_pipeline(
    pipeline: Pipeline, parameters: Mapping[str, str]
) -> tuple[Fingerprint, Fingerprint]:
    """The fingerprint, and that of the work alone, which staged chunks carry."""
    parts: dict[str, str] = dict(pipeline.source.identity)
    places: dict[str, str] = {}
    called = pipeline.steps if pipeline.whole is None else (pipeline.whole,)
    steps = [describe_function(step.function, version=step.version) for step in called]
    make_key = getattr(pipeline.source, "key", None)
    of_source = [describe_function(make_key)] if callable(make_key) else []
    for number, (step, described) in enumerate(zip(called, steps, strict=True), 1):
        units = "" if step.items is None else f" of {step.items} items"
        parts[f"step {number}"] = f"{step.kind} {described.name}{units}"
    if steps or of_source:
        merged = merge_descriptions([*of_source, *steps])
        parts.update(merged.parts)
        places.update(merged.places)
    for name, value in parameters.items():
        parts[f"parameter {name}"] = value
    settings = pipeline.settings
    if settings.batch_size is not None:
        parts["batch size"] = str(settings.batch_size)
    if settings.seed is not None:
        parts["seed"] = str(settings.seed)
    parts["key column"] = settings.key_column
    work = combine(parts, places)
    if settings.schema is not None:
        parts["schema"] = _describe_schema(settings.schema)
    return combine(parts, places), work


def _describe_schema(schema: object) -> str:
    if isinstance(schema, Mapping):
        return ", ".join(f"{name}: {_name_type(kind)}" for name, kind in schema.items())
    if not isinstance(schema, type):
        return str(schema)
    from batten.engine.python_types import find_fields

    return ", ".join(f"{name}: {_name_type(kind)}" for name, kind in find_fields(schema) or ())


def _name_type(kind: object) -> str:
    """Of a class that has fields: these, for it may come to have others under the same name."""
    if isinstance(kind, type) and get_origin(kind) is None:
        fields = _describe_schema(kind) if kind.__module__ != "builtins" else ""
        return f"{kind.__name__}({fields})" if fields else kind.__name__
    return str(kind)
