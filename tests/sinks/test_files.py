"""Single files of all rows, by the finished command: what is there, what readers see, what is
refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager, chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import batten
from batten.cli.main import main

BATTEN = str(Path(sys.executable).with_name("batten"))

JOB = """
    import batten

    def double(number):
        return {"double": 2 * number, "name": f"n{number}"}

    def pipeline(run_date: str, items: int = 10):
        made = batten.from_range(items).map(double).options(batch_size=4)
        return made.write_SINK("out/refunds_{run_date}.ENDING")
"""


def put_job(folder: Path, text: str) -> None:
    (folder / "job.py").write_text(textwrap.dedent(text))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the command does, without starting Python for it."""
    words = ["run", "job.py", "--json", "--quiet", "--jobs", "1", *arguments]
    out, errors = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(errors):
        code = main(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def verify(path: Path) -> tuple[int, dict[str, Any]]:
    out = io.StringIO()
    with redirect_stdout(out):
        code = main(["verify", str(path), "--json"])
    told: dict[str, Any] = json.loads(out.getvalue())
    return code, told


def job_of(kind: str) -> str:
    return JOB.replace("SINK", kind).replace("ENDING", kind)


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    lines = path.read_text().splitlines()
    assert lines[0] == '"key","double","name"'
    return [
        {"key": int(key), "double": int(double), "name": name.strip('"')}
        for key, double, name in (line.split(",") for line in lines[1:])
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_all_rows_in_the_order_of_the_plan_the_same_bytes_again(kind: str, tmp_path: Path) -> None:
    expected = [{"key": n, "double": 2 * n, "name": f"n{n}"} for n in range(10)]
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        put_job(folder, job_of(kind))
        done = run(folder, "--param", "run_date=2026-04-24", "--jobs", "2")
        assert done.returncode == 0, done.stderr
        output = folder / "out" / f"refunds_2026-04-24.{kind}"
        assert read(output) == expected
        report = json.loads(done.stdout)
        assert report["destinations"][0] == {
            "kind": kind,
            "target": f"out/{output.name}",
            "batches": 3,
            "rows": 10,
            "promise": "once",
        }
        diagnosis = batten.diagnose(output)
        assert (diagnosis.state, diagnosis.rows) == ("COMPLETE", 10)
        assert batten.open(output).count_rows() == 10
        found.append(output.read_bytes())
    assert found[0] == found[1]


def test_each_run_key_has_its_file_and_nothing_to_do_leaves_it(tmp_path: Path) -> None:
    put_job(tmp_path, job_of("csv"))
    first = tmp_path / "out" / "refunds_2026-04-24.csv"
    for date in ("2026-04-24", "2026-04-25"):
        assert run(tmp_path, "--param", f"run_date={date}").returncode == 0
    before = first.stat()
    again = run(tmp_path, "--param", "run_date=2026-04-24")
    assert json.loads(again.stdout)["status"] == "nothing-to-do"
    after = first.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (tmp_path / "out" / "refunds_2026-04-25.csv").read_bytes() == first.read_bytes()


def test_a_file_that_is_gone_is_made_again_without_a_call(tmp_path: Path) -> None:
    put_job(tmp_path, job_of("csv"))
    arguments = ("--param", "run_date=2026-04-24")
    run(tmp_path, *arguments)
    output = tmp_path / "out" / "refunds_2026-04-24.csv"
    before = output.read_bytes()
    output.unlink()
    diagnosis = batten.diagnose(output)
    assert (diagnosis.state, diagnosis.action) == ("INTERRUPTED", "run")
    assert "gone" in diagnosis.reason
    code, told = verify(output)
    assert (code, told["status"], told["files"]) == (4, "damaged", 0)
    assert [each["code"] for each in told["findings"]] == ["lost-file"]
    assert told["next"] == (
        f"cd {tmp_path} && batten run job.py --param run_date=2026-04-24 --jobs 1"
    )
    again = json.loads(run(tmp_path, *arguments).stdout)
    assert (again["status"], again["executed_items"]) == ("complete", 0)
    assert output.read_bytes() == before
    code, told = verify(output)
    assert (code, told["status"], told["files"]) == (0, "sound", 1)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_of_which_nothing_is_recorded_is_not_vouched_for(
    kind: str, is_there: bool, tmp_path: Path
) -> None:
    put_job(tmp_path, job_of(kind))
    arguments = ("--param", "run_date=2026-04-24")
    run(tmp_path, *arguments)
    output = tmp_path / "out" / f"refunds_2026-04-24.{kind}"
    before = output.read_bytes()
    shutil.rmtree(f"{output}.batten/deliveries")
    if not is_there:
        output.unlink()
    else:
        found = batten.diagnose(output)
        assert (found.state, found.exit_code) == ("INCONSISTENT", 4)
        assert [each.code.value for each in found.findings] == ["lost-delivery"]
        assert "move the file away, then run" in found.next
        with chdir(tmp_path), redirect_stdout(io.StringIO()):
            assert main(["verify", str(output)]) == 4
        assert run(tmp_path, *arguments).returncode == 5
        assert output.read_bytes() == before
        output.rename(tmp_path / "elsewhere")
    assert (batten.diagnose(output).state, batten.diagnose(output).action) == ("INTERRUPTED", "run")
    assert run(tmp_path, *arguments).returncode == 0
    assert output.read_bytes() == before
    assert batten.diagnose(output).state == "COMPLETE"


@pytest.mark.parametrize("change", [b"one more line\n", b""])
def test_a_file_that_others_changed_is_not_replaced(change: bytes, tmp_path: Path) -> None:
    """Also one of the same size, which only those see who read it."""
    put_job(tmp_path, job_of("csv"))
    run(tmp_path, "--param", "run_date=2026-04-24")
    output = tmp_path / "out" / "refunds_2026-04-24.csv"
    data = output.read_bytes()
    changed = data + change if change else data.replace(b"n1", b"N1")
    output.write_bytes(changed)
    if change:
        assert batten.diagnose(output).state == "INCONSISTENT"
    verified = subprocess.run([BATTEN, "verify", str(output)], capture_output=True, check=False)
    assert verified.returncode == 4
    assert b"move it away, then run" in verified.stdout
    more = run(tmp_path, "--param", "run_date=2026-04-24")
    assert more.returncode == 4, more.stderr
    assert output.read_bytes() == changed
    assert len(more.stderr.splitlines()) == 3
    output.rename(tmp_path / "mine.csv")
    assert run(tmp_path, "--param", "run_date=2026-04-24").returncode == 0
    assert output.read_bytes() == data


def test_a_file_that_batten_did_not_make_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    put_job(tmp_path, job_of("csv"))
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "refunds_2026-04-24.csv"
    output.write_text("by hand\n")
    done = run(tmp_path, "--param", "run_date=2026-04-24")
    assert done.returncode == 5
    assert output.read_text() == "by hand\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [output.name]


def test_a_control_folder_that_may_not_be_read_is_called_so(
    tmp_path: Path, without_permission: Callable[[Path], AbstractContextManager[None]]
) -> None:
    put_job(tmp_path, job_of("csv"))
    run(tmp_path, "--param", "run_date=2026-04-24")
    output = tmp_path / "out" / "refunds_2026-04-24.csv"
    batten.diagnose(output)  # imports what it needs while it may
    with without_permission(Path(f"{output}.batten")):
        found = batten.diagnose(output)
    assert (found.state, found.exit_code) == ("UNKNOWN", 5)
    assert "permission is missing" in found.reason
    assert found.next.startswith("make it readable for this user, then: batten diagnose ")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_lost_parts_of_a_file_are_lost_parts(kind: str, tmp_path: Path) -> None:
    put_job(tmp_path, job_of(kind))
    arguments = ("--param", "run_date=2026-04-24")
    run(tmp_path, *arguments)
    output = tmp_path / "out" / f"refunds_2026-04-24.{kind}"
    before = output.read_bytes()
    shutil.rmtree(f"{output}.batten/parts")
    assert batten.diagnose(output).state == "INCONSISTENT"
    assert batten.diagnose(output).next.startswith("batten recover --recompute-missing ")
    with chdir(tmp_path), redirect_stdout(io.StringIO()):
        main(["recover", "--recompute-missing", str(output)])
    assert run(tmp_path, *arguments).returncode == 0
    assert (output.read_bytes(), batten.diagnose(output).state) == (before, "COMPLETE")


def test_a_file_that_nothing_tells_of_is_not_battens(tmp_path: Path) -> None:
    (tmp_path / "refunds.csv").write_text("by hand")
    found = batten.diagnose(tmp_path / "refunds.csv")
    assert (found.state, found.exit_code) == ("UNKNOWN", 5)
    assert found.reason.endswith("and there is no refunds.csv.batten")


@pytest.mark.parametrize("is_dangling", [True, False])
def test_no_run_is_advised_where_it_would_refuse_a_link(is_dangling: bool, tmp_path: Path) -> None:
    put_job(tmp_path, job_of("csv"))
    arguments = ("--param", "run_date=2026-04-24")
    run(tmp_path, *arguments)
    output = tmp_path / "out" / "refunds_2026-04-24.csv"
    copy = output.rename(tmp_path / "copy.csv")
    output.symlink_to(tmp_path / "nowhere" if is_dangling else copy)
    if not is_dangling:
        assert batten.diagnose(output).state == "COMPLETE"
        Path(f"{output}.batten/COMPLETE").unlink()
    found = batten.diagnose(output)
    assert (found.state, found.exit_code) == ("UNKNOWN", 5)
    assert "a symbolic link, which the file would replace" in found.reason
    assert found.next.startswith(f"remove the link {output}")
    assert run(tmp_path, *arguments).returncode == 5
    output.unlink()
    assert run(tmp_path, *arguments).returncode == 0
    assert output.read_bytes() == copy.read_bytes()


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    report = tmp_path / "rows.csv"
    made = (
        batten.from_range(3).map(lambda number: {"number": number}, version="1").write_csv(report)
    )
    made.run(executor="serial")
    report.unlink()
    report.mkdir()
    diagnosis = batten.diagnose(report)
    assert diagnosis.state == "CORRUPT"
    assert "a folder lies where the file should be" in str(diagnosis.to_json())
    with pytest.raises(batten.RefusedError, match="a folder is there"):
        made.run(executor="serial")
    report.rmdir()
    made.run(executor="serial")
    assert batten.diagnose(report).state == "COMPLETE"


def test_what_a_killed_run_left_beside_goes_also_where_nothing_is_left_to_write(
    tmp_path: Path,
) -> None:
    report = tmp_path / "elsewhere/rows.csv"
    made = batten.from_range(3).map(lambda number: {"number": number}, version="1")
    made = made.write_parquet(tmp_path / "rows").write_csv(report)
    made.run(executor="serial")
    left = report.with_name(".rows.csv.vm-123-0123456789abcdef")
    left.write_bytes(b"half")
    made.run(executor="serial")
    assert not left.exists()


def test_a_limited_run_places_no_file(tmp_path: Path) -> None:
    put_job(tmp_path, job_of("csv"))
    arguments = ("--param", "run_date=2026-04-24")
    limited = run(tmp_path, *arguments, "--limit", "5")
    assert json.loads(limited.stdout)["status"] == "limited"
    output = tmp_path / "out" / "refunds_2026-04-24.csv"
    assert not output.exists()
    assert batten.diagnose(output).state == "INTERRUPTED"
    assert run(tmp_path, *arguments).returncode == 0
    assert len(read(output)) == 10


def test_what_a_format_cannot_hold_is_told(tmp_path: Path) -> None:
    put_job(
        tmp_path,
        """
        import batten

        def nest(number):
            return {"inner": {"a": number}}

        pipeline = batten.from_range(3).map(nest).write_csv("rows.csv")
        """,
    )
    done = run(tmp_path)
    assert done.returncode == 2, done.stderr
    assert "'inner'" in done.stderr
    assert not (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize(
    ("value", "path"), [("a/b", "out/{day}.csv"), ("..", "{day}.csv"), ("x", "{other}.csv")]
)
def test_a_parameter_that_makes_no_name_is_refused(value: str, path: str, tmp_path: Path) -> None:
    put_job(
        tmp_path,
        f"""
        import batten

        def pipeline(day: str):
            return batten.from_range(3).map(lambda n: {{"n": n}}).write_csv("{path}")
        """,
    )
    done = run(tmp_path, "--param", f"day={value}")
    assert done.returncode == 2, done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".csv"] == []


def test_a_file_is_added_later_and_gets_everything_without_a_call(tmp_path: Path) -> None:
    text = """
        import batten

        def double(number):
            return {"double": 2 * number}

        pipeline = (
            batten.from_range(10).map(double).options(batch_size=4).write_parquet("parts")MORE
        )
    """
    put_job(tmp_path, text.replace("MORE", ""))
    assert run(tmp_path).returncode == 0
    put_job(tmp_path, text.replace("MORE", '.write_csv("deep/down/rows.csv")'))
    done = json.loads(run(tmp_path).stdout)
    assert (done["status"], done["executed_items"]) == ("complete", 0)
    assert len((tmp_path / "deep" / "down" / "rows.csv").read_text().splitlines()) == 11
    assert batten.diagnose(tmp_path / "parts").to_json()["destinations"][0]["rows"] == 10


def test_a_file_of_another_size_in_the_place_of_ours_is_not_read(tmp_path: Path) -> None:
    """Whatever size it has: this one would take hours."""
    job = batten.from_items([1, 2]).map(_row).write_csv(tmp_path / "out.csv")
    job.run(executor="serial")
    os.truncate(tmp_path / "out.csv", 1 << 42)
    with pytest.raises(batten.InconsistentError, match="changed by another program"):
        job.run(executor="serial", fresh=True)


def _row(n: int) -> dict[str, int]:
    return {"n": n}
