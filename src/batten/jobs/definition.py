"""What a pipeline is: a plain value, which a run, its workers and the loading of jobs use.

What builds one, and runs it, lies above: see `Pipeline` (decision 0078).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from batten.errors import usage_error
from batten.jobs.loading.job_folder import current_folder, show_path
from batten.jobs.path_parameters import make_filler
from batten.model.disk.items.item_names import NamePattern
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.capabilities import capabilities_of

if TYPE_CHECKING:
    from batten.jobs.finalizer import Finalizer
    from batten.jobs.step import Step
    from batten.sinks.base import Sink
    from batten.sources.base import Source
    from batten.storage.plugin import StoreAddress

WorkersName = Literal["fork", "spawn"]


@value_class
class Options:
    """What holds for the whole pipeline; see `Pipeline.options`."""

    batch_size: int | None = None
    on_error: Literal["quarantine", "raise"] = "quarantine"
    quarantine_max: int | None = None
    stop_when: Literal["most_fail"] | None = "most_fail"
    schema: Any = None
    key_column: str = "key"
    workers: WorkersName | None = None
    worker_items_max: int | None = None
    seed: int | None = None
    batch_rules: tuple[Callable[..., Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A source, the steps its items go through, and where the rows are written. With `whole` one
    function takes all of the source at once; see `pipeline/whole_tables.py`.

    `output` names the dataset of sealed batches, the ledger: a folder of parts, or with
    `is_ledger_inside` something else, and the parts lie in its control folder. `sinks` get what
    the ledger holds. `store` is where the output lies, if that is no local path. `folder` is what
    paths are relative to."""

    output: Path | None = None
    store: StoreAddress | None = None
    written_output: str = ""
    folder: Path = field(default_factory=current_folder)
    sinks: tuple[Sink, ...] = ()
    is_ledger_inside: bool = False
    source: Source
    steps: tuple[Step, ...] = ()
    whole: Step | None = None
    settings: Options = field(default_factory=Options)
    finalizers: tuple[Finalizer, ...] = ()

    @property
    def sink_kind(self) -> str:
        """Of the first sink: what the output is."""
        return self.sinks[0].kind if self.is_ledger_inside else "parquet"

    @property
    def file_names(self) -> NamePattern | None:
        """How the files are called that the steps make; None if they make rows."""
        names = (capabilities_of(sink).names for sink in self.sinks)
        return next((each for each in names if each is not None), None)

    @property
    def is_async(self) -> bool:
        """Whether any step's function is to be awaited; all steps then run in one event loop."""
        return any(step.is_async for step in self.steps)

    @property
    def calls_max(self) -> int:
        """How many items are in hand at a time where steps await."""
        return max(step.calls_max for step in self.steps if step.is_async)

    @property
    def tries_max(self) -> int:
        """How often an item is tried that takes too long each time."""
        timed = [step for step in self.steps if step.timeout_seconds is not None]
        return max((step.retry.tries_overdue for step in timed), default=1)

    @property
    def timeout_seconds_min(self) -> float | None:
        """The shortest time limit of a step; None if none has one."""
        limits = [step.timeout_seconds for step in self.steps]
        return min((limit for limit in limits if limit is not None), default=None)

    def find_unit_items(self, batch_size: int) -> int | None:
        """Tell how many items must go through the steps together.

        Args:
            batch_size: Items in a batch.

        Returns:
            The number of items, or None where each may go alone.
        """
        sizes = [step.items or batch_size for step in self.steps if step.kind == "map_batches"]
        return max(sizes, default=None)

    def refuse_double(self) -> None:
        """Refuse two sinks that write to one place.

        Raises:
            UsageError: Two do. Nothing was read or written.
        """
        seen = set()
        if self.output is not None and not self.is_ledger_inside:
            seen.add(os.path.realpath(self.output))
        for sink in self.sinks:
            place = sink.identify()
            if place in seen:
                raise usage_error(
                    f"Two sinks write to {sink.describe(self.folder)!r}.",
                    "Write to each place once.",
                )
            seen.add(place)

    def fill(self, parameters: Mapping[str, str]) -> Self:
        """Put values in the place of `{name}` in the paths of the sinks.

        Args:
            parameters: The values, as texts, by name.

        Returns:
            A new pipeline with these paths.

        Raises:
            UsageError: A name has no value, an output lies where the pipeline reads, or two sinks
                write to one place. Nothing was read or written.
        """
        if self.output is None:
            return self
        fill = make_filler(parameters)
        filled = replace(
            self,
            output=Path(fill(str(self.output))),
            written_output=fill(self.written_output),
            store=self.store.fill(fill) if self.store is not None else None,
            sinks=tuple(sink.fill(fill) for sink in self.sinks),
        )
        places = [path for sink in filled.sinks for path in capabilities_of(sink).places]
        return replace(filled, source=keep_apart(self.source, filled.list_made(), places))

    def list_made(self) -> list[Path]:
        """List the files and folders that a run makes.

        Returns:
            Their paths. A live tree is not among them: its items may be read where they are
                changed.
        """
        made = [] if self.output is None or self.store is not None else [self.output]
        paths = (capabilities_of(sink).path for sink in self.sinks)
        made += [path for path in paths if path is not None]
        trees = {
            os.path.realpath(sink.identify()) for sink in self.sinks if sink.takes is Takes.ITEMS
        }
        others = [path for path in made if os.path.realpath(path) not in trees]
        return [*others, *(each.output for each in self.finalizers if each.store is None)]


def keep_apart(source: Source, made: Sequence[Path], places: Sequence[Path]) -> Source:
    """The source without what the pipeline itself makes in the folder that it looks at: else each
    run would find more (decision 0073). Raises `UsageError` where one is the other. `places` are
    others that its sinks change, unless the source looks for its items there."""
    own = {os.path.realpath(path): path for path in made}
    local = [path for path in source.inputs if isinstance(path, Path)]
    for path in local:
        if (same := own.get(os.path.realpath(path))) is not None:
            raise usage_error(
                f"{show_path(same)} is both what the pipeline reads and what it makes.",
                "Write to a place of its own.",
            )
    leave_out: Callable[[Sequence[Path]], Source] | None = getattr(source, "without", None)
    if leave_out is None:
        return source
    inputs = [os.path.realpath(path) for path in local]
    apart = [path for path in places if not _holds(os.path.realpath(path), inputs)]
    return leave_out([*made, *apart])


def _holds(folder: str, paths: Sequence[str]) -> bool:
    return any(os.path.join(each, "").startswith(os.path.join(folder, "")) for each in paths)
