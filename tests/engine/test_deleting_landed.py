"""Landed files are deleted when all that was made of them is complete, and only when asked for."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_landing import FAILURES, KILLS, landing_disturbed
from tests.tracing import needs_tracing

import batten
from batten.cli.main import main
from batten.crashlab.points import MakeFault
from batten.crashlab.sweeping import Trail, disturb
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import CallKind
from batten.errors import BusyError, RefusedError
from batten.inspect.clean import Cleaning, clean_landed
from batten.inspect.paths.output_path import locate_output
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline
from batten.sources.landed_uses import find_uses_folder

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

FILE = 4
"""So many items are in each file."""


def keep(item: int) -> dict[str, int]:
    if item == BAD:
        raise ValueError("bad")
    return {"n": item}


BAD = 97


def land(folder: Path, until: int) -> None:
    batten.land(
        lambda offset: range(offset, until), into=folder / "landed", items_max=FILE, seconds_max=1e9
    )


def job(folder: Path, name: str = "out") -> Pipeline:
    made = batten.from_landed(folder / "landed").map(keep, version="1").options(batch_size=3)
    return made.write_parquet(folder / name)


def run(pipeline: Pipeline, **options: Any) -> Any:
    return pipeline.run(executor="serial", **options)


def clean(folder: Path, *, older_than: float = 0.0, is_dry_run: bool = False) -> Cleaning:
    return clean_landed(
        locate_output(folder / "landed"), older_than_seconds=older_than, is_dry_run=is_dry_run
    )


def files(folder: Path) -> list[int]:
    """The first offsets of those that are there."""
    return sorted(int(path.name[:18]) for path in (folder / "landed").glob("*.jsonl"))


def rows(folder: Path, name: str = "out") -> list[int]:
    return [row["n"] for row in batten.open(folder / name).to_arrow().to_pylist()]


def test_what_is_complete_is_deleted_and_never_landed_again(tmp_path: Path) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    seen = clean(tmp_path, is_dry_run=True)
    assert (len(seen.removed), files(tmp_path)) == (2, [0, 4, 8])
    done = clean(tmp_path)
    assert (len(done.removed), done.kept, done.why_kept) == (2, 1, ())
    assert files(tmp_path) == [8]
    assert run(job(tmp_path)).executed_items == 0
    land(tmp_path, 20)
    assert files(tmp_path) == [8, 12, 16]
    assert run(job(tmp_path)).executed_items == 8
    assert rows(tmp_path) == list(range(20))
    assert len(clean(tmp_path).removed) == 2
    found = batten.diagnose(tmp_path / "landed")
    assert (found.state, found.reason) == (
        "COMPLETE",
        "1 file of landed items, from offset 0 to 19",
    )
    assert found.hints == (
        "4 files up to offset 15 were deleted when all that was made of them was complete",
    )
    assert verify(tmp_path / "landed").is_sound
    assert verify(tmp_path / "out").is_sound
    report = run(job(tmp_path))
    assert (report.executed_items, report.vanished_items) == (0, 0)


def begin_other(folder: Path) -> None:
    run(job(folder, "other"), limit=5)


def set_item_aside(folder: Path) -> None:
    (folder / "landed").rename(folder / "before")
    (folder / "landed.batten").rename(folder / "before.batten")
    values = [BAD if number == 5 else number for number in range(12)]
    batten.land(values, into=folder / "landed", items_max=FILE, seconds_max=1e9)
    run(job(folder, "out2"))


def remove_output(folder: Path) -> None:
    (folder / "out").rename(folder / "away")


def cut_off_output(folder: Path) -> None:
    (folder / "out.batten/COMPLETE").unlink()


@pytest.mark.parametrize(
    ("needs", "left", "told"),
    [
        (lambda folder: None, [8], ""),
        (begin_other, [0, 4, 8], "other: it is INTERRUPTED"),
        (set_item_aside, [4, 8], ""),
        (remove_output, [0, 4, 8], "out: it is INCONSISTENT"),
        (cut_off_output, [0, 4, 8], "out: it is INTERRUPTED"),
        (lambda folder: land(folder, 24), [12, 16, 20], ""),
    ],
    ids=["nothing", "other", "set-aside", "gone", "interrupted", "more"],
)
def test_what_an_output_needs_is_kept(
    needs: Callable[[Path], None], left: list[int], told: str, tmp_path: Path
) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    needs(tmp_path)
    done = clean(tmp_path)
    assert files(tmp_path) == left
    assert told in "".join(done.why_kept)
    assert bool(told) == bool(done.why_kept)


def of_other_items(folder: Path) -> Pipeline:
    items = [{"id": f"{number}"} for number in range(12)]
    made = batten.from_items(items, key="id").map(lambda item: {"n": 1}, version="1")
    return made.write_parquet(folder / "out")


def of_other_landing(folder: Path) -> Pipeline:
    (folder / "elsewhere").mkdir(exist_ok=True)
    land(folder / "elsewhere", 12)
    made = batten.from_landed(folder / "elsewhere/landed").map(keep, version="1")
    return made.write_parquet(folder / "out")


def of_later_items(folder: Path) -> Pipeline:
    """By the same code, of what came under the same names, a day later."""
    (note,) = find_uses_folder(folder / "landed").iterdir()
    told = json.loads(note.read_text())
    told["dataset"] = "2026-01-01T00:00:00Z" + told["dataset"][len("2026-01-01T00:00:00Z") :]
    note.write_text(json.dumps(told))
    for name in ("landed", "landed.batten"):
        (folder / name).rename(folder / f"{name}-away")
    land(folder, 12)
    return job(folder)


@pytest.mark.parametrize("make", [of_other_items, of_other_landing, of_later_items])
@pytest.mark.parametrize("is_removed", [True, False])
def test_what_is_made_of_something_else_counts_for_nothing(
    tmp_path: Path, make: Callable[[Path], Pipeline], is_removed: bool
) -> None:
    land(tmp_path, 12)
    run(job(tmp_path), limit=3)
    other = make(tmp_path)
    if is_removed:
        for name in ("out", "out.batten"):
            shutil.rmtree(tmp_path / name)
    assert run(other, fresh=not is_removed).accounts.committed == 12
    if make is of_later_items:
        shutil.rmtree(tmp_path / "landed")
        shutil.rmtree(tmp_path / "landed.batten")
        for name in ("landed", "landed.batten"):
            (tmp_path / f"{name}-away").rename(tmp_path / name)
    for is_dry_run in (True, False):
        done = clean(tmp_path, is_dry_run=is_dry_run)
        assert (done.removed, files(tmp_path)) == ((), [0, 4, 8])
        (why,) = done.why_kept
        assert "its note here is not of the dataset that is there. Run its job again" in why
    (note,) = find_uses_folder(tmp_path / "landed").iterdir()
    assert f"delete {note}" in done.why_kept[0]


def test_a_note_of_an_earlier_batten_is_made_anew_by_the_next_run(tmp_path: Path) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    (note,) = find_uses_folder(tmp_path / "landed").iterdir()
    note.write_text('{"output": "out", "prefix": ""}')
    assert clean(tmp_path).removed == ()
    run(job(tmp_path))
    assert list(find_uses_folder(tmp_path / "landed").iterdir()) == [note]
    assert len(clean(tmp_path).removed) == 2


def test_a_change_that_was_accepted_notes_itself_again(tmp_path: Path) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    changed = batten.from_landed(tmp_path / "landed").map(lambda n: {"n": n}, version="2")
    changed = changed.options(batch_size=3).write_parquet(tmp_path / "out")
    run(changed, accept_change=True)
    assert len(clean(tmp_path).removed) == 2


def test_rows_of_a_hand_made_job_are_planned_of_no_landing_that_lacks_items(tmp_path: Path) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    assert len(clean(tmp_path).removed) == 2
    (tmp_path / "rows.jsonl").write_text('{"offset": "0", "n": 0}\n{"offset": "9", "n": 9}\n')
    (tmp_path / "job.py").write_text(
        "import batten\n"
        "from typing import TypedDict\n"
        "class Row(TypedDict):\n"
        "    n: int\n"
        "def keep(item) -> Row:\n"
        "    return {'n': item}\n"
        "pipeline = batten.from_landed('landed').map(keep).write_parquet('other')\n"
    )
    rows, other, made = (str(tmp_path / name) for name in ("rows.jsonl", "other", "job.py"))
    assert main(["adopt", rows, "--key", "offset", "--into", other, "--job", made]) == 5
    assert len(list(find_uses_folder(tmp_path / "landed").iterdir())) == 1


def test_what_nobody_has_read_is_kept(tmp_path: Path) -> None:
    land(tmp_path, 12)
    assert clean(tmp_path).why_kept == ("no output is noted as made of it",)
    job(tmp_path).run(executor="serial", dry_run=True)
    assert not (tmp_path / "landed.batten/readers").exists()
    run(job(tmp_path))
    assert clean(tmp_path, older_than=3600).removed == ()
    assert files(tmp_path) == [0, 4, 8]


def test_what_was_deleted_can_not_be_read_again(tmp_path: Path) -> None:
    """A new output would lack it, and one that is made anew, too."""
    land(tmp_path, 12)
    run(job(tmp_path))
    clean(tmp_path)
    with pytest.raises(RefusedError, match=r"items 0 to 3 of .* were deleted"):
        run(job(tmp_path, "other"))
    assert not (tmp_path / "other").exists()
    with pytest.raises(RefusedError, match=r"items 0 to 3 of .* were deleted"):
        run(job(tmp_path), fresh=True)


def test_an_output_that_was_made_anew_counts_where_it_is_now(tmp_path: Path) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    run(job(tmp_path), fresh=True)
    assert clean(tmp_path, is_dry_run=True).why_kept == ()
    assert clean(tmp_path).why_kept == ()
    assert files(tmp_path) == [8]
    land(tmp_path, 20)
    run(job(tmp_path))
    assert rows(tmp_path) == list(range(20))


@pytest.mark.parametrize("linked", ["landed", "holder"])
def test_a_use_by_way_of_a_link_is_noted_where_it_lies(tmp_path: Path, linked: str) -> None:
    """Or by the same note as another's, and what one of them needs would be deleted."""
    real = tmp_path / "disk"
    land(real, 12)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        at = tmp_path / name / "data"
        if linked == "holder":
            at.symlink_to(real)
        else:
            at.mkdir()
            (at / "landed").symlink_to(real / "landed")
        made = batten.from_landed(at / "landed").map(keep, version="1").options(batch_size=3)
        run(made.write_parquet(tmp_path / name / "out"), **({"limit": 5} if name == "two" else {}))
    for where in (real, *([tmp_path / "one/data"] if linked == "holder" else [])):
        done = clean(where)
        assert "two/out: it is INTERRUPTED" in "".join(done.why_kept)
        assert files(real) == [0, 4, 8]
    again = batten.from_landed(tmp_path / "two/data/landed").map(keep, version="1")
    run(again.options(batch_size=3).write_parquet(tmp_path / "two/out"))
    assert len(clean(real).removed) == 2
    run(again.options(batch_size=3).write_parquet(tmp_path / "two/out"))


