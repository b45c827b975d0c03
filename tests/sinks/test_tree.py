"""Items that go into a live tree, by the finished command: in order, once, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import batten

BATTEN = str(Path(sys.executable).with_name("batten"))
EXIT_USAGE = 2
EXIT_QUARANTINED = 3
EXIT_REFUSED = 5
EXIT_ENVIRONMENT = 7

JOB = """
    from pathlib import Path

    import batten

    def prepare(path):
        text = path.read_text()
        if text == "unreadable":
            raise ValueError(text)
        return {"text": text}

    def commit(change, path, prepared):
        if prepared["text"] != path.read_text():
            raise batten.OutdatedError(f"{path.name} was changed")
        change.write(f"pages/{path.name}", prepared["text"])
        (change.protect("in-place") / path.name).write_text("")
        before = change.read("log").decode() if change.exists("log") else ""
        change.write("log", f"{before}{path.name}\\n")
        if prepared["text"] == "unwanted":
            raise RuntimeError("not this one")
        for name, text in TOUCHED.get(path.name, {}).items():
            Path("documents", name).write_text(text)

    TOUCHED = {}

    pipeline = batten.from_files("documents/*").map(prepare).write_tree("tree", commit=commit)
"""


def fill(folder: Path, job: str = JOB, **texts: str) -> None:
    (folder / "job.py").write_text(textwrap.dedent(job))
    (folder / "documents").mkdir(exist_ok=True)
    for name in "abcdef":
        (folder / "documents" / name).write_text(texts.get(name, f"text of {name}"))
    (folder / "tree" / "in-place").mkdir(parents=True, exist_ok=True)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [BATTEN, "run", "job.py", "--json", "--quiet", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def log_of(folder: Path) -> str:
    return "".join((folder / "tree" / "log").read_text().split())


def pages_of(folder: Path) -> dict[str, str]:
    pages = {path.name: path.read_text() for path in (folder / "tree" / "pages").iterdir()}
    assert set(pages) == set(log_of(folder))
    assert set(pages) == {path.name for path in (folder / "tree" / "in-place").iterdir()}
    return pages


def test_each_item_once_in_the_order_of_the_plan(tmp_path: Path) -> None:
    fill(tmp_path)
    done = run(tmp_path, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert log_of(tmp_path) == "abcdef"
    assert pages_of(tmp_path) == {name: f"text of {name}" for name in "abcdef"}
    assert report_of(done)["destinations"] == [
        {"kind": "tree", "target": "tree", "batches": 6, "rows": 6, "promise": "once"}
    ]
    assert batten.diagnose(tmp_path / "tree").state == "COMPLETE"
    assert report_of(run(tmp_path))["status"] == "nothing-to-do"
    (tmp_path / "documents" / "g").write_text("text of g")
    assert report_of(run(tmp_path))["executed_items"] == 1
    assert log_of(tmp_path) == "abcdefg"


@pytest.mark.parametrize("text", ["unreadable", "unwanted"])
def test_a_failure_leaves_no_trace_and_stops_no_other(text: str, tmp_path: Path) -> None:
    """Whether it fails when it is prepared or when it is committed."""
    fill(tmp_path, c=text)
    done = run(tmp_path, "--jobs", "2")
    assert done.returncode == EXIT_QUARANTINED, done.stderr
    assert set(pages_of(tmp_path)) == set("abdef")
    assert log_of(tmp_path) == "abdef"
    report = report_of(done)
    assert (report["items"]["committed"], report["items"]["quarantined"]) == (5, 1)
    shown = subprocess.run(
        [BATTEN, "show", "tree", "--json"], cwd=tmp_path, capture_output=True, check=True
    )
    assert ("not this one" if text == "unwanted" else text) in shown.stdout.decode()
    assert report_of(run(tmp_path))["status"] == "nothing-to-do"

    (tmp_path / "documents" / "c").write_text("mended")
    again = run(tmp_path, "--retry-quarantined")
    assert again.returncode == 0, again.stderr
    assert pages_of(tmp_path)["c"] == "mended"
    assert log_of(tmp_path) == "abdefc"


def test_a_failure_that_the_function_hides_is_found(tmp_path: Path) -> None:
    """Else half of what it meant to do would be committed."""
    job = JOB.replace('raise RuntimeError("not this one")', "hide(change)").replace(
        "    TOUCHED",
        """
    def hide(change):
        try:
            with batten.transaction("tree"):
                change.write("half", "")
                raise ValueError("hidden")
        except ValueError:
            pass

    TOUCHED""",
    )
    fill(tmp_path, job, c="unwanted")
    done = run(tmp_path)
    assert done.returncode == EXIT_QUARANTINED, done.stderr
    assert log_of(tmp_path) == "abdef"
    assert not (tmp_path / "tree" / "half").exists()


@pytest.mark.parametrize("error", ["OSError(errno.ENOSPC, 'full')", "make_sqlite_error()"])
def test_a_full_disk_is_no_fault_of_the_item(error: str, tmp_path: Path) -> None:
    job = JOB.replace('RuntimeError("not this one")', error).replace(
        "    TOUCHED",
        """
    import errno
    import sqlite3

    def make_sqlite_error():
        base = sqlite3.connect(":memory:")
        base.execute("pragma max_page_count = 1")
        try:
            base.execute("create table one (number)")
        except sqlite3.OperationalError as error:
            return error

    TOUCHED""",
    )
    fill(tmp_path, job, c="unwanted")
    done = run(tmp_path)
    assert done.returncode == EXIT_ENVIRONMENT, done.stderr
    assert log_of(tmp_path) == "ab"
    (tmp_path / "documents" / "c").write_text("wanted")
    assert run(tmp_path).returncode == 0
    assert log_of(tmp_path) == "abcdef"


def test_one_failure_may_end_the_run(tmp_path: Path) -> None:
    job = JOB.replace(".write_tree", '.options(on_error="raise").write_tree')
    fill(tmp_path, job, c="unwanted")
    done = run(tmp_path, "--jobs", "2")
    assert done.returncode == 1
    assert "not this one" in report_of(done)["error"]["what"]
    assert log_of(tmp_path) == "ab"
    (tmp_path / "documents" / "c").write_text("mended")
    assert run(tmp_path).returncode == 0
    assert log_of(tmp_path) == "abcdef"


def test_the_first_rows_may_come_late(tmp_path: Path) -> None:
    """What had no columns is made anew beside the tree, and then put into it: but for one."""
    fill(tmp_path, **dict.fromkeys("abcdef", "unreadable"))
    assert run(tmp_path).returncode == EXIT_QUARANTINED
    for name, text in {"g": "text of g", "h": "unwanted", "i": "text of i"}.items():
        (tmp_path / "documents" / name).write_text(text)
    done = run(tmp_path)
    assert done.returncode == EXIT_QUARANTINED, done.stderr
    report = report_of(done)
    assert (report["items"]["committed"], report["items"]["quarantined"]) == (2, 7)
    assert report["executed_items"] >= 9
    assert pages_of(tmp_path) == {name: f"text of {name}" for name in "gi"}
    assert batten.diagnose(tmp_path / "tree").state == "COMPLETE"


def test_a_tree_can_not_begin_anew(tmp_path: Path) -> None:
    fill(tmp_path)
    assert run(tmp_path).returncode == 0
    done = run(tmp_path, "--fresh")
    assert done.returncode == EXIT_REFUSED, done.stderr
    assert log_of(tmp_path) == "abcdef"
    assert report_of(run(tmp_path))["status"] == "nothing-to-do"


def test_what_changed_after_it_was_prepared_is_prepared_again(tmp_path: Path) -> None:
    """In its place: what comes after it waits."""
    fill(tmp_path, JOB.replace("TOUCHED = {}", 'TOUCHED = {"a": {"d": "new"}}'))
    done = run(tmp_path, "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert pages_of(tmp_path)["d"] == "new"
    assert log_of(tmp_path) == "abcdef"


def test_what_never_stays_the_same_is_quarantined(tmp_path: Path) -> None:
    fill(tmp_path, JOB.replace('{"text": text}', '{"text": text + "?"}', 1))
    done = run(tmp_path)
    assert done.returncode == EXIT_QUARANTINED, done.stderr
    report = report_of(done)
    assert report["items"]["quarantined"] == 6
    assert report["executed_items"] == 6 * 5
    assert not (tmp_path / "tree" / "pages").exists()
    assert batten.diagnose(tmp_path / "tree").state == "COMPLETE"


def test_where_the_ledger_is_lost_nothing_is_committed_twice(tmp_path: Path) -> None:
    job = JOB.replace('"tree", commit', '"tree", ledger="work", commit')
    fill(tmp_path, job)
    assert run(tmp_path).returncode == 0
    (tmp_path / "work.batten").rename(tmp_path / "elsewhere")
    done = run(tmp_path)
    assert (done.returncode, report_of(done)["executed_items"]) == (0, 6)
    assert log_of(tmp_path) == "abcdef"


def test_what_a_killed_transaction_left_goes_with_the_next_run(tmp_path: Path) -> None:
    """Also where there is nothing left to do."""
    fill(tmp_path)
    assert run(tmp_path).returncode == 0
    (tmp_path / "tree.batten" / "tree" / "staging" / "0011223344556677.000001").touch()
    assert batten.diagnose(tmp_path / "tree").state == "COMPLETE_WITH_ORPHANS"
    assert report_of(run(tmp_path))["status"] == "nothing-to-do"
    assert batten.diagnose(tmp_path / "tree").state == "COMPLETE"


def test_a_tree_that_lost_what_it_had_is_refused(tmp_path: Path) -> None:
    job = JOB.replace('"tree", commit', '"tree", ledger="work", commit')
    fill(tmp_path, job)
    assert run(tmp_path).returncode == 0
    (tmp_path / "tree.batten").rename(tmp_path / "elsewhere")
    (tmp_path / "documents" / "g").write_text("text of g")
    done = run(tmp_path)
    assert done.returncode == 4, done.stderr
    assert log_of(tmp_path) == "abcdef"


def test_other_sinks_get_what_the_tree_took(tmp_path: Path) -> None:
    job = JOB.replace("commit=commit)", 'commit=commit).write_jsonl("rows.jsonl")')
    fill(tmp_path, job, c="unwanted")
    assert run(tmp_path, "--jobs", "2").returncode == EXIT_QUARANTINED
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["key"] for row in rows] == list("abdef")


TREE = '.write_tree("tree", commit=commit)'
TABLE = '.write_sqlite("rows.db", "rows")'


def table_of(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "rows.db")) as table:
        return "".join(key for (key,) in table.execute("SELECT key FROM rows"))


def test_a_table_gets_what_the_tree_takes_when_it_is_tried_again(tmp_path: Path) -> None:
    fill(tmp_path, JOB.replace(TREE, TREE + TABLE), c="unreadable")
    assert run(tmp_path).returncode == EXIT_QUARANTINED
    for text, code, given in (("unwanted", 3, "abdef"), ("mended", 0, "abdefc")):
        (tmp_path / "documents" / "c").write_text(text)
        done = run(tmp_path, "--retry-quarantined")
        assert done.returncode == code, done.stderr
        assert (log_of(tmp_path), table_of(tmp_path)) == (given, given)


def test_what_a_table_holds_for_good_may_not_be_rejected(tmp_path: Path) -> None:
    """The tree was added when the job was done: the table can't let go of the row."""
    before = '.options(batch_size=1).write_parquet("prepared")'
    fill(tmp_path, JOB.replace(TREE, before + TABLE), c="unwanted")
    assert run(tmp_path).returncode == 0
    (tmp_path / "job.py").write_text(textwrap.dedent(JOB.replace(TREE, before + TREE + TABLE)))
    for _ in range(2):
        refused = run(tmp_path)
        assert refused.returncode == EXIT_REFUSED, refused.stderr
        assert report_of(refused)["error"]["what"] == (
            "tree can't take c, and table rows of rows.db has it and can't let go of it: not this "
            "one."
        )
        assert (log_of(tmp_path), table_of(tmp_path)) == ("ab", "abcdef")
    document = tmp_path / "documents" / "c"
    before_change = document.stat()
    document.write_text("unwanted no more")
    # The table has the row of the earlier text.
    what = report_of(run(tmp_path))["error"]["what"]
    assert "table rows of rows.db holds their rows" in what
    assert what.endswith("The first is c.")
    document.write_text("unwanted")
    os.utime(document, ns=(before_change.st_atime_ns, before_change.st_mtime_ns))
    job = JOB.replace(TREE, before + TREE + TABLE).replace('== "unwanted"', '== "unheard"')
    (tmp_path / "job.py").write_text(textwrap.dedent(job))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (log_of(tmp_path), table_of(tmp_path)) == ("abcdef", "abcdef")


