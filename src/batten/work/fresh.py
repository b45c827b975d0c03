"""Work for workers that begin in a fresh interpreter: it loads the job, then does as others do."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from batten.errors import RefusedError
from batten.executors.base import Mark, Work
from batten.executors.randomness import seed_afresh
from batten.jobs.definition import Definition
from batten.jobs.in_fresh_workers import CannotLoadError, Origin, Pickled, find_origin, loading
from batten.model.disk.fingerprints import difference
from batten.model.disk.names import Layout
from batten.model.disk.records import Fingerprint, Segment
from batten.model.value_class import value_class
from batten.plan.plan import Plan
from batten.rows.declared import Declared
from batten.run.context import Context
from batten.run.identity import identify_pipeline
from batten.sources.items import ItemSource
from batten.storage.local.folder import LocalStorage
from batten.work.bench import Bench
from batten.work.tasks import WorkerJob


@value_class
class Recipe:
    """How a fresh interpreter gets the job that the driver has. Items that the job itself lists are
    sent, pickled, as `source`: listed again they could come in another order."""

    origin: Origin
    parameters: Mapping[str, str]
    fingerprint: Fingerprint
    source: bytes | None
    again: str

    def load(self) -> Definition:
        """Raises `RefusedError` if it is another job than the driver's."""
        with loading():
            pipeline = self.origin.load().fill(self.parameters)
        if isinstance(self.origin, Pickled) and self.origin.with_code:
            return pipeline
        found = identify_pipeline(pipeline, self.parameters).fingerprint
        if found.digest != self.fingerprint.digest:
            lines = difference(self.fingerprint, found)
            raise RefusedError(
                f"The job is another one each time that it is loaded: {'; '.join(lines)}.",
                safe="Everything that was finished is kept.",
                next="If it was edited just now, run it again. Else have it read such values "
                f"within the function, or let workers be forked: {self.again}",
            )
        return pipeline


def make_recipe(context: Context) -> Recipe:
    """Raises `CannotLoadError`."""
    pipeline, options = context.pipeline, context.options
    source = None
    if isinstance(pipeline.source, ItemSource):
        try:
            source = pickle.dumps(pipeline.source, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            raise CannotLoadError(
                f"an item of from_items can't be pickled ({error})",
                "Give from_items plain values, or objects of classes at the top level of a file.",
            ) from error
    fingerprint = identify_pipeline(pipeline, options.parameters).fingerprint
    return Recipe(
        origin=options.job_file or find_origin(pipeline),
        parameters=options.parameters,
        fingerprint=fingerprint,
        source=source,
        again=context.wish("workers", "fork"),
    )


@value_class
class _Place:
    """What of a `WorkerJob` is the same in each process."""

    root: str
    layout: Layout
    segments: Sequence[Segment]
    moved_positions: Any
    declared: Declared
    key_column: str
    fingerprint: str
    work: str
    works: tuple[str, ...]
    has_time_limit: bool
    keeps_failures: bool
    seed: int | None
    worker_items_max: int | None


class FreshWork:
    """Pickles; loads the job with its first task."""

    def __init__(self, recipe: Recipe, job: WorkerJob) -> None:
        self._recipe = recipe
        self._place = _Place(
            root=job.storage.place,
            layout=job.layout,
            segments=job.plan.segments,
            moved_positions=job.plan.moved_positions,
            declared=job.declared,
            key_column=job.key_column,
            fingerprint=job.fingerprint,
            work=job.work,
            works=job.works,
            has_time_limit=job.has_time_limit,
            keeps_failures=job.keeps_failures,
            seed=job.seed,
            worker_items_max=job.worker_items_max,
        )
        self._work: Work | None = None

    def __call__(self, task: Any, mark: Mark) -> Any:
        if self._work is None:
            self._work = self._load()
            seed_afresh()
        return self._work(task, mark)

    def _load(self) -> Work:
        pipeline, place = self._recipe.load(), self._place
        storage = LocalStorage(place.root)
        plan = Plan(storage, place.layout, list(place.segments))
        plan.moved_positions = place.moved_positions
        source = pipeline.source
        if self._recipe.source is not None:
            source = pickle.loads(self._recipe.source)
        job = WorkerJob(
            storage=storage,
            layout=place.layout,
            plan=plan,
            source=source,
            steps=pipeline.steps,
            batch_rules=pipeline.settings.batch_rules,
            declared=place.declared,
            key_column=place.key_column,
            fingerprint=place.fingerprint,
            work=place.work,
            works=place.works,
            has_time_limit=place.has_time_limit,
            keeps_failures=place.keeps_failures,
            seed=place.seed,
            worker_items_max=place.worker_items_max,
        )
        return Bench(job).work