def lose_note(folder: Path) -> str:
    (note,) = (folder / "landed.batten/readers").iterdir()
    note.unlink()
    return "out"


def move_output(folder: Path) -> str:
    (folder / "out").rename(folder / "moved")
    (folder / "out.batten").rename(folder / "moved.batten")
    return "moved"


@pytest.mark.parametrize("change", [lose_note, move_output])
def test_an_output_that_has_begun_goes_on_and_notes_itself_again(
    tmp_path: Path, change: Callable[[Path], str]
) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    assert len(clean(tmp_path).removed) == 2
    land(tmp_path, 16)
    name = change(tmp_path)
    run(job(tmp_path, name))
    assert rows(tmp_path, name) == list(range(16))
    told = [
        json.loads(note.read_bytes()) for note in (tmp_path / "landed.batten/readers").iterdir()
    ]
    assert name in [each["output"] for each in told]


def test_nothing_is_deleted_while_a_run_is_at_work(tmp_path: Path) -> None:
    land(tmp_path, 12)
    seen: list[Cleaning] = []

    def look(item: int) -> dict[str, int]:
        if not seen:
            seen.append(clean(tmp_path))
        return keep(item)

    made = batten.from_landed(tmp_path / "landed").map(look, version="1")
    run(made.write_parquet(tmp_path / "out"))
    assert seen[0].removed == ()
    assert "out" in seen[0].why_kept[0]

    def stream() -> Any:
        with pytest.raises(BusyError):
            clean(tmp_path)
        yield from range(12, 16)

    batten.land(stream(), into=tmp_path / "landed")
    assert files(tmp_path) == [0, 4, 8, 12]