def test_what_one_tree_took_another_may_not_reject(tmp_path: Path) -> None:
    other = '.write_tree("other", commit=lambda change, path, prepared: change.write("x", "y"))'
    fill(tmp_path, JOB.replace(TREE, other + TREE), c="unwanted")
    refused = run(tmp_path)
    assert refused.returncode == EXIT_REFUSED, refused.stderr
    assert "tree can't take c, and other has it" in report_of(refused)["error"]["what"]
    assert log_of(tmp_path) == "ab"


@pytest.mark.parametrize("text", ["mended", None])
def test_what_the_tree_holds_may_not_change_or_go(text: str | None, tmp_path: Path) -> None:
    fill(tmp_path, JOB.replace('"documents/*"', '"documents/*", removed="drop"'), c="unreadable")
    assert run(tmp_path).returncode == EXIT_QUARANTINED
    document = tmp_path / "documents" / "b"
    if text is None:
        document.unlink()
    else:
        document.write_text(text)
    refused = run(tmp_path)
    assert refused.returncode == EXIT_REFUSED, refused.stderr
    assert report_of(refused)["error"]["what"].endswith("The first is b.")
    assert log_of(tmp_path) == "abdef"


def test_filtered_items_are_not_given_and_several_rows_come_as_a_list(tmp_path: Path) -> None:
    fill(
        tmp_path,
        """
        import batten

        def cut(path):
            return [{"word": word} for word in path.read_text().split() if word != "none"]

        def commit(change, path, prepared):
            change.write(path.name, " ".join(row["word"] for row in prepared))

        pipeline = batten.from_files("documents/*").flat_map(cut).write_tree("tree", commit=commit)
        """,
        b="none",
    )
    assert run(tmp_path).returncode == 0
    found = {path.name: path.read_text() for path in (tmp_path / "tree").glob("?")}
    assert found == {name: f"text of {name}" for name in "acdef"}


