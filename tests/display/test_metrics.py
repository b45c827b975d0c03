"""The metrics file: read by Prometheus' own parser, whole at each moment, and never a reason to
fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import batten
from batten.display.metrics import file as metrics_file
from batten.display.metrics.text import Metric, write_metrics

Row = dict[str, int]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def do(n: int) -> Row:
    if n == 1:
        raise ValueError("no 1")
    return {"n": n}


def keep(n: int) -> bool:
    return n != 2


def read(path: Path) -> Samples:
    """Each sample by its name and its labels, without that of the output."""
    samples: Samples = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.documentation, family
        is_counter = family.type == "counter"
        for sample in family.samples:
            assert sample.name.endswith("_total") is is_counter
            labels = {name: text for name, text in sample.labels.items() if name != "output"}
            samples[sample.name, tuple(labels.items())] = sample.value
    return samples


def status_of(samples: Samples) -> str:
    found = [
        labels[0][1]
        for (name, labels), value in samples.items()
        if name == "batten_run_status" and value
    ]
    assert len(found) == 1
    return found[0]


def by_label(samples: Samples, name: str) -> dict[str, float]:
    return {labels[0][1]: value for (each, labels), value in samples.items() if each == name}


def make(folder: Path, function: Callable[[int], Any] = do, items: int = 5) -> batten.Pipeline:
    pipeline = batten.from_range(items).filter(keep).map(function)
    return pipeline.options(batch_size=2).write_parquet(folder / "out")


def run(pipeline: batten.Pipeline, path: Path, **options: Any) -> Any:
    return pipeline.run(executor="serial", progress=False, metrics=path, **options)


def test_the_accounts_are_in_it(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    run(make(tmp_path).options(on_error="quarantine"), path)
    samples = read(path)
    assert by_label(samples, "batten_items_total") == {
        "committed": 3,
        "filtered": 1,
        "quarantined": 1,
        "duplicate": 0,
    }
    assert status_of(samples) == "complete"
    parts = list((tmp_path / "out").glob("*.parquet"))
    assert samples["batten_published_batches_total", ()] == len(parts) == 3
    assert samples["batten_published_bytes_total", ()] == sum(each.stat().st_size for each in parts)
    assert samples["batten_published_rows_total", ()] == samples["batten_rows", ()] == 3
    assert samples["batten_source_items", ()] == 5
    assert samples["batten_pending_items", ()] == samples["batten_staged_items", ()] == 0
    assert samples["batten_executed_items_total", ()] == 5
    assert set(by_label(samples, "batten_stage_seconds_total")) >= {"plan", "prepare", "publish"}
    began = samples["batten_run_start_timestamp_seconds", ()]
    ended = samples["batten_run_end_timestamp_seconds", ()]
    assert began <= ended <= samples["batten_updated_timestamp_seconds", ()]


def test_a_run_with_nothing_to_do_keeps_the_accounts(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    run(make(tmp_path), path)
    run(make(tmp_path), path)
    samples = read(path)
    assert status_of(samples) == "nothing-to-do"
    assert by_label(samples, "batten_items_total")["committed"] == 3
    assert samples["batten_executed_items_total", ()] == 0


def test_it_is_updated_while_the_run_is_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_file, "UPDATE_SECONDS", 0)
    path = tmp_path / "batten.prom"
    seen: list[Samples] = []

    def look(n: int) -> Row:
        seen.append(read(path))
        return {"n": n}

    run(make(tmp_path, look, items=8).options(batch_size=1), path)
    assert {status_of(each) for each in seen} == {"running"}
    assert ("batten_run_end_timestamp_seconds", ()) not in seen[-1]
    assert seen[-1]["batten_published_batches_total", ()] > 0
    last = by_label(read(path), "batten_items_total")
    assert (last["committed"], last["filtered"]) == (7, 1)


def fail(n: int) -> Row:
    raise ValueError("no")


def test_a_failed_run_says_so(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    with pytest.raises(batten.FailedRunError):
        run(make(tmp_path, fail).options(on_error="raise"), path)
    samples = read(path)
    assert status_of(samples) == "failed"
    assert ("batten_run_end_timestamp_seconds", ()) in samples


def test_a_refused_run_says_so(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    run(make(tmp_path), path)
    with pytest.raises(batten.RefusedError):
        run(make(tmp_path, fail), path)
    assert status_of(read(path)) == "refused"


def stop_at_seven(n: int) -> Row:
    if n == 7:
        os.kill(os.getpid(), signal.SIGTERM)
    return {"n": n}


def fail_at_seven(n: int) -> Row:
    if n == 7:
        raise ValueError("no 7")
    return {"n": n}


def fail_from_three(n: int) -> Row:
    if n > 2:
        raise ValueError(f"no {n}")
    return {"n": n}


ENDS = {
    "interrupted": (stop_at_seven, {"on_error": "quarantine"}),
    "failed": (fail_at_seven, {"on_error": "raise"}),
    "failed for all": (fail_from_three, {"on_error": "quarantine"}),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_last_accounts_are_those_of_the_disk(tmp_path: Path, name: str) -> None:
    function, options = ENDS[name]
    path = tmp_path / "batten.prom"
    with pytest.raises(batten.BattenError) as raised:
        run(make(tmp_path, function, items=200).options(**options), path)
    samples = read(path)
    assert status_of(samples) == name.split()[0] == raised.value.report.status
    compare(samples, tmp_path, raised.value)


def compare(samples: Samples, folder: Path, error: batten.BattenError) -> None:
    """The metrics, the report of the error and `diagnose` count the same."""
    found = batten.diagnose(folder / "out")
    settled = by_label(samples, "batten_items_total")
    names = ("committed", "filtered", "quarantined", "duplicate")
    assert settled == {each: getattr(found.items, each) for each in names}
    assert found.items.committed
    for each in ("source", "staged", "pending"):
        assert samples[f"batten_{each}_items", ()] == getattr(found.items, each)
    assert samples["batten_rows", ()] == found.rows == error.report.rows
    assert error.report.accounts == found.items


def test_a_refused_run_has_the_accounts_of_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    run(make(tmp_path), tmp_path / "other.prom")
    with pytest.raises(batten.RefusedError) as raised:
        run(make(tmp_path, fail), path)
    samples = read(path)
    assert raised.value.report.status == status_of(samples) == "refused"
    compare(samples, tmp_path, raised.value)


def test_a_second_run_leaves_the_file_of_the_run_at_work_alone(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    seen: list[tuple[bytes, bytes]] = []

    def begin_another(n: int) -> Row:
        before = path.read_bytes()
        with pytest.raises(batten.BusyError):
            run(make(tmp_path, begin_another), path)
        seen.append((before, path.read_bytes()))
        return {"n": n}

    run(make(tmp_path, begin_another, items=1), path)
    assert [before for before, _ in seen] == [after for _, after in seen] != []


def test_a_dry_run_writes_none(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    run(make(tmp_path), path, dry_run=True)
    assert not path.exists()


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_other_file(path: Path) -> None:
    path.write_text("mine")


def make_no_folder(path: Path) -> None:
    path.symlink_to(path.parent / "missing" / "batten.prom")


OBSTACLES = [make_folder, make_pipe, make_other_file, make_no_folder]


@pytest.mark.parametrize("place", OBSTACLES)
def test_what_can_not_be_written_is_a_warning(
    tmp_path: Path, place: Callable[[Path], None]
) -> None:
    path = tmp_path / "batten.prom"
    place(path)
    with pytest.warns(RuntimeWarning, match="metrics file .* can't be written") as told:
        report = run(make(tmp_path).options(batch_size=1), path)
    assert report.status == "complete"
    assert len([each for each in told if each.category is RuntimeWarning]) == 1
    if place is make_other_file:
        assert path.read_text() == "mine"


def test_to_look_at_what_is_there_leaves_no_file_open(tmp_path: Path) -> None:
    make_other_file(tmp_path / "other")
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path, tmp_path / "other", tmp_path / "missing"):
        metrics_file.find_obstacle(str(path))
    assert os.listdir("/proc/self/fd") == before


def test_a_file_that_can_be_written_later_is(tmp_path: Path) -> None:
    folder = tmp_path / "later"

    def make_it(n: int) -> Row:
        folder.mkdir(exist_ok=True)
        return {"n": n}

    with pytest.warns(RuntimeWarning, match="its folder is not there"):
        run(make(tmp_path, make_it), folder / "batten.prom")
    assert status_of(read(folder / "batten.prom")) == "complete"


@pytest.mark.parametrize("given", ["", "a\0b", "s3://bucket/batten.prom"])
def test_what_is_no_path_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(batten.UsageError):
        make(tmp_path).run(metrics=given, progress=False)
    assert not (tmp_path / "out").exists()


def test_collectors_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    had = os.umask(0o022)
    try:
        run(make(tmp_path), path)
    finally:
        os.umask(had)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path / "out.batten")
    assert [each for each in os.listdir(tmp_path) if each.startswith(".")] == []


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "ü", "\udcff", "a,b}"])
def test_labels_are_escaped(name: str) -> None:
    metric = Metric(name="batten_rows", help="Rows\nof \\ it.", samples=(({"key": name}, 7),))
    (family,) = text_string_to_metric_families(write_metrics([metric], {"output": name}))
    (sample,) = family.samples
    assert family.documentation == "Rows\nof \\ it."
    assert sample.value == 7
    shown = name.encode(errors="backslashreplace").decode()
    assert sample.labels == {"output": shown, "key": shown}


def ask(n: int) -> Row:
    batten.usage(tokens=10, cost=0.25)
    if n == 1:
        raise ValueError("no 1")
    return {"n": n}


def test_what_calls_used_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "batten.prom"
    report = run(make(tmp_path, ask, items=4), path)
    found = {labels: n for (name, labels), n in read(path).items() if name == "batten_usage_total"}
    assert found == {
        (("unit", unit), ("state", state)): amount * items
        for unit, amount in (("tokens", 10), ("cost", 0.25))
        for state, items in (("kept", 2), ("quarantined", 1))
    }
    assert sum(n for labels, n in found.items() if labels[0][1] == "cost") == float(
        report.usage.total["cost"]
    )
    assert read(path)["batten_lost_calls_total", ()] == 0


HOSTILE = ['a"b', "a\\b", "a\\n\nb", "\u202eevil", "{}=,#", "caf\udce9"]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "batten.prom"
    pipeline = batten.from_range(2).map(do).options(on_error="quarantine")
    run(pipeline.write_parquet(tmp_path / name), path)
    outputs = {
        sample.labels["output"]
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }
    shown = str(tmp_path.resolve() / name).encode(errors="backslashreplace").decode()
    assert outputs == {shown}
