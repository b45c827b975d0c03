"""Items that change and go: only they are computed again, and accounts close by key over all."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.drive.publishing import waiting
from batten.errors import RefusedError, StorageError, UsageError
from batten.inspect.verifying.verify import verify
from batten.model.disk.names import Layout
from batten.pipeline.pipeline import Pipeline
from batten.run.report import Report
from batten.storage.changing import steps

LAYOUT = Layout("out")
BATCH_ITEMS = 3
FILES = 8
BAD = "can't be measured"
ENDING = "ends the run"


@dataclass
class Job:
    """A job over the files of a folder; notes in `calls` which items its function was given."""

    folder: Path
    calls: Path

    def write(self, number: int, text: str) -> None:
        self.path(number).write_text(text)

    def path(self, number: int) -> Path:
        return self.folder / "in" / f"{number:02}.txt"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def measure(self, path: Path) -> dict[str, Any]:
        with self.calls.open("a") as calls:
            print(path.name, file=calls)
        text = path.read_text()
        if text == BAD:
            raise ValueError(BAD)
        if text == ENDING:
            raise StorageError("The disk is away.", safe="All is kept.", next="Mount it.")
        return {"text": text}

    def pipeline(self, **options: Any) -> Pipeline:
        source = batten.from_files(self.folder / "in" / "*.txt", **options)
        settings = {"batch_size": BATCH_ITEMS, "stop_when": None}
        return source.map(self.measure).options(**settings).write_parquet(self.out)

    def run(self, *, run: dict[str, Any] | None = None, **options: Any) -> Report:
        self.calls.write_text("")
        return self.pipeline(**options).run(executor="serial", **(run or {}))

    @property
    def called(self) -> list[int]:
        return [int(name.partition(".")[0]) for name in self.calls.read_text().split()]

    @property
    def texts(self) -> dict[int, str]:
        rows = pq.read_table(self.out).to_pylist()
        assert len({row["key"] for row in rows}) == len(rows)
        return {int(row["key"].partition(".")[0]): row["text"] for row in rows}

    def check_closed(self, **counts: int) -> None:
        items = batten.diagnose(self.out).items
        assert batten.diagnose(self.out).state == "COMPLETE"
        found = {name: getattr(items, name) for name in counts}
        assert found == counts
        assert items.source == items.committed + items.filtered + items.quarantined
        assert verify(self.out).is_sound


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (tmp_path / "in").mkdir()
    made = Job(tmp_path, tmp_path / "calls")
    for number in range(FILES):
        made.write(number, str(number))
    return made


def test_only_what_changed_is_called_again(job: Job) -> None:
    job.run()
    before = {path.name: path.read_bytes() for path in job.out.iterdir()}
    job.write(4, "another")
    report = job.run()
    assert (report.changed_items, report.removed_items, report.executed_items) == (1, 0, 1)
    assert job.called == [4]
    assert job.texts == {**{n: str(n) for n in range(FILES)}, 4: "another"}
    after = {path.name: path.read_bytes() for path in job.out.iterdir()}
    assert [name for name in after if after[name] != before[name]] == ["part-000001.parquet"]
    job.check_closed(source=FILES, committed=FILES, removed=0)
    assert job.run().status == "nothing-to-do"
    assert job.called == []


def test_batches_whose_items_changed_share_the_syncs_of_folders(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of their records, of the markers that these become, and of what is set aside at last."""
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 1e9)
    job.run()
    synced: list[str] = []

    def note(moment: str, step: str, name: str) -> None:
        if (moment, step) == ("after", "sync_names"):
            synced.append(name)

    monkeypatch.setattr(steps, "observer", note)
    counts = []
    for batches in (1, 3):
        synced.clear()
        for batch in range(batches):
            job.write(BATCH_ITEMS * batch, f"another of {batches}")
        assert job.run().changed_items == batches
        counts.append(Counter(name for name in synced if "staging" not in name))
    assert counts[0] == counts[1]


def test_what_is_gone_is_kept_and_told(job: Job) -> None:
    job.run()
    job.path(2).unlink()
    report = job.run()
    assert (report.status, report.removed_items, report.vanished_items) == ("nothing-to-do", 1, 1)
    assert 2 in job.texts


