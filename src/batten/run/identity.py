"""What a pipeline is: the fingerprint of all that changes its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import get_origin

from batten.fingerprint.descriptions import combine, merge_descriptions
from batten.fingerprint.functions import describe_function
from batten.fingerprint.secret import Secret
from batten.jobs.definition import Definition
from batten.jobs.step import Step
from batten.model.disk.fingerprints import TABLE_PREFIX
from batten.model.disk.records import Fingerprint
from batten.model.telling.hiding import hide, is_secret_part, read_secret_name
from batten.model.value_class import value_class
from batten.sinks.capabilities import capabilities_of

LAYOUT_PARTS = ("schema",)
"""Parts of the fingerprint that change how rows are written but not what the functions make."""

ONE_PER_DATASET = ("key column", "schema")
"""Parts of the fingerprint that can't change within a dataset, accepted or not."""


_OF_SETTINGS = frozenset(
    {
        "source",
        "key",
        "delimiter",
        "encoding",
        "columns",
        "batch size",
        "seed",
        "key column",
        "schema",
        "files",
    }
)


def is_of_code(part: str) -> bool:
    """Whether the part of a fingerprint of that name is of the steps' functions, and neither of the
    source nor of parameters or settings."""
    return part not in _OF_SETTINGS and not part.startswith(("parameter ", TABLE_PREFIX))


@value_class
class Identity:
    """The fingerprint, and that of the work alone, which staged chunks carry. Both come again as
    batten 0.1 made them: they are compared with what it wrote, and never written. `secrets` names
    the environment variables that a run needs."""

    fingerprint: Fingerprint
    work: Fingerprint
    before: Fingerprint = field(repr=False)
    work_before: Fingerprint = field(repr=False)
    secrets: tuple[str, ...]

    def check_secrets(self) -> None:
        """Raises `UsageError` if the environment lacks one."""
        for name in self.secrets:
            Secret(name)()


def identify_pipeline(pipeline: Definition, parameters: Mapping[str, str]) -> Identity:
    """Raises `UsageError` if a function depends on what can't be compared."""
    called = pipeline.steps if pipeline.whole is None else (pipeline.whole,)
    steps = [describe_function(step.function, version=step.version) for step in called]
    make_key = getattr(pipeline.source, "key", None)
    of_source = [describe_function(make_key)] if callable(make_key) else []
    of_counts = [describe_function(step.tokens) for step in called if step.tokens is not None]
    merged = merge_descriptions([*of_source, *steps, *of_counts])
    begun = _describe_course(pipeline, called, [each.name for each in steps])
    rest = _describe_settings(pipeline, parameters)
    fingerprint, work = _combine(
        {**_hide_all(begun), **merged.parts, **_hide_all(rest)}, merged.places
    )
    before, work_before = _combine({**begun, **merged.parts_before, **rest}, {})
    given = [name for text in parameters.values() if (name := read_secret_name(text))]
    needed = [*merged.secrets, *given, *getattr(pipeline.source, "secrets", ())]
    for sink in pipeline.sinks:
        needed += capabilities_of(sink).secrets
    return Identity(
        fingerprint=fingerprint,
        work=work,
        before=before,
        work_before=work_before,
        secrets=tuple(dict.fromkeys(needed)),
    )


def keep_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters as records keep them, with what looks like a secret hidden as in fingerprints."""
    prefix = "parameter "
    parts = {f"{prefix}{name}": text for name, text in parameters.items()}
    return {name.removeprefix(prefix): text for name, text in _hide_all(parts).items()}


def _hide_all(parts: Mapping[str, str]) -> dict[str, str]:
    return {
        name: hide(name, text) if is_secret_part(name, text) else text
        for name, text in parts.items()
    }


def _combine(
    parts: Mapping[str, str], places: Mapping[str, str]
) -> tuple[Fingerprint, Fingerprint]:
    """The fingerprint of all, and that of the work alone."""
    work = {name: value for name, value in parts.items() if name not in LAYOUT_PARTS}
    return combine(parts, places), combine(work, places)


def _describe_course(
    pipeline: Definition, called: Sequence[Step], names: Sequence[str]
) -> dict[str, str]:
    parts = dict(pipeline.source.identity)
    for number, (step, name) in enumerate(zip(called, names, strict=True), 1):
        units = "" if step.items is None else f" of {step.items} items"
        units += "" if step.tokens_max is None else f" of {step.tokens_max} tokens"
        kept = " with its input" if step.keeps_input else ""
        parts[f"step {number}"] = f"{step.kind} {name}{units}{kept}"
    return parts


def _describe_settings(pipeline: Definition, parameters: Mapping[str, str]) -> dict[str, str]:
    parts = {f"parameter {name}": value for name, value in parameters.items()}
    settings = pipeline.settings
    if settings.batch_size is not None:
        parts["batch size"] = str(settings.batch_size)
    if settings.seed is not None:
        parts["seed"] = str(settings.seed)
    parts["key column"] = settings.key_column
    if pipeline.file_names is not None:
        parts["files"] = pipeline.file_names.text
    if settings.schema is not None:
        parts["schema"] = _describe_schema(settings.schema)
    return parts


def _describe_schema(schema: object) -> str:
    if isinstance(schema, Mapping):
        return ", ".join(f"{name}: {_name_type(kind)}" for name, kind in schema.items())
    if not isinstance(schema, type):
        return str(schema)
    from batten.rows.row_classes import find_fields

    return ", ".join(f"{name}: {_name_type(kind)}" for name, kind in find_fields(schema) or ())


def _name_type(kind: object) -> str:
    """Of a class that has fields: these, for it may come to have others under the same name."""
    if isinstance(kind, type) and get_origin(kind) is None:
        fields = _describe_schema(kind) if kind.__module__ != "builtins" else ""
        return f"{kind.__name__}({fields})" if fields else kind.__name__
    return str(kind)
