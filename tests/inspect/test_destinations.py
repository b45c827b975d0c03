"""Destinations on this machine are looked at: what is gone, or lacks what it was given, is told."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import deltalake
import pytest
from pyiceberg.catalog import load_catalog

import batten
from batten.cli.main import main
from batten.inspect.clean import clean_output
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import recover_output
from batten.inspect.verifying.verify import verify
from batten.lookup.look_at_destination import look_at_destination
from batten.lookup.look_at_tree import JOURNALS_MAX
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.names import Layout
from batten.model.disk.records import decode_record, encode_record
from batten.model.rules.findings import Code
from batten.pipeline.pipeline import Pipeline
from batten.storage.twin.memory import MemoryStorage


def square(number: int) -> dict[str, int]:
    return {"square": number * number}


def put(change: batten.Transaction, number: int, prepared: dict[str, int]) -> None:
    change.write(f"{number}/square", str(prepared["square"]))
    change.write("last", str(number))


def catalogue(folder: Path) -> dict[str, str]:
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalogue.db",
        "warehouse": f"file://{folder}/warehouse",
    }


MADE: dict[str, Callable[[Path, Pipeline], Pipeline]] = {
    "sqlite": lambda folder, made: made.write_sqlite(folder / "out", "rows"),
    "delta": lambda folder, made: made.write_delta(folder / "out"),
    "iceberg": lambda folder, made: made.write_iceberg(
        "lab.rows", catalog=catalogue(folder), ledger=folder / "out"
    ),
    "tree": lambda folder, made: made.options(batch_size=1).write_tree(folder / "out", commit=put),
}


def make(kind: str, folder: Path) -> Pipeline:
    made = batten.from_range(9).map(square, version="1").options(batch_size=3)
    pipeline = MADE[kind](folder, made)
    pipeline.run(executor="serial")
    return pipeline


def ask(folder: Path, query: str) -> None:
    with closing(sqlite3.connect(folder / "out")) as base, base:
        base.execute(query)


def drop_iceberg(folder: Path) -> None:
    opened = load_catalog("default", **catalogue(folder))
    opened.drop_table("lab.rows")
    opened.close()


def delete_iceberg(folder: Path) -> None:
    opened = load_catalog("default", **catalogue(folder))
    opened.load_table("lab.rows").delete("key < 2")
    opened.close()


def remove(*names: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        for name in names:
            for path in folder.glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return do


def special(folder: Path) -> None:
    (folder / "out").unlink()
    os.mkfifo(folder / "out")


def special_entry(folder: Path) -> None:
    entry = folder / "out" / "_delta_log" / f"{1:020}.json"
    entry.unlink()
    os.mkfifo(entry)


def tear(folder: Path) -> None:
    entry = folder / "out" / "_delta_log" / f"{1:020}.json"
    entry.write_bytes(entry.read_bytes()[:40])


HARMS: list[tuple[str, Callable[[Path], None], str]] = [
    ("sqlite", remove("out"), "out is gone"),
    ("sqlite", lambda folder: (folder / "out").write_bytes(b"") and None, "out is empty"),
    ("sqlite", lambda folder: (folder / "out").write_text("no" * 900) and None, "can't be read"),
    ("sqlite", special, "out is no file"),
    ("sqlite", lambda folder: ask(folder, "DROP TABLE rows"), "the table is gone"),
    ("sqlite", lambda folder: ask(folder, "DELETE FROM rows WHERE key < 2"), "has 7 rows"),
    (
        "sqlite",
        lambda folder: ask(folder, "DELETE FROM batten_tokens WHERE batch = 1"),
        "batch that it was given: 1",
    ),
    ("sqlite", lambda folder: ask(folder, "DROP TABLE batten_tokens"), "no token of 3 batches"),
    ("delta", remove("out"), "the folder of the table is gone"),
    ("delta", remove("out/_delta_log"), "the log of the table is gone"),
    ("delta", special_entry, "1.json of its log can't be read"),
    ("delta", tear, "1.json of its log can't be read"),
    ("delta", remove("out/part-000001*"), "1 file of it is gone, part-000001"),
    ("delta", remove("out/_delta_log/*3.json"), "no token of 1 batch"),
    ("iceberg", remove("catalogue.db"), "catalogue.db is gone"),
    ("iceberg", remove("warehouse"), "the metadata of the table is gone"),
    ("iceberg", drop_iceberg, "gone from the catalogue"),
    ("iceberg", delete_iceberg, "7 of the 9 rows"),
    ("tree", remove("out"), "the folder is gone"),
    ("tree", remove("out/3/square"), "3/square, which items put there, is gone"),
    (
        "tree",
        remove("out/last", "out/5"),
        "5/square, which items put there, is gone (and 1 more file)",
    ),
]


@pytest.mark.parametrize(("kind", "harm", "told"), HARMS)
def test_what_is_gone_is_told(
    kind: str, harm: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    make(kind, tmp_path)
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"
    assert verify(tmp_path / "out").is_sound
    harm(tmp_path)
    found = batten.diagnose(tmp_path / "out")
    assert (found.state, found.exit_code) == ("INCONSISTENT", 4), found
    assert told in found.reason
    assert "have all of it given again" in found.next
    assert not verify(tmp_path / "out").is_sound


@pytest.mark.parametrize(
    ("kind", "harm"),
    [("sqlite", remove("out")), ("delta", remove("out")), ("iceberg", drop_iceberg)],
)
def test_what_is_advised_gives_all_of_it_again_once(
    kind: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    pipeline = make(kind, tmp_path)
    harm(tmp_path)
    with pytest.raises(batten.InconsistentError):
        pipeline.run(executor="serial")
    for record in (tmp_path / "out.batten" / "deliveries").iterdir():
        record.rename(tmp_path / "moved")
    for _ in range(2):
        assert pipeline.run(executor="serial").executed_items == 0
        assert batten.diagnose(tmp_path / "out").state == "COMPLETE"
        assert verify(tmp_path / "out").is_sound


def test_rows_and_files_of_others_are_no_fault_and_nothing_is_made(tmp_path: Path) -> None:
    make("sqlite", tmp_path)
    ask(tmp_path, "INSERT INTO rows VALUES (99, 99)")
    ask(tmp_path, "CREATE TABLE others (x)")
    ask(tmp_path, "PRAGMA journal_mode = WAL")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"
    assert verify(tmp_path / "out").is_sound
    assert before == sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.iterdir())


def test_a_database_that_somebody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    make("sqlite", tmp_path)
    with closing(sqlite3.connect(tmp_path / "out", isolation_level=None)) as base:
        base.execute("BEGIN EXCLUSIVE")
        base.execute("DELETE FROM rows")
        assert batten.diagnose(tmp_path / "out").state == "COMPLETE"
        base.execute("ROLLBACK")


def test_rows_that_take_the_place_of_others_are_not_counted(tmp_path: Path) -> None:
    made = batten.from_range(9).map(lambda n: {"place": n % 2}, version="1")
    made.write_sqlite(tmp_path / "out", "rows", key="place").run(executor="serial")
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"


def test_a_record_of_0_1_tells_less(tmp_path: Path) -> None:
    make("sqlite", tmp_path)
    (record,) = (tmp_path / Layout("out").deliveries).iterdir()
    values = vars(decode_record(Delivery, record.read_bytes()))
    old = Delivery(**{**values, "dataset": "", "adds_rows": False})
    record.write_bytes(encode_record(old))
    ask(tmp_path, "DELETE FROM rows WHERE key < 2")
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"
    ask(tmp_path, "DROP TABLE rows")
    assert batten.diagnose(tmp_path / "out").state == "INCONSISTENT"


@pytest.mark.parametrize("should_recompute", [False, True])
def test_recover_does_not_call_complete_what_is_gone(
    should_recompute: bool, tmp_path: Path
) -> None:
    make("sqlite", tmp_path)
    ask(tmp_path, "DROP TABLE rows")
    place = locate_output(tmp_path / "out")
    with pytest.raises(batten.InconsistentError, match="the table is gone"):
        recover_output(place, should_recompute=should_recompute, is_dry_run=False)
    cleaning = clean_output(place, older_than_seconds=0, is_dry_run=False)
    assert cleaning.diagnosis.state == "INCONSISTENT"


def test_a_run_does_not_call_complete_what_lacks_rows(tmp_path: Path) -> None:
    """There is nothing to do for it, and yet the table does not hold what it was given."""
    make("sqlite", tmp_path)
    ask(tmp_path, "DELETE FROM rows WHERE key < 2")
    with pytest.raises(batten.InconsistentError, match="has 7 rows"):
        make("sqlite", tmp_path)


def write(name: str, data: bytes) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (path,) = folder.glob(name)
        path.write_bytes(data)

    return do


def damage_page(folder: Path) -> None:
    path = folder / "out"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\x7f" * (len(data) - 4096)
    path.write_bytes(data)


def replace_by_folder(name: str) -> Callable[[Path], None]:
    def do(folder: Path) -> None:
        (path,) = folder.glob(name)
        path.unlink()
        path.mkdir()

    return do


DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    ("sqlite", damage_page),
    ("delta", write("out/_delta_log/*1.json", b"{no")),
    ("delta", write("out/_delta_log/*1.json", b"[]\n")),
    ("delta", replace_by_folder("out/_delta_log/*1.json")),
]


@pytest.mark.parametrize(("kind", "harm"), DAMAGES)
def test_what_can_not_be_looked_at_is_damage(
    kind: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    make(kind, tmp_path)
    harm(tmp_path)
    found = batten.diagnose(tmp_path / "out")
    assert (found.state in ("CORRUPT", "INCONSISTENT"), found.exit_code) == (True, 4), found
    assert not verify(tmp_path / "out").is_sound


def test_a_journal_of_a_tree_that_can_not_be_read_is_damage(tmp_path: Path) -> None:
    make("tree", tmp_path)
    next((tmp_path / "out.batten/tree/tokens").iterdir()).write_bytes(b"{no")
    assert batten.diagnose(tmp_path / "out").state == "CORRUPT"


def test_an_error_of_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("delta", tmp_path)
    real = os.stat

    def fail(path: str, *args: object, **more: object) -> os.stat_result:
        if "part-000001" in str(path):
            raise OSError(5, "Input/output error")
        return real(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", fail)
    found = batten.diagnose(tmp_path / "out")
    (why,) = found.unseen.values()
    assert why == "can't be looked at: the disk reported a read or write error"
    assert (found.state, found.exit_code) == ("COMPLETE", 0)


FORBIDDEN: list[tuple[str, str, bool]] = [
    ("sqlite", "there/out", True),
    ("sqlite", "there", True),
    ("delta", "there/out", True),
    ("delta", "there", True),
    ("delta", "there/out/_delta_log", True),
    ("delta", f"there/out/_delta_log/{1:020}.json", True),
    ("iceberg", "catalogue.db", True),
    ("iceberg", "warehouse", True),
    ("iceberg", "warehouse/lab/rows/metadata", True),
    ("tree", "there/out", True),
    ("csv", "there", True),
    ("csv", "there/out", False),
]


@pytest.mark.parametrize(("kind", "forbidden", "in_passing"), FORBIDDEN)
def test_what_this_user_may_not_read_is_told_and_the_state_stays(
    kind: str, forbidden: str, in_passing: bool, tmp_path: Path, without_permission: Any
) -> None:
    (tmp_path / "there").mkdir()
    made = batten.from_range(9).map(square, version="1").options(batch_size=3)
    made = {
        "sqlite": lambda: made.write_parquet(tmp_path / "out").write_sqlite(
            tmp_path / "there/out", "rows"
        ),
        "delta": lambda: made.write_parquet(tmp_path / "out").write_delta(tmp_path / "there/out"),
        "csv": lambda: made.write_parquet(tmp_path / "out").write_csv(tmp_path / "there/out"),
        "tree": lambda: made.options(batch_size=1).write_tree(tmp_path / "there/out", commit=put),
        "iceberg": lambda: MADE["iceberg"](tmp_path, made),
    }[kind]()
    made.run(executor="serial")
    output = tmp_path / ("there/out" if kind == "tree" else "out")
    assert verify(output).diagnosis.unseen == {}
    with without_permission(tmp_path / forbidden):
        found = batten.diagnose(output)
        looked = verify(output)
    assert (found.state, found.exit_code) == ("COMPLETE", 0), found
    told = "can't be looked at: permission is missing"
    assert list(found.unseen.values()) == ([told] if in_passing else [])
    assert looked.is_sound, looked.damage
    assert list(looked.diagnosis.unseen.values()) == [told]


CHANGES: list[tuple[Callable[[Path], object], str, bool]] = [
    (write("out/3/square", b"99"), "3/square, which items put there, has 2 bytes", True),
    (write("out/3/square", b"8"), "", False),
    (write("out/last", b"0"), "", False),
    (replace_by_folder("out/3/square"), "3/square, which items put there, is a folder", True),
]


@pytest.mark.parametrize(("harm", "told", "is_told_in_passing"), CHANGES)
def test_a_file_of_a_tree_that_was_changed_by_hand_is_told(
    harm: Callable[[Path], object], told: str, is_told_in_passing: bool, tmp_path: Path
) -> None:
    make("tree", tmp_path)
    harm(tmp_path)
    found = batten.diagnose(tmp_path / "out")
    assert (found.state == "INCONSISTENT") is is_told_in_passing
    assert told in found.reason
    (damage,) = verify(tmp_path / "out").damage
    assert "which items put there" in damage.evidence


def test_what_later_changes_left_is_what_a_tree_is_to_hold(tmp_path: Path) -> None:
    make("tree", tmp_path)
    root = tmp_path / "out"
    (root / "mine").write_text("foreign")
    (tmp_path / "given").write_text("from elsewhere")
    with batten.transaction(root) as change:
        change.write("1/square", "other")
        change.delete("2/square")
        change.move("3/square", "moved")
        change.replace("4/square", tmp_path / "given")
        change.protect("5/square").write_text("changed in place")
    with batten.transaction(root) as change:
        change.write("1/square", "again")
    with batten.transaction(root) as change:
        change.write("new", "not an item's")
    (root / "mine").write_text("changed")
    (root / "new").unlink()
    assert batten.diagnose(root).state == "COMPLETE"
    assert verify(root).is_sound
    (root / "1/square").write_text("hands")
    (damage,) = verify(root).damage
    assert "1/square" in damage.evidence


def test_the_way_to_a_destination_is_not_known_from_a_ledger_in_no_folder(tmp_path: Path) -> None:
    make("sqlite", tmp_path)
    record = next((tmp_path / "out.batten/deliveries").iterdir())
    given = decode_record(Delivery, record.read_bytes())
    (found,) = look_at_destination(MemoryStorage(), given, is_thorough=True, is_closed=True)
    assert found.code is Code.NOT_LOOKED_AT


def test_a_tree_of_many_changes_is_not_looked_at_in_passing(tmp_path: Path) -> None:
    make("tree", tmp_path)
    tokens = tmp_path / "out.batten/tree/tokens"
    journal = next(tokens.iterdir()).read_bytes()
    for number in range(JOURNALS_MAX):
        (tokens / f"{number:064x}").write_bytes(journal)
    (tmp_path / "out/3/square").unlink()
    found = batten.diagnose(tmp_path / "out")
    assert found.state == "COMPLETE"
    (why,) = found.unseen.values()
    assert "which only verify reads" in why
    (damage,) = verify(tmp_path / "out").damage
    assert "3/square" in damage.evidence


def test_a_tree_of_0_1_is_known_by_what_is_there(tmp_path: Path) -> None:
    make("tree", tmp_path)
    for path in (tmp_path / "out.batten/tree/tokens").iterdir():
        old = json.loads(path.read_bytes())
        del old["protected"], old["checksum"]
        old["time"] = "2026-01-01T00:00:00Z"
        for each in old["operations"]:
            del each["digest"]
        data = json.dumps(old).encode()
        end = hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data[:-1] + f', "checksum": "{end}"}}\n'.encode())
    assert verify(tmp_path / "out").is_sound
    write("out/3/square", b"8")(tmp_path)
    assert verify(tmp_path / "out").is_sound
    (tmp_path / "out/3/square").unlink()
    assert not verify(tmp_path / "out").is_sound


def checkpoint(folder: Path) -> None:
    deltalake.DeltaTable(folder / "out").create_checkpoint()
    for path in (folder / "out/_delta_log").glob("*.json"):
        path.unlink()


def test_a_checkpoint_of_a_delta_table_is_read_by_verify(tmp_path: Path) -> None:
    make("delta", tmp_path)
    checkpoint(tmp_path)
    assert verify(tmp_path / "out").is_sound
    remove("out/part-000001*")(tmp_path)
    (damage,) = verify(tmp_path / "out").damage
    assert "1 file of it is gone, part-000001" in damage.evidence


def test_a_damaged_checkpoint_is_told_by_verify(tmp_path: Path) -> None:
    make("delta", tmp_path)
    checkpoint(tmp_path)
    write("out/_delta_log/*.checkpoint.parquet", b"PAR1no")(tmp_path)
    (damage,) = verify(tmp_path / "out").damage
    assert damage.code.value == "unreadable-destination"


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (remove("warehouse/lab/rows/data/*1-*.parquet"), "lacking-rows"),
        (remove("warehouse/lab/rows/metadata/snap-*.avro"), "lacking-rows"),
        (remove("warehouse/lab/rows/metadata/*-m0.avro"), "lacking-rows"),
    ],
)
def test_files_of_an_iceberg_table_are_looked_for(
    harm: Callable[[Path], None], code: str, tmp_path: Path
) -> None:
    make("iceberg", tmp_path)
    harm(tmp_path)
    (damage,) = verify(tmp_path / "out").damage
    assert damage.code.value in (code, "unreadable-destination")


@pytest.mark.parametrize("kind", list(MADE))
def test_verify_says_of_each_destination_what_was_done(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that lies here is looked at in any case; `--ask` is for others, and adds nothing."""
    make(kind, tmp_path)
    monkeypatch.chdir(tmp_path)
    for words in (["verify", "out"], ["verify", "--ask", "out"], ["verify", "--quick", "out"]):
        assert main(words) == 0
        (line,) = [each for each in capsys.readouterr().out.splitlines() if " has " in each]
        assert line.endswith("9 rows of 9 batches" if kind == "tree" else "9 rows of 3 batches")
    assert main(["verify", "--ask", "--json", "out"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["destinations"]
    assert (told["asked"], told["unseen"]) == (True, None)


def test_a_catalogue_that_batten_can_not_ask_is_told(tmp_path: Path) -> None:
    make("iceberg", tmp_path)
    (record,) = (tmp_path / Layout("out").deliveries).iterdir()
    values = vars(decode_record(Delivery, record.read_bytes()))
    there = "table lab.rows of catalogue default at db.example.org"
    record.write_bytes(encode_record(Delivery(**{**values, "target": there})))
    assert batten.diagnose(tmp_path / "out").unseen == {there: "not asked"}
    asked = verify(tmp_path / "out", should_ask=True)
    assert asked.is_sound
    assert "batten asks PostgreSQL and Kafka" in asked.diagnosis.unseen[there]


GIVES = """
import batten
source = batten.from_range({items}){step}.map(lambda n: {{"n": n}})
pipeline = source.options(batch_size=2){sinks}
"""
TABLE = '.write_sqlite("out", "t")'
BOTH = '.write_parquet("out").write_sqlite("out.db", "t")'
FILES = '.write_parquet("out").write_csv("rows.csv")'


def forget_deliveries(job: Any) -> None:
    for record in (job.path / "out.batten" / "deliveries").iterdir():
        if "csv" not in record.name:
            record.unlink()


def count_in(database: Path) -> int:
    with closing(sqlite3.connect(database)) as base:
        count: int = base.execute("SELECT count(*) FROM t").fetchone()[0]
    return count


@pytest.mark.parametrize("sinks", [TABLE, BOTH])
@pytest.mark.parametrize("is_emptied", [True, False])
def test_a_record_that_was_moved_away(job: Any, sinks: str, is_emptied: bool) -> None:
    """As it is advised for a table that lost what it had: then it is to be given all again."""
    (job.path / "job.py").write_text(GIVES.format(items=6, step="", sinks=sinks))
    assert job.run("--quiet").code == 0
    database = job.path / ("out" if sinks is TABLE else "out.db")
    if is_emptied:
        with closing(sqlite3.connect(database)) as base, base:
            base.execute("DELETE FROM t")
            base.execute("DELETE FROM batten_tokens")
    forget_deliveries(job)
    found = batten.diagnose(job.path / "out")
    assert found.state == "INTERRUPTED"
    assert "what it was given is recorded no more" in found.reason
    assert job.run("--quiet").code == 0
    assert batten.diagnose(job.path / "out").state == "COMPLETE"
    assert count_in(database) == 6


def test_a_file_beside_parts_whose_record_was_moved_away(job: Any) -> None:
    (job.path / "job.py").write_text(GIVES.format(items=6, step="", sinks=FILES))
    assert job.run("--quiet").code == 0
    (record,) = (job.path / "out.batten" / "deliveries").iterdir()
    record.unlink()
    found = batten.diagnose(job.path / "out")
    assert (found.state, found.findings[0].code.value) == ("INCONSISTENT", "lost-delivery")
    (job.path / "rows.csv").unlink()
    assert batten.diagnose(job.path / "out").state == "INTERRUPTED"
    assert job.run("--quiet").code == 0
    assert batten.diagnose(job.path / "out").state == "COMPLETE"


@pytest.mark.parametrize(("items", "step"), [(0, ""), (6, ".filter(lambda n: False)")])
@pytest.mark.parametrize("sinks", [TABLE, BOTH])
def test_a_table_that_was_given_nothing_is_complete(
    job: Any, items: int, step: str, sinks: str
) -> None:
    (job.path / "job.py").write_text(GIVES.format(items=items, step=step, sinks=sinks))
    assert job.run("--quiet").code == 0
    assert batten.diagnose(job.path / "out").state == "COMPLETE"
    forget_deliveries(job)
    assert batten.diagnose(job.path / "out").state == "COMPLETE"


def test_a_destination_that_is_the_jobs_no_more(job: Any) -> None:
    (job.path / "job.py").write_text(GIVES.format(items=6, step="", sinks=BOTH))
    assert job.run("--quiet").code == 0
    forget_deliveries(job)
    only = BOTH.partition(".write_sqlite")[0]
    (job.path / "job.py").write_text(GIVES.format(items=6, step="", sinks=only))
    assert batten.diagnose(job.path / "out").state == "INTERRUPTED"
    assert job.run("--quiet").code == 0
    assert batten.diagnose(job.path / "out").state == "COMPLETE"


def test_what_is_not_batten_s_among_the_records_is_a_warning(tmp_path: Path) -> None:
    make("sqlite", tmp_path)
    (folder,) = tmp_path.glob("*/deliveries")
    (folder / "notes.txt").write_text("mine")
    (folder / "copies").mkdir()
    found = batten.diagnose(tmp_path / "out")
    assert (found.state, found.exit_code) == ("COMPLETE", 0)
    told = [(each.code.value, Path(each.path).name) for each in found.findings]
    assert told == [("foreign-file", "copies"), ("foreign-file", "notes.txt")]
    assert make("sqlite", tmp_path)
    assert (folder / "notes.txt").read_text() == "mine"

    # A record's own name is the record's.
    (record,) = folder.glob("sqlite-*.json")
    record.rename(folder / "moved")
    record.symlink_to(folder / "moved")
    assert batten.diagnose(tmp_path / "out").state == "CORRUPT"


def delete_delta(folder: Path) -> None:
    deltalake.DeltaTable(folder / "out").delete("key < 2")


@pytest.mark.parametrize(
    ("kind", "harm", "told"),
    [
        ("sqlite", lambda folder: ask(folder, "DELETE FROM rows WHERE key < 2"), "0 (batch 0), 1"),
        ("sqlite", lambda folder: ask(folder, "DELETE FROM rows"), "4 (batch 1) and 4 more items"),
        ("delta", delete_delta, "0 (batch 0), 1 (batch 0)"),
        ("iceberg", delete_iceberg, "0 (batch 0), 1 (batch 0)"),
    ],
)
def test_verify_names_the_items_whose_rows_are_lacking(
    kind: str, harm: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    make(kind, tmp_path)
    harm(tmp_path)
    (damage,) = verify(tmp_path / "out").damage
    assert "; missing: 0 (batch 0)" in damage.evidence
    assert told in damage.evidence
    assert "missing" not in verify(tmp_path / "out", is_quick=True).damage[0].evidence
