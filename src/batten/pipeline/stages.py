"""A pipeline in a few words, for who looks at it in a shell or a notebook. Reads nothing."""

from __future__ import annotations

from collections.abc import Iterator

from batten.jobs.definition import Definition
from batten.jobs.loading.job_folder import show_path
from batten.jobs.step import Step
from batten.model.telling.hiding import redact
from batten.printable import escape
from batten.sources.whole_tables import TableSource


def list_stages(definition: Definition) -> Iterator[tuple[str, str]]:
    """What each stage is, and what of: the source, each step, each place that is written to."""
    yield "source", redact(_describe_source(definition))
    steps = (*definition.steps, definition.whole) if definition.whole else definition.steps
    for step in steps:
        yield step.kind, _describe_step(step)
    if definition.store is not None:
        yield "parquet", redact(definition.store.shown)
    elif definition.output is not None and not definition.is_ledger_inside:
        yield "parquet", show_path(definition.output)
    for sink in definition.sinks:
        yield sink.kind, redact(sink.describe(definition.folder))
    for finalizer in definition.finalizers:
        yield "finalize", f"{finalizer.name} → {redact(finalizer.shown)}"


def show_stages(definition: Definition) -> str:
    """`<Pipeline files clips/**/*.mp4 → map(measure) → parquet(features)>`"""
    (_, source), *rest = list_stages(definition)
    shown = " → ".join([source, *(f"{kind}({told})" for kind, told in rest)])
    return f"<{type(definition).__name__} {escape(shown)}>"


def _describe_source(definition: Definition) -> str:
    source = definition.source
    if isinstance(source, TableSource):
        # Its identity is the content, which is not read for this.
        return f"tables {', '.join(source.names)}"
    return source.identity["source"]


def _describe_step(step: Step) -> str:
    function = step.function
    return getattr(function, "__name__", type(function).__name__)