def test_what_is_gone_goes(job: Job) -> None:
    job.run()
    job.path(2).unlink()
    report = job.run(removed="drop")
    assert (report.status, report.removed_items, report.executed_items) == ("complete", 1, 0)
    assert job.called == []
    assert job.texts == {n: str(n) for n in range(FILES) if n != 2}
    job.check_closed(source=FILES - 1, committed=FILES - 1, removed=1)
    again = job.run(removed="drop")
    assert (again.status, again.removed_items) == ("nothing-to-do", 0)


def test_all_of_a_batch_goes_and_comes_back(job: Job) -> None:
    job.run()
    for number in range(BATCH_ITEMS):
        job.path(number).unlink()
    job.run(removed="drop")
    assert sorted(job.texts) == list(range(BATCH_ITEMS, FILES))
    job.write(1, "back")
    assert job.run(removed="drop").changed_items == 1
    assert job.called == [1]
    assert job.texts[1] == "back"
    job.check_closed(committed=FILES - 2, removed=2)


def test_a_source_that_is_empty_all_at_once_takes_nothing_with_it(job: Job) -> None:
    job.run()
    for number in range(FILES):
        job.path(number).unlink()
    with pytest.raises(RefusedError, match="the rows of all its 8 items would go"):
        job.run(removed="drop")
    assert len(job.texts) == FILES
    assert batten.diagnose(job.out).state == "COMPLETE"


def test_what_failed_is_tried_again_when_it_has_changed_alone(job: Job) -> None:
    job.write(3, BAD)
    job.write(4, BAD)
    job.run()
    job.write(3, "mended")
    report = job.run()
    assert (job.called, report.quarantined) == ([3], 1)
    job.write(5, BAD)
    report = job.run()
    assert (job.called, report.quarantined) == ([5], 2)
    assert 5 not in job.texts
    job.check_closed(committed=FILES - 2, quarantined=2)


def test_changed_and_failed_are_tried_together(job: Job) -> None:
    job.write(3, BAD)
    job.run()
    job.write(4, "another")
    job.run(run={"retry_quarantined": True})
    assert sorted(job.called) == [3, 4]


def test_the_same_size_and_time_is_seen_by_its_bytes_alone(job: Job) -> None:
    def swap(text: str) -> None:
        status = job.path(6).stat()
        job.write(6, text)
        os.utime(job.path(6), ns=(status.st_atime_ns, status.st_mtime_ns))

    job.run()
    swap("a")
    assert job.run().changed_items == 0
    # Versions of another kind tell nothing of each other.
    assert job.run(changed="content").status == "nothing-to-do"
    swap("b")
    assert job.run(changed="content").changed_items == 1
    assert job.texts[6] == "b"


def test_another_time_and_the_same_bytes_are_no_change_of_content(job: Job) -> None:
    job.run(changed="content")
    os.utime(job.path(6), ns=(1, 1))
    assert job.run(changed="content").changed_items == 0


@pytest.mark.parametrize("seconds", [-(10**6), 10**6])
def test_clocks_that_go_back_hide_nothing(job: Job, seconds: int) -> None:
    job.run()
    job.write(6, "x")
    now = job.path(6).stat().st_mtime_ns
    os.utime(job.path(6), ns=(now, now + seconds * 10**9))
    assert job.run().changed_items == 1
    assert job.texts[6] == "x"


def test_ignored_changes_are_seen_later(job: Job) -> None:
    job.run()
    job.write(6, "another")
    assert job.run(changed="ignore").status == "nothing-to-do"
    assert job.texts[6] == "6"
    assert job.run().changed_items == 1
    assert job.texts[6] == "another"


def test_a_dry_run_counts_and_changes_nothing(job: Job) -> None:
    job.run()
    job.write(6, "another")
    job.path(0).unlink()
    for removed in ("keep", "drop"):
        report = job.run(removed=removed, run={"dry_run": True})
        assert (report.changed_items, report.removed_items) == (1, 1)
    told = report.to_json()
    assert (told["changed_items"], told["removed_items"]) == (1, 1)
    assert batten.diagnose(job.out).state == "COMPLETE"
    assert job.texts == {n: str(n) for n in range(FILES)}


