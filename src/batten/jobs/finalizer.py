"""A step over the whole published dataset, as the job declares it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from batten.errors import usage_error
from batten.jobs.loading.job_folder import show_path
from batten.model.annotations import signature_of
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.value_class import value_class
from batten.storage.addresses import as_written, local_path
from batten.storage.plugin import StoreAddress, find_store

Form = Literal["arrow", "polars", "duckdb"]

FORMS: dict[str, Form] = {
    "Table": "arrow",
    "LazyFrame": "polars",
    "DuckDBPyRelation": "duckdb",
}
"""What the function is given, by the name of the type that its first argument is annotated with."""


@value_class
class Finalizer:
    """`function` makes the second dataset at `output` of the first, which it is given as `form`.
    `store` is where that lies, if it is no local path."""

    function: Callable[..., Any] = field(repr=False)
    output: Path
    form: Form
    version: str | None = None
    store: StoreAddress | None = None

    @property
    def place(self) -> Path | str:
        """Its path, or its address."""
        return self.output if self.store is None else self.store.shown

    @property
    def shown(self) -> str:
        """For messages."""
        return show_path(self.place)

    @property
    def name(self) -> str:
        """The function, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)


def make_finalizer(
    function: Any,
    into: str | os.PathLike[str],
    folder: Path,
    *,
    version: str | None,
    others: Sequence[Path | str],
) -> Finalizer:
    """A relative path is relative to the `folder`. Raises `UsageError` if the function can't be
    called with a dataset, or the output would lie in one of the `others`, the paths and addresses
    of the pipeline's other outputs, or around it."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise usage_error(
            f".finalize() takes a plain function, not {function!r}.",
            "Give the function itself: .finalize(deduplicate, into=…).",
        )
    written = as_written(into)
    store = find_store(written, folder) if "://" in written else None
    output = Path("/", store.name) if store is not None else folder / local_path(into)
    made = Finalizer(
        function=function, output=output, form=_form_of(function), version=version, store=store
    )
    _check_place(made.place, others)
    return made


def _check_place(place: Path | str, others: Sequence[Path | str]) -> None:
    own = _name_exactly(place)
    for other in others:
        there = _name_exactly(other)
        for inner, outer in ((own, there), (there, own)):
            for folder in (outer, outer + CONTROL_SUFFIX):
                if inner == folder or inner.startswith(os.path.join(folder, "")):
                    raise usage_error(
                        f"into={str(place)!r} and the output {str(other)!r} would lie in one "
                        "another.",
                        'Name a folder of its own: .finalize(…, into="final/").',
                    )


def _name_exactly(place: Path | str) -> str:
    return place if isinstance(place, str) else os.path.abspath(place)


def _form_of(function: Any) -> Form:
    try:
        parameters = list(signature_of(function).parameters.values())
    except ValueError:
        return "arrow"
    if not parameters:
        raise usage_error(
            "The function of .finalize() takes no argument.",
            "Give it one: the whole dataset, as an Arrow table.",
        )
    annotation = parameters[0].annotation
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if annotation in (inspect.Parameter.empty, Any):
        return "arrow"
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    form = FORMS.get(text.strip("'\"").rpartition(".")[2])
    if form is None:
        raise usage_error(
            f"The function of .finalize() is annotated to take {annotation!r}.",
            "It can take a pyarrow.Table, a polars.LazyFrame or a duckdb.DuckDBPyRelation.",
        )
    return form