def test_an_output_that_begins_meanwhile_keeps_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(tmp_path, 12)
    run(job(tmp_path))
    from batten.inspect.kinds import deleting_landed

    found = deleting_landed._find_done

    def begin(*given: Any, **options: Any) -> Any:
        done = found(*given, **options)
        begin_other(tmp_path)
        return done

    monkeypatch.setattr(deleting_landed, "_find_done", begin)
    done = clean(tmp_path)
    assert done.why_kept == ("another output has begun to read there",)
    monkeypatch.undo()
    run(job(tmp_path, "other"))
    assert rows(tmp_path, "other") == list(range(12))


def test_the_command_deletes_when_asked(job: Folder) -> None:
    land(job.path, 12)
    job.write(
        """
        def keep(item):
            return {"n": item}
        pipeline = batten.from_landed("landed/").map(keep).write_parquet("out")
        """
    )
    assert job.run().code == 0
    assert job.batten("clean", "landed").code == 0
    assert files(job.path) == [0, 4, 8]
    told = job.batten("clean", "--landed", "landed")
    assert "removed 2 files of landed items" in told.out
    assert files(job.path) == [8]
    told = job.batten("clean", "--landed", "landed", "--json")
    assert (told.json["removed"], told.json["kept"], told.json["why_kept"]) == ([], 1, [])
    assert job.batten("clean", "--landed", "out").code == 5
    (job.path / "out").rename(job.path / "away")
    (job.path / "out.batten").rename(job.path / "away.batten")
    land(job.path, 20)
    told = job.batten("clean", "--landed", "landed")
    note = told.out.rpartition("delete ")[2].strip()
    (job.path / note).unlink()
    assert "no output is noted" in job.batten("clean", "--landed", "landed").out


