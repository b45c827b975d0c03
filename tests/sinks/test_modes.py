"""How tables take rows: added, merged by key, or in the place of all, or of those of one run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import deltalake
import pytest
from pyiceberg.catalog import load_catalog

import batten
from batten.crashlab.servers.relay import Mishap, Relay
from batten.errors import RefusedError, StorageError, UsageError
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline
from batten.run.report import Report

if TYPE_CHECKING:
    from conftest import Lab, Server

Row = dict[str, Any]

postgres = pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
NO_WORK: dict[str, Any] = {"executor": "serial"}


def name(number: int) -> Row:
    return {"name": f"n{number}"}


def again(number: int) -> Row:
    return {"name": f"again {number}"}


def job(lab: Lab, items: Sequence[int], ledger: str = "rows", **options: Any) -> Pipeline:
    made = batten.from_items(items, key=str, removed="drop").map(options.pop("function", name))
    written = lab.write(made.options(batch_size=2), **options)
    return replace(written, output=lab.folder / ledger)


def run(lab: Lab, items: Sequence[int], ledger: str = "rows", **options: Any) -> Report:
    fresh = {"fresh": options.pop("fresh", False)}
    return job(lab, items, ledger, **options).run(**NO_WORK, **fresh)


def names(lab: Lab) -> list[str]:
    return [row["name"] for row in lab.read()]


def test_all_that_a_table_holds_is_replaced(lab: Lab) -> None:
    assert run(lab, range(5), mode="replace").status == "complete"
    assert names(lab) == [f"n{number}" for number in range(5)]
    assert run(lab, range(5), mode="replace").status == "nothing-to-do"
    run(lab, [4, 2], mode="replace")
    assert names(lab) == ["n2", "n4"]
    run(lab, range(3), mode="replace", function=again, fresh=True)
    assert names(lab) == ["again 0", "again 1", "again 2"]
    found = batten.diagnose(lab.folder / "rows")
    assert (found.state, found.findings) == ("COMPLETE", ())
    assert run(lab, range(3), mode="replace", function=again).status == "nothing-to-do"


def test_a_table_that_was_emptied_is_filled_again(lab: Lab) -> None:
    run(lab, range(5), mode="replace")
    lab.drop()
    lab.forget() if lab.kind in ("sqlite", "postgres") else None
    run(lab, range(5), mode="replace")
    assert names(lab) == [f"n{number}" for number in range(5)]


def test_rows_of_others_are_not_replaced(lab: Lab) -> None:
    run(lab, [1], "others", dataset="others")
    before = lab.read()
    with pytest.raises(RefusedError, match="holds rows of 'others'") as refused:
        run(lab, [2], mode="replace", dataset="mine")
    assert "where=" in refused.value.next
    assert lab.read() == before


def test_rows_that_nobody_tells_of_are_not_replaced(lab: Lab) -> None:
    lab.make("key text, name text" if lab.kind in ("sqlite", "postgres") else "key, name")
    lab.insert(7, "theirs") if lab.kind in ("sqlite", "postgres") else lab.append(
        [{"key": 7, "name": "theirs"}]
    )
    made = batten.from_range(2).map(name)
    written = lab.write(made, mode="replace")
    with pytest.raises(RefusedError, match="that this job did not put there"):
        written.run(**NO_WORK)
    assert names(lab) == ["theirs"]


def test_the_last_of_several_runs_of_one_name_is_there(lab: Lab) -> None:
    for number in range(2):
        run(lab, [number], f"run{number}", mode="replace", dataset="latest")
    assert names(lab) == ["n1"]


def of_day(day: str) -> dict[str, Any]:
    return {"mode": "replace", "where": {"day": day}}


def test_the_rows_of_one_run_are_replaced(lab: Lab) -> None:
    for day in ("1", "2"):
        run(lab, range(4), f"day{day}", **of_day(day))
    run(lab, range(2), "day1", **of_day("1"), function=again, fresh=True)
    found = [(row["day"], row["name"]) for row in lab.read()]
    assert sorted(found) == [
        *[("1", "again 0"), ("1", "again 1")],
        *[("2", f"n{number}") for number in range(4)],
    ]
    for day in ("1", "2"):
        assert batten.diagnose(lab.folder / f"day{day}").state == "COMPLETE"


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
def test_rows_of_one_run_that_go_are_missed_though_others_stay(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lab.kind == "postgres":
        monkeypatch.setenv("PGUSER", lab.ask("SELECT current_user AS name")[0]["name"])
    for day in ("1", "2"):
        run(lab, range(4), f"day{day}", **of_day(day))
    for day in ("1", "2"):
        assert verify(lab.folder / f"day{day}", should_ask=True).is_sound
    lab.ask("DELETE FROM rows WHERE day = '1' AND name = 'n2'")
    found = verify(lab.folder / "day1", should_ask=True)
    assert not found.is_sound
    (finding,) = [each for each in found.findings if each.code.value == "lacking-rows"]
    assert "it has 3 rows, and was given 4 rows; missing: 2 (batch 1)" in finding.evidence
    assert verify(lab.folder / "day2", should_ask=True).is_sound
    told = "COMPLETE" if lab.kind == "postgres" else "INCONSISTENT"
    assert batten.diagnose(lab.folder / "day1").state == told


def delete(lab: Lab, key: str) -> None:
    """As another program would."""
    match lab.kind:
        case "delta":
            deltalake.DeltaTable(lab.folder / "table").delete(f"key = '{key}'")
        case "iceberg":
            opened = lab.keep(load_catalog("default", **lab.sink.properties))  # type: ignore[attr-defined]
            opened.load_table("lab.rows").delete(f"key = '{key}'")
        case _:
            lab.ask(f"DELETE FROM rows WHERE key = '{key}'")


def test_a_row_by_key_that_another_program_deletes_is_missed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lab.kind == "postgres":
        monkeypatch.setenv("PGUSER", lab.ask("SELECT current_user AS name")[0]["name"])
    run(lab, range(5), key="key")
    run(lab, [0, 1, 2, 4], key="key")
    assert verify(lab.folder / "rows", should_ask=True).is_sound
    delete(lab, "2")
    found = verify(lab.folder / "rows", should_ask=True)
    (finding,) = [each for each in found.findings if each.code.value == "lacking-rows"]
    assert "it has 3 rows, and was given 4 rows; missing: 2 (batch 1)" in finding.evidence
    told = "COMPLETE" if lab.kind == "postgres" else "INCONSISTENT"
    assert batten.diagnose(lab.folder / "rows").state == told


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_where_rows_by_key_can_not_be_counted_it_is_said(lab: Lab) -> None:
    def both(number: int) -> list[Row]:
        return [{"name": f"n{number % 2}"}, {"name": "more"}]

    made = batten.from_range(4).flat_map(both)
    lab.write(made, key="name").run(**NO_WORK)
    assert sorted(names(lab)) == ["more", "n0", "n1"]
    shown = lab.command("diagnose", "rows")
    assert shown.returncode == 0
    told = " ".join(shown.stdout.split())
    assert "8 rows of 1 batch; rows may replace others of the same key there, so they are" in told


def test_a_run_without_rows_leaves_none_of_it(lab: Lab) -> None:
    for day in ("1", "2"):
        run(lab, range(2), f"day{day}", **of_day(day))
    run(lab, [9], "day1", **of_day("1"), function=batten_filtered, fresh=True)
    assert [row["day"] for row in lab.read()] == ["2", "2"]


def batten_filtered(number: int) -> Row:
    raise ValueError(number)


def test_a_row_of_another_run_is_told_before_anything_is_changed(lab: Lab) -> None:
    run(lab, range(2), "day1", **of_day("1"))
    before = lab.read()

    def wrong(number: int) -> Row:
        return {"name": "x", "day": str(number)}

    with pytest.raises(RefusedError, match="A row has '0' in 'day'"):
        run(lab, [0, 1], "other", **of_day("1"), function=wrong)
    assert lab.read() == before


def test_parameters_say_whose_rows_are_replaced(lab: Lab) -> None:
    for day in ("2026-04-24", "2026-04-25"):
        made = job(lab, range(2), "day_{day}", **of_day("{day}"))
        made.run(**NO_WORK, parameters={"day": day})
    assert sorted({row["day"] for row in lab.read()}) == ["2026-04-24", "2026-04-25"]
    assert len(lab.read()) == 4


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"mode": "upsert"}, "is none of 'append', 'merge', 'replace'"),
        ({"mode": "merge"}, "there is no key="),
        ({"mode": "replace", "key": "key"}, "don't go together"),
        ({"mode": "append", "key": "key"}, "don't go together"),
        ({"where": {"day": "1"}}, 'mode= is not "replace"'),
    ],
)
@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_what_does_not_go_together(lab: Lab, options: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        job(lab, range(2), **options)


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
def test_a_row_that_the_table_can_not_hold_leaves_what_was_there(lab: Lab) -> None:
    lab.make("key text, name text CHECK (length(name) < 5)")
    run(lab, range(2), mode="replace")
    with pytest.raises(RefusedError, match="can't hold a row"):
        run(lab, range(2), mode="replace", function=again, fresh=True)
    assert names(lab) == ["n0", "n1"]
    run(lab, range(3), mode="replace", fresh=True)
    assert names(lab) == ["n0", "n1", "n2"]


@pytest.mark.parametrize("make_lab", ["sqlite", "postgres"], indirect=True)
@pytest.mark.parametrize("is_shared", [False, True])
def test_two_runs_at_once_leave_the_rows_of_one(lab: Lab, is_shared: bool) -> None:
    """Of one name, or of two names and one day."""
    run(lab, range(9), "before", **of_day("1"))
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(2)

    def load(number: int) -> None:
        dataset = {} if is_shared else {"dataset": f"set{number}"}
        if is_shared:
            dataset = {"dataset": "same"}
        made = job(
            lab, range(10 * number, 10 * number + 5), f"at{number}", **of_day("1"), **dataset
        )
        gate.wait()
        made.run(**NO_WORK)

    processes = [context.Process(target=load, args=(number,)) for number in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert names(lab) in [[f"n{10 * number + each}" for each in range(5)] for number in (1, 2)]


@postgres
@pytest.mark.parametrize("failure", list(Mishap), ids=lambda each: each.name)
@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
def test_a_connection_fails_at_any_message(
    failure: Mishap, sample: int | None, lab: Lab, server: Server, relay: Relay, seeded: Any
) -> None:
    """All rows are the old ones or the new ones, whichever answer was lost."""
    address = lab.address.replace(str(server.port), str(relay.port))
    is_hanging = failure in (Mishap.HANG_BEFORE, Mishap.HANG_AFTER)

    def load(table: str, count: int, **options: Any) -> None:
        made = batten.from_items(range(count), key=str, removed="drop").map(name, version="1")
        written = made.options(batch_size=2).write_postgres(
            address, table, mode="replace", where={"day": "1"}, **options
        )
        replace(written, output=lab.folder / table).run(**NO_WORK)

    def read(table: str) -> list[str]:
        rows = lab.ask(f"SELECT key FROM {table} ORDER BY key")
        return [row["key"] for row in rows]

    relay.fail(None, failure)
    load("counted", 5)
    before = relay.messages
    load("counted", 3)
    points = range(relay.messages - before)
    for point in sorted(seeded.sample(points, sample)) if sample else points:
        table = f"at{point}"
        relay.fail(None, failure)
        load(table, 5)
        relay.fail(point, failure)
        with suppress(StorageError):
            load(table, 3, timeout_seconds=0.4 if is_hanging else 20.0)
        assert read(table) in (list("01234"), list("012"))
        relay.fail(None, failure)
        # A server that waits for the rest of a COPY keeps its locks till it misses the client.
        relay.end_hung()
        load(table, 3)
        assert read(table) == list("012")
