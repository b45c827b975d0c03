"""Sinks and sources of other packages: killed, resumed, verified, looked at; and what is broken."""

from __future__ import annotations

import json
import pickle
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.errors import UsageError
from batten.testing import kill_at_step

if TYPE_CHECKING:
    from conftest import Installed

SQUARES = [{"key": n, "number": n, "square": n * n} for n in range(40)]


def rows(drawer: Installed) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(drawer.folder / "squares.db")) as base:
        found = [json.loads(text) for (text,) in base.execute("SELECT row FROM rows")]
    return sorted(found, key=lambda row: row["number"])


def diagnose(drawer: Installed) -> Any:
    done = drawer.batten("diagnose", "squares", "--json")
    return json.loads(done.stdout)


def test_a_run_gives_every_row_once_and_says_where(drawer: Installed) -> None:
    done = drawer.batten("run", "job.py")

    assert done.returncode == 0, done.stderr
    assert rows(drawer) == SQUARES
    assert drawer.batten("verify", "squares", "--ask").returncode == 0
    assert diagnose(drawer)["state"] == "COMPLETE"


def test_killed_at_a_step_and_run_again_it_has_every_row_once(drawer: Installed) -> None:
    text = (drawer.folder / "job.py").read_text()
    for number in (10, 20, 30):
        (drawer.folder / "squares.db").unlink(missing_ok=True)
        (drawer.folder / "killed.py").write_text(
            text.replace('ledger="squares"', f'ledger="squares{number}"')
        )
        killed = drawer.batten("run", "killed.py", "--jobs", "1", **kill_at_step(number))
        done = drawer.batten("run", "killed.py", "--jobs", "1")
        assert (killed.returncode, done.returncode) == (-9, 0), done.stderr
        assert rows(drawer) == SQUARES
    assert drawer.batten("verify", "squares30", "--ask").returncode == 0


def test_rows_that_are_gone_are_told(drawer: Installed) -> None:
    drawer.batten("run", "job.py")
    with closing(sqlite3.connect(drawer.folder / "squares.db")) as base, base:
        base.execute("DELETE FROM tokens WHERE batch = 2")

    told = diagnose(drawer)
    verified = drawer.batten("verify", "squares")

    assert told["state"] == "INCONSISTENT"
    assert [each["code"] for each in told["findings"]] == ["lacking-rows"]
    assert verified.returncode == 4
    assert "it has no token of 1 batch that it was given: 2" in verified.stdout


@pytest.mark.parametrize(
    ("raised", "state"),
    [("ValueError('odd')", "COMPLETE"), ("InconsistentError('odd')", "CORRUPT")],
)
def test_only_damage_that_a_package_is_sure_of_is_damage(
    drawer: Installed, raised: str, state: str
) -> None:
    drawer.batten("run", "job.py")
    code = drawer.packages / "batten_drawer.py"
    text = code.read_text().replace("    PublishEnd,", "    InconsistentError,\n    PublishEnd,", 1)
    code.write_text(text.replace("        path = folder / given.target", f"        raise {raised}"))

    assert diagnose(drawer)["state"] == state


def test_without_its_package_an_output_is_read_and_the_package_named(drawer: Installed) -> None:
    drawer.batten("run", "job.py")
    drawer.uninstall("batten-drawer")

    told = drawer.batten("diagnose", "squares")
    again = drawer.batten("run", "job.py")

    assert told.returncode == 0, told.stderr
    assert "batten-drawer" in told.stdout
    assert drawer.batten("verify", "squares").returncode == 0
    assert again.returncode == 2
    assert "There is no sink 'drawer'" in again.stderr


def test_a_server_is_asked_only_where_one_says_so(drawer: Installed) -> None:
    code = drawer.packages / "batten_drawer.py"
    text = code.read_text()
    code.write_text(text.replace('    kind = "drawer"\n', "    is_remote = True\n", 1))
    drawer.batten("run", "job.py")
    with closing(sqlite3.connect(drawer.folder / "squares.db")) as base, base:
        base.execute("DELETE FROM tokens WHERE batch = 2")

    assert diagnose(drawer)["state"] == "COMPLETE"
    assert drawer.batten("verify", "squares").returncode == 0
    asked = drawer.batten("verify", "squares", "--ask")
    assert asked.returncode == 4
    assert "it has no token of 1 batch that it was given: 2" in asked.stdout


