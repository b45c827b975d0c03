"""What a pipeline that makes files can't have."""

from __future__ import annotations

from batten.errors import UsageError
from batten.jobs.definition import Definition


def check_files(pipeline: Definition) -> None:
    """Raises `UsageError` for a step or an option that is for rows."""
    for step in pipeline.steps:
        if step.kind == "map_batches" or step.keeps_input:
            what = ".map_batches()" if step.kind == "map_batches" else "keep_input="
            raise _refuse(f"{what} makes rows, and .write_files() takes files.", "Leave it out.")
    if not any(step.kind in ("map", "flat_map") for step in pipeline.steps):
        raise _refuse(
            "No function makes a file.", "Put one before .write_files(): .map(make_thumbnail)."
        )
    if pipeline.settings.schema is not None:
        raise _refuse("schema= is for rows, and .write_files() takes files.", "Leave it out.")


def _refuse(what: str, next_step: str) -> UsageError:
    return UsageError(what, safe="Nothing was read or written.", next=next_step)