async def commit_later(change: batten.Transaction, item: object, prepared: object) -> None:
    change.write("never", "")


@pytest.mark.parametrize("commit", ["put", commit_later])
def test_without_a_plain_function_there_is_no_pipeline(commit: Any) -> None:
    with pytest.raises(batten.UsageError, match="commit"):
        batten.from_range(1).write_tree("tree", commit=commit)


def test_a_dataset_of_larger_batches_is_not_given_to_a_tree(tmp_path: Path) -> None:
    """Not even where another batch size was accepted."""
    job = JOB.replace(".write_tree", '.write_parquet("rows").write_tree')
    fill(tmp_path, job.replace('.write_tree("tree", commit=commit)', ""))
    assert run(tmp_path).returncode == 0
    fill(tmp_path, job)
    for arguments in ([], ["--accept-change"], ["--accept-change"]):
        done = run(tmp_path, *arguments)
        assert done.returncode == EXIT_REFUSED, done.stderr
    assert not (tmp_path / "tree" / "log").exists()
    assert run(tmp_path, "--fresh").returncode == 0
    assert log_of(tmp_path) == "abcdef"


def test_batches_of_several_items_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, JOB.replace(".write_tree", ".options(batch_size=2).write_tree"))
    done = run(tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "batch_size" in done.stderr
    assert not (tmp_path / "tree.batten").exists()


def test_a_change_that_was_given_up_is_a_doubt_until_its_journal_is_deleted(
    tmp_path: Path,
) -> None:
    fill(tmp_path)
    run(tmp_path)
    assert batten.diagnose(tmp_path / "tree").exit_code == 0
    evidence = tmp_path / "tree.batten" / "tree" / "set-aside" / "journal-0123456789abcdef"
    evidence.mkdir(parents=True)
    (evidence / "JOURNAL").write_text("torn")
    found = batten.diagnose(tmp_path / "tree")
    assert (found.state, found.exit_code, found.items.committed) == ("UNKNOWN", 5, 6)
    assert found.next.endswith(f"rm -r {evidence}")
    shutil.rmtree(evidence)
    assert batten.diagnose(tmp_path / "tree").state == "COMPLETE"