def test_a_source_of_a_package_is_planned_grown_and_told_apart(drawer: Installed) -> None:
    drawer.batten("run", "job.py")
    job = """
        import batten

        def keep(item):
            return {"square": item["square"]}

        pipeline = batten.from_source("drawer", "squares.db").map(keep).write_parquet("kept")
    """
    (drawer.folder / "read.py").write_text(job.replace("\n        ", "\n"))

    first = drawer.batten("run", "read.py")
    with closing(sqlite3.connect(drawer.folder / "squares.db")) as base, base:
        base.execute("INSERT INTO rows VALUES (?)", (json.dumps({"square": -1}),))
    second = drawer.batten("run", "read.py")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    found = batten.open(drawer.folder / "kept").to_arrow().column("square").to_pylist()
    assert found == [row["square"] for row in SQUARES] + [-1]


def test_an_unknown_name_is_refused_with_near_ones(drawer: Installed) -> None:
    (drawer.folder / "job.py").write_text(
        'import batten\npipeline = batten.from_range(1).map(str).write_to("drawr", "x")\n'
    )
    done = drawer.batten("run", "job.py")

    assert done.returncode == 2
    assert "There is no sink 'drawr'" in done.stderr
    assert "Did you mean 'drawer'?" in done.stderr


def test_names_of_battens_own_are_written_as_methods() -> None:
    with pytest.raises(UsageError) as caught:
        batten.from_range(1).map(str).write_to("sqlite", "x")
    assert caught.value.next == "Write .write_sqlite(…)."
    with pytest.raises(UsageError) as caught:
        batten.from_range(1).map(str).write_to("sqlit", "x")
    assert caught.value.next == "Did you mean .write_sqlite(…)?"
    with pytest.raises(UsageError) as caught:
        batten.from_source("csv", "x")
    assert caught.value.next == "Write batten.from_csv(…)."


BROKEN = {
    "imports what is not there": "import nowhere_at_all\n",
    "is no Python": "def (\n",
    "ends the process": "import sys\nsys.exit(3)\n",
    "has no such name": "",
    "has no declare": "class Sink: pass\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_package_costs_only_itself(drawer: Installed, name: str) -> None:
    drawer.install(
        "batten-broken",
        {"batten.sinks": {"broken": "batten_broken:Sink"}},
        {"batten_broken.py": BROKEN[name]},
    )
    (drawer.folder / "broken.py").write_text(
        'import batten\npipeline = batten.from_range(1).map(str).write_to("broken", "x")\n'
    )

    broken = drawer.batten("run", "broken.py")

    assert broken.returncode == 2, broken.stderr
    assert "The package batten-broken brings the sink 'broken'" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert drawer.batten("run", "job.py").returncode == 0


def test_entry_points_that_can_not_be_read_cost_only_their_package(drawer: Installed) -> None:
    drawer.install("batten-odd", {}, {})
    odd = drawer.packages / "batten_odd-1.0.dist-info" / "entry_points.txt"
    odd.write_bytes(b"[batten.sinks]\n\xff\xfe no equals sign\n")
    (drawer.packages / "empty-1.0.dist-info").mkdir()

    assert drawer.batten("run", "job.py").returncode == 0


def test_two_packages_of_one_name_are_refused(drawer: Installed) -> None:
    drawer.install("batten-chest", {"batten.sinks": {"drawer": "batten_drawer:DrawerSink"}}, {})

    done = drawer.batten("run", "job.py")

    assert done.returncode == 2
    assert "brought more than once: by batten-chest and batten-drawer" in done.stderr


def test_what_a_sink_can_not_be_made_of_is_told(drawer: Installed) -> None:
    (drawer.folder / "job.py").write_text(
        "import batten\n"
        'pipeline = batten.from_range(1).map(str).write_to("drawer", "x", colour="red")\n'
    )
    done = drawer.batten("run", "job.py")

    assert done.returncode == 2
    assert "can't be made of what it was given: TypeError" in done.stderr
    assert "python -m pydoc batten_drawer" in done.stderr


def test_it_is_pickled_and_filled(drawer: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(drawer.packages)
    monkeypatch.chdir(drawer.folder)
    made = batten.from_range(1).map(str).write_to("drawer", "{day}.db")
    try:
        again = pickle.loads(pickle.dumps(made.sinks))
        filled = made.fill({"day": "monday"})
    finally:
        sys.modules.pop("batten_drawer", None)

    assert again == made.sinks
    assert filled.sinks[0].describe(drawer.folder) == "monday.db"
    assert filled.output == drawer.folder / "monday.db"


def test_nobody_who_asks_for_none_reads_entry_points(drawer: Installed) -> None:
    (drawer.folder / "plain.py").write_text(
        "import batten\n"
        "pipeline = batten.from_range(3).map(lambda n: {'n': n}).write_parquet('plain')\n"
        "if __name__ == '__main__':\n"
        "    import sys\n"
        "    pipeline.run(executor='serial')\n"
        "    batten.diagnose('plain')\n"
        "    print([m for m in ('batten.plugins', 'importlib.metadata', 'pytest') "
        "if m in sys.modules])\n"
    )
    done = drawer.python("plain.py")

    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr
