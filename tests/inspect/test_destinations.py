"""Destinations on this machine are looked at: what is gone, or lacks what it was given, is told."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pyiceberg.catalog import load_catalog

import batten
from batten.engine.pipeline import Pipeline
from batten.inspect.clean import clean_output
from batten.inspect.place import locate_output
from batten.inspect.recover import recover_output
from batten.inspect.verify import verify
from batten.model.names import Layout
from batten.model.records import Delivery, decode_record, encode_record


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
    ("sqlite", lambda folder: ask(folder, "DELETE FROM batten_tokens WHERE batch = 1"), "of 2"),
    ("sqlite", lambda folder: ask(folder, "DROP TABLE batten_tokens"), "tokens of 0"),
    ("delta", remove("out"), "the folder of the table is gone"),
    ("delta", remove("out/_delta_log"), "the log of the table is gone"),
    ("delta", special_entry, "1.json of its log can't be read"),
    ("delta", tear, "1.json of its log can't be read"),
    ("delta", remove("out/part-000001*"), "1 file of it is gone, part-000001"),
    ("delta", remove("out/_delta_log/*3.json"), "tokens of 2"),
    ("iceberg", remove("catalogue.db"), "catalogue.db is gone"),
    ("iceberg", remove("warehouse"), "the metadata of the table is gone"),
    ("iceberg", drop_iceberg, "gone from the catalogue"),
    ("iceberg", delete_iceberg, "has 7 rows"),
    ("tree", remove("out"), "the folder is gone"),
    ("tree", remove("out/3/square"), "3/square, which items put there, is gone"),
    ("tree", remove("out/last", "out/5"), "5/square and 1 more file"),
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
