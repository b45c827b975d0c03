"""Work for workers that begin in a fresh interpreter: it loads the job, then does as others do."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from batten.errors import FINISHED_KEPT, RefusedError
from batten.executors.base import Mark, Work
from batten.executors.randomness import seed_afresh
from batten.jobs.definition import Definition
from batten.jobs.loading.in_fresh_workers import (
    CannotLoadError,
    Origin,
    Pickled,
    find_origin,
    loading,
)
from batten.model.disk.fingerprints import difference
from batten.model.disk.records import Fingerprint
from batten.model.value_class import value_class
from batten.run.context import Context
from batten.run.identity import identify_pipeline
from batten.sources.items import ItemSource
from batten.sources.range import RangeSource
from batten.work.bench import Bench
from batten.work.own_workers.serving import Serve
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
                safe=FINISHED_KEPT,
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


_NOTHING = RangeSource(0)


class FreshWork:
    """Pickles; loads the job with its first task. Its functions and its source are loaded there, in
    the way that the recipe says, and the rest of the job is sent."""

    def __init__(self, recipe: Recipe, job: WorkerJob) -> None:
        self._recipe = recipe
        self._job = replace(job, source=_NOTHING, steps=(), batch_rules=())
        self._work: Work | None = None

    def __call__(self, task: Any, mark: Mark) -> Any:
        if self._work is None:
            if isinstance(task, Serve):
                task.enter()
            self._work = self._load()
            seed_afresh()
        return self._work(task, mark)

    def _load(self) -> Work:
        pipeline = self._recipe.load()
        source = pipeline.source
        if self._recipe.source is not None:
            source = pickle.loads(self._recipe.source)
        job = replace(
            self._job,
            source=source,
            steps=pipeline.steps,
            batch_rules=pipeline.settings.batch_rules,
        )
        return Bench(job).work
