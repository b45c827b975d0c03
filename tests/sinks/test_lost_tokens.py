"""Tokens that somebody has deleted: of what all tokens stand for together, and of single batches.

The rows are there once afterwards, or the run says what is lacking and changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyiceberg.catalog import load_catalog

import batten
from batten.errors import InconsistentError
from batten.inspect.verifying.verify import verify
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Lab


def name(number: int) -> dict[str, Any]:
    return {"name": f"n{number}"}


def job(lab: Lab, count: int, **options: Any) -> Pipeline:
    made = batten.from_items(range(count), key=str, removed="drop").map(name)
    return lab.write(made.options(batch_size=2), **options)


def lose_token(lab: Lab, batch: int) -> None:
    """As somebody who clears up what he does not know."""
    match lab.kind:
        case "delta":
            for entry in (lab.folder / "table/_delta_log").glob("*.json"):
                lines = entry.read_text().splitlines(keepends=True)
                kept = [each for each in lines if not re.search(f'"batten:\\w+:{batch}"', each)]
                entry.write_text("".join(kept))
        case "iceberg":
            opened = lab.keep(load_catalog("default", **lab.sink.properties))  # type: ignore[attr-defined]
            with opened.load_table("lab.rows").transaction() as change:
                change.remove_properties(f"batten.rows.{batch:06}")
        case _:
            lab.ask(f"DELETE FROM batten_tokens WHERE batch = {batch}")


@pytest.fixture(autouse=True)
def user(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks the server."""
    if lab.kind == "postgres":
        monkeypatch.setenv("PGUSER", lab.ask("SELECT current_user AS name")[0]["name"])


@pytest.mark.parametrize("lost", [[0], [1, 2]], ids=str)
@pytest.mark.parametrize(
    "options", [{"mode": "replace"}, {"mode": "replace", "where": {"day": "1"}}], ids=["all", "day"]
)
def test_rows_that_were_replaced_are_replaced_again(
    lab: Lab, options: dict[str, Any], lost: list[int]
) -> None:
    job(lab, 5, **options).run(executor="serial")
    before = lab.read()
    for batch in lost:
        lose_token(lab, batch)
    found = verify(lab.folder / "rows", should_ask=True)
    assert [each.code.value for each in found.damage] == ["lost-whole-table"]
    if lab.kind != "postgres":
        assert batten.diagnose(lab.folder / "rows").state == "INTERRUPTED"
    assert job(lab, 5, **options).run(executor="serial").executed_items == 0
    assert lab.read() == before
    assert verify(lab.folder / "rows", should_ask=True).is_sound


def whole(lab: Lab, *, tables: int = 2, **options: Any) -> Pipeline:
    """Of so many files, each of which is an item with a token of its own."""
    given = {}
    for number in range(tables):
        given[f"t{number}"] = path = lab.folder / f"{number}.csv"
        path.write_text(f"key,name\n{number},n{number}\n")

    def join(**found: pa.Table) -> pa.Table:
        return pa.concat_tables([found[each] for each in sorted(found)])

    made = batten.from_tables(**given).apply(join, version="1").options(batch_size=1)
    return replace(lab.write(made, **options), output=lab.folder / "rows")


@pytest.mark.parametrize("lost", [[0], [0, 1]], ids=str)
def test_rows_that_were_added_at_once_are_not_added_again(lab: Lab, lost: list[int]) -> None:
    whole(lab).run()
    before = lab.read()
    for batch in lost:
        lose_token(lab, batch)
    found = verify(lab.folder / "rows", should_ask=True)
    assert [each.code.value for each in found.damage] == ["lacking-rows"]
    with pytest.raises(InconsistentError, match="has not all of their tokens any more") as told:
        whole(lab).run()
    assert "delete what is left of it there, rows and tokens" in told.value.next
    assert lab.read() == before


@pytest.mark.parametrize("lost", [[0], [1]], ids=str)
def test_rows_that_were_merged_at_once_are_merged_again(lab: Lab, lost: list[int]) -> None:
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key bigint PRIMARY KEY, name text")
    whole(lab, key="key").run()
    before = lab.read()
    for batch in lost:
        lose_token(lab, batch)
    assert whole(lab, key="key").run().status == "complete"
    assert lab.read() == before
    assert verify(lab.folder / "rows", should_ask=True).is_sound


def test_a_table_more_is_merged_though_it_has_no_token_yet(lab: Lab) -> None:
    if lab.kind in ("sqlite", "postgres"):
        lab.make("key bigint PRIMARY KEY, name text")
    for tables in (1, 2, 1, 3):
        whole(lab, tables=tables, key="key").run(fresh=True)
    assert [row["name"] for row in lab.read()] == ["n0", "n1", "n2"]
    assert verify(lab.folder / "rows", should_ask=True).is_sound


def test_rows_may_come_where_there_were_none(lab: Lab) -> None:
    """Of a day without rows that is corrected."""

    def select(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.less(rows["key"], 5))

    def run(key: int) -> str:
        (lab.folder / "rows.csv").write_text(f"key,name\n{key},n{key}\n")
        made = batten.from_tables(rows=lab.folder / "rows.csv").apply(select)
        written = replace(lab.write(made), output=lab.folder / "rows")
        status: str = written.run(fresh=True).status
        assert written.run().status == "nothing-to-do"
        assert batten.diagnose(lab.folder / "rows").state == "COMPLETE"
        assert verify(lab.folder / "rows", should_ask=True).is_sound
        return status

    assert run(7) == run(8) == run(1) == "complete"
    assert [row["name"] for row in lab.read()] == ["n1"]
