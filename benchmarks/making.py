"""Makes the large datasets that benchmarks go on from, in a fraction of the time: plan, parts and
records are made as ever, but no key is looked for among those before it, no item is read, no
function is called and nothing is synced."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from batten.drive.run import run_on
from batten.jobs.definition import Definition
from batten.jobs.loading.job_file import load_job
from batten.plan.keys.new_or_duplicate import KeyShards
from batten.rows.arrays import integers
from batten.rows.columns_of_rows import ITEM
from batten.run.run_options import RunOptions
from batten.storage.base import Data
from batten.storage.local.folder import LocalStorage
from batten.work.bench import Bench
from batten.work.item_runner import Done
from batten.work.tasks import Prepare


class UnsyncedStorage(LocalStorage):
    """Nothing is at stake."""

    def stage(self, name: str, data: Data, *, is_synced: bool) -> None:
        super().stage(name, data, is_synced=False)

    def sync_names(self, folder: str) -> None:
        pass


def make_dataset(job: Path, parameters: dict[str, str], column: str) -> None:
    """The finished output of the job, with the number of an item within its batch in the only
    column that its function makes."""

    def run(_bench: Bench, task: Prepare, *_rest: Any) -> Done:
        numbers = integers(range(task.start, task.stop))
        table = pa.table({column: numbers, ITEM: numbers})
        return Done(start=task.start, stop=task.stop, tables=[table])

    def all_new(_shards: KeyShards, rows: Any) -> Any:
        return ((row, None) for row in rows)

    loaded = load_job(str(job), parameters, Definition)
    with patch.object(Bench, "_run", run), patch.object(KeyShards, "look_up", all_new):
        run_on(
            UnsyncedStorage(job.parent),
            loaded.pipeline,
            RunOptions(jobs=2, parameters=loaded.parameters),
        )