def test_a_file_that_changes_while_it_is_read_is_computed_again(job: Job) -> None:
    measure = job.measure

    def measure_and_change(path: Path) -> dict[str, Any]:
        made = measure(path)
        if path == job.path(5) and made["text"] == "5":
            path.write_text("meanwhile")
        return made

    job.measure = measure_and_change  # type: ignore[method-assign]
    job.run()
    assert job.texts[5] == "5"
    assert job.run().changed_items == 1
    assert (job.called, job.texts[5]) == ([5], "meanwhile")


def test_what_was_staged_of_an_earlier_version_is_not_taken_over(job: Job) -> None:
    job.write(5, ENDING)
    with pytest.raises(StorageError):
        job.run()
    assert list((job.folder / LAYOUT.staged).iterdir())
    job.write(5, "5")
    job.write(0, "another")
    job.write(3, "another too")
    job.run()
    assert job.texts == {**{n: str(n) for n in range(FILES)}, 0: "another", 3: "another too"}
    job.check_closed(committed=FILES)


def test_items_without_versions_get_them_without_being_computed_again(job: Job) -> None:
    """As of batten 0.1, or of a run that ignored them."""
    job.run(changed="ignore")
    assert not (job.folder / LAYOUT.segment_versions(0)).exists()
    job.write(6, "before anybody looked")
    assert job.run().status == "nothing-to-do"
    assert job.called == []
    job.write(6, "another")
    assert job.run().changed_items == 1
    assert job.called == [6]


def test_versions_that_are_lost_are_those_of_now(job: Job) -> None:
    job.run()
    job.write(6, "another")
    job.run()
    (job.folder / LAYOUT.segment_versions(0)).unlink()
    assert job.run().status == "nothing-to-do"
    job.write(7, "and another")
    assert job.run().changed_items == 1
    assert (job.called, job.texts[7]) == ([7], "and another")


def test_damaged_versions_are_told(job: Job) -> None:
    job.run()
    path = job.folder / LAYOUT.segment_versions(0)
    *sound, last = path.read_bytes()
    path.write_bytes(bytes((*sound, last ^ 1)))
    found = verify(job.out)
    names = [str(job.folder / LAYOUT.segment_versions(0))]
    assert [finding.path for finding in found.findings] == names
    with pytest.raises(batten.CorruptError, match="was damaged"):
        job.run()


def test_an_earlier_batten_says_that_removed_items_are_of_a_newer_format(job: Job) -> None:
    job.run()
    job.path(2).unlink()
    job.run(removed="drop")
    versions = {
        name: json.loads((job.folder / name).read_text())["format_version"]
        for name in (LAYOUT.commit(0), LAYOUT.commit(1), LAYOUT.complete)
    }
    assert versions == {LAYOUT.commit(0): 2, LAYOUT.commit(1): 1, LAYOUT.complete: 2}


def test_a_dataset_made_anew_holds_what_there_is(job: Job) -> None:
    job.run()
    job.path(2).unlink()
    job.write(3, "another")
    job.run(removed="drop", run={"fresh": True})
    assert job.texts == {**{n: str(n) for n in range(FILES) if n != 2}, 3: "another"}
    job.check_closed(source=FILES - 1, removed=0)


def test_a_single_file_is_rewritten_whole(job: Job) -> None:
    path = job.folder / "texts.csv"

    def run() -> Report:
        source = batten.from_files(job.folder / "in" / "*.txt", removed="drop")
        pipeline = source.map(job.measure).options(batch_size=BATCH_ITEMS).write_csv(path)
        return pipeline.run(executor="serial")

    run()
    job.write(3, "another")
    job.path(0).unlink()
    assert run().changed_items == 1
    expected = {**{n: str(n) for n in range(1, FILES)}, 3: "another"}
    assert path.read_text().split() == [
        '"key","text"',
        *(f'"{n:02}.txt","{text}"' for n, text in expected.items()),
    ]


KINDS = ["items", "iterator", "jsonl", "csv", "parquet"]
Records = Sequence[tuple[str, int]]