PROGRAM = """
import sys
from batten.cli.main import main
sys.exit(main(["clean", "--landed", "landed"]))
"""


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clean.py").write_text(PROGRAM)
    land(folder, 12)
    run(job(folder))


def check_always(folder: Path, trail: Trail) -> None:
    """Each offset is in a file or in a record, and the job has all it had."""
    names = [path.name for path in (folder / "landed").iterdir()]
    assert {name[:18] for name in names} >= {f"{first:018}" for first in (0, 4, 8)}
    for name in names:
        if name.endswith(".deleted"):
            told = json.loads((folder / "landed" / name).read_text().splitlines()[0])
            assert told["offsets"] == list(range(int(name[:18]), int(name[:18]) + FILE))


def check_done(folder: Path, trail: Trail) -> None:
    """It is looked at after each run that ended well."""
    assert len(files(folder)) == 1
    land(folder, 16)
    run(job(folder))
    assert rows(folder) == list(range(16))


@needs_tracing
def test_a_note_that_is_there_is_made_durable_too(tmp_path: Path) -> None:
    """Whoever wrote it may have been killed before its name was."""
    prepare(tmp_path)
    readers = tmp_path / "landed.batten" / "readers"
    assert list(readers.iterdir())
    (tmp_path / "again.py").write_text(
        "from pathlib import Path\n"
        "from batten.sources.landed_uses import list_uses, note_use\n"
        "landed = Path('landed').absolute()\n"
        "note_use(landed, list_uses(landed)[0])\n"
    )
    ran = run_traced([sys.executable, "again.py"], folders=[readers], working_folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert [call.path for call in ran.calls if call.kind is CallKind.SYNC] == [str(readers)]


@needs_tracing
@pytest.mark.parametrize("faults", [KILLS, FAILURES], ids=["kills", "failures"])
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash)])
def test_a_deletion_is_disturbed_at_any_call(
    sample: int | None, faults: list[MakeFault], tmp_path: Path, seeded: random.Random
) -> None:
    experiment = landing_disturbed(
        "clean.py", prepare=prepare, check=check_done, check_always=check_always
    )
    disturb(experiment, tmp_path, seeded=seeded, faults=faults, sample=sample)


def job_of(folder: Path, landed: str) -> Pipeline:
    made = batten.from_landed(folder / landed).map(keep, version="1").options(batch_size=3)
    return made.write_parquet(folder / "out")


def test_no_dataset_goes_on_with_another_landing(tmp_path: Path) -> None:
    """Its offsets are the same numbers, and would count as done."""
    land(tmp_path, 6)
    batten.land(range(100, 108), into=tmp_path / "others")
    run(job_of(tmp_path, "landed"))
    for _ in range(2):
        with pytest.raises(RefusedError, match="The landing can't change within one dataset"):
            run(job_of(tmp_path, "others"), accept_change=True)
    assert rows(tmp_path) == list(range(6))
    assert not find_uses_folder(tmp_path / "others").exists()


def test_a_landing_that_was_moved_is_the_same(tmp_path: Path) -> None:
    land(tmp_path, 6)
    made = batten.from_landed(tmp_path / "landed").map(keep, version="0").options(batch_size=3)
    run(made.write_parquet(tmp_path / "out"))
    run(job_of(tmp_path, "landed"), accept_change=True)
    (tmp_path / "far").mkdir()
    for name in ("landed", "landed.batten"):
        (tmp_path / name).rename(tmp_path / "far" / name)
    land(tmp_path / "far", 12)
    with pytest.raises(RefusedError, match="other code or settings"):
        run(job_of(tmp_path, "far/landed"))
    run(job_of(tmp_path, "far/landed"), accept_change=True)
    assert rows(tmp_path) == list(range(12))
