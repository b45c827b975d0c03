"""A step over the whole published dataset, as the job declares it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from batten.errors import UsageError
from batten.model.annotations import signature_of
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.value_class import value_class

Form = Literal["arrow", "polars", "duckdb"]

FORMS: dict[str, Form] = {
    "Table": "arrow",
    "LazyFrame": "polars",
    "DuckDBPyRelation": "duckdb",
}
"""What the function is given, by the name of the type that its first argument is annotated with."""


@value_class
class Finalizer:
    """`function` makes the second dataset at `output` of the first, which it is given as `form`."""

    function: Callable[..., Any] = field(repr=False)
    output: Path
    form: Form
    version: str | None = None

    @property
    def name(self) -> str:
        """The function, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)


def make_finalizer(
    function: Any,
    output: Path,
    *,
    version: str | None,
    others: Sequence[Path],
) -> Finalizer:
    """Raises `UsageError` if the function can't be called with a dataset, or the output would
    lie in one of the `others`, the pipeline's other outputs, or around it."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise UsageError(
            f".finalize() takes a plain function, not {function!r}.",
            safe="Nothing was read or written.",
            next="Give the function itself: .finalize(deduplicate, into=…).",
        )
    _check_place(output, others)
    return Finalizer(function=function, output=output, form=_form_of(function), version=version)


def _check_place(output: Path, others: Sequence[Path]) -> None:
    own = os.path.abspath(output)
    for other in others:
        there = os.path.abspath(other)
        for inner, outer in ((own, there), (there, own)):
            for folder in (outer, outer + CONTROL_SUFFIX):
                if os.path.commonpath([inner, folder]) == folder:
                    raise UsageError(
                        f"into={str(output)!r} and the output {str(other)!r} would lie in one "
                        "another.",
                        safe="Nothing was read or written.",
                        next='Name a folder of its own: .finalize(…, into="final/").',
                    )


def _form_of(function: Any) -> Form:
    try:
        parameters = list(signature_of(function).parameters.values())
    except ValueError:
        return "arrow"
    if not parameters:
        raise UsageError(
            "The function of .finalize() takes no argument.",
            safe="Nothing was read or written.",
            next="Give it one: the whole dataset, as an Arrow table.",
        )
    annotation = parameters[0].annotation
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if annotation in (inspect.Parameter.empty, Any):
        return "arrow"
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    form = FORMS.get(text.strip("'\"").rpartition(".")[2])
    if form is None:
        raise UsageError(
            f"The function of .finalize() is annotated to take {annotation!r}.",
            safe="Nothing was read or written.",
            next="It can take a pyarrow.Table, a polars.LazyFrame or a duckdb.DuckDBPyRelation.",
        )
    return form