@pytest.fixture(params=KINDS)
def run_records(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., tuple[Report, list[str], dict[str, int]]]:
    """Runs a job over records with a key: the report, the keys that were called, the rows."""
    called: list[str] = []
    path = tmp_path / f"records.{request.param}"

    def double(record: dict[str, Any]) -> dict[str, Any]:
        called.append(record["name"])
        return {"twice": 2 * int(record["value"])}

    def read(records: Records, options: dict[str, Any]) -> Pipeline:
        items = [{"name": name, "value": value} for name, value in records]
        match request.param:
            case "items":
                return batten.from_items(items, key="name", **options)
            case "iterator":
                return batten.from_items(lambda: iter(items), key="name", **options)
            case "jsonl":
                path.write_text("".join(json.dumps(item) + "\n" for item in items))
                return batten.from_jsonl(path, key="name", **options)
            case "csv":
                lines = [f"{name},{value}" for name, value in records]
                path.write_text("\n".join(["name,value", *lines, ""]))
                return batten.from_csv(path, key="name", **options)
            case _:
                pq.write_table(pa.Table.from_pylist(items), path)
                return batten.from_parquet(path, key="name", **options)

    def run(records: Records, **options: Any) -> tuple[Report, list[str], dict[str, int]]:
        called.clear()
        pipeline = read(records, options).map(double).options(batch_size=BATCH_ITEMS)
        report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
        rows = pq.read_table(tmp_path / "out").to_pylist()
        return report, list(called), {row["key"]: row["twice"] for row in rows}

    return run


RECORDS = [(f"n{number}", number) for number in range(FILES)]


def test_records_are_known_by_their_content(
    run_records: Callable[..., tuple[Report, list[str], dict[str, int]]],
) -> None:
    run_records(RECORDS)
    moved = [("new", 100), *reversed(RECORDS[1:]), ("n0", 0)]
    changed = [(name, 1234567 if name == "n4" else value) for name, value in moved]
    report, called, rows = run_records(changed)
    assert (report.changed_items, called) == (1, ["n4", "new"])
    assert rows == {name: 2 * value for name, value in changed}
    gone = [each for each in changed if each[0] not in ("n1", "n4")]
    report, called, rows = run_records(gone)
    assert (report.removed_items, called, len(rows)) == (2, [], FILES + 1)
    report, called, rows = run_records(gone, removed="drop")
    assert (report.removed_items, called) == (2, [])
    assert rows == {name: 2 * value for name, value in gone}
    report, called, rows = run_records([*gone, ("n4", 5)], removed="drop")
    assert (report.changed_items, called, rows["n4"]) == (1, ["n4"], 10)
    ignored = [(name, 0) for name, _ in gone]
    report, called, rows = run_records([*ignored, ("n4", 5)], removed="drop", changed="ignore")
    assert (report.changed_items, called, rows["n2"]) == (0, [], 4)


def two_of(record: dict[str, str]) -> dict[str, str]:
    return {"a": record["a"], "b": record["b"]}


def test_another_header_is_another_content(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"

    def run() -> Report:
        pipeline = batten.from_csv(path, key="name").map(two_of)
        return (
            pipeline.options(schema={"a": "string", "b": "string"})
            .write_parquet(tmp_path / "out")
            .run(executor="serial")
        )

    path.write_text("name,a,b\nx,1,2\n")
    run()
    path.write_text("name,b,a\nx,1,2\n")
    assert run().changed_items == 1
    assert pq.read_table(tmp_path / "out").to_pylist() == [{"key": "x", "a": "2", "b": "1"}]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: batten.from_files("*.txt", changed="size"), "changed='size'"),
        (lambda: batten.from_files("*.txt", removed="yes"), "removed='yes'"),
        (lambda: batten.from_jsonl("x.jsonl", key="k", changed="stat"), "changed='stat'"),
        (lambda: batten.from_csv("x.csv", removed="drop"), "there is no key="),
        (lambda: batten.from_items([1], changed="ignore"), "there is no key="),
    ],
)
def test_options_that_are_none_are_refused(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make()
