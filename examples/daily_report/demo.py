"""Walks through every state of the daily report, by killing it there, and shows what `batten
diagnose` says of each (`make demo-daily-report`)."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

from extract import extract

from batten.crashlab.faults import Fault, KillAfter, KillBefore
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, run_traced
from batten.crashlab.tracing.system_calls import CallKind

EXAMPLE = Path(__file__).resolve().parent
BATTEN = str(Path(sys.executable).with_name("batten"))
DAY = "2013-12-31"
OUTPUT = f"out/report_{DAY}.csv"
RUN = ("run", "report.py:report", "--param", f"run_date={DAY}", "--quiet")
PATIENCE_SECONDS = 300


class Walk:
    """The folder in which the report is made, killed and looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = folder / f"{OUTPUT}.batten"

    def batten(self, *words: str, expected: int = 0) -> str:
        """Run a command as one would, and hold its exit code against what it should be."""
        print(f"\n$ batten {' '.join(words)}", flush=True)
        done = subprocess.run(
            [BATTEN, *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout, end="")
        promise(done.returncode == expected, f"exit code {done.returncode}")
        return done.stdout

    def diagnose(self, state: str, expected: int) -> None:
        shown = self.batten("diagnose", OUTPUT, expected=expected)
        promise(shown.startswith(f"{state} "), f"the state is {state}")

    def kill(self, fault: Fault, *words: str) -> None:
        """Run the report until the fault's system call, and kill it there with all it started."""
        print(f"\n$ batten {' '.join([*RUN, *words])}", flush=True)
        traced = run_traced(
            [BATTEN, *RUN, *words],
            folders=[self.folder / "out"],
            fault=fault,
            environment=dict(os.environ),
            working_folder=self.folder,
            timeout_seconds=PATIENCE_SECONDS,
        )
        promise(traced.hit is not None, "killed with SIGKILL, everything at once")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, help="only the first so many flights")
    parser.add_argument("--folder", type=Path, default=EXAMPLE.parents[1] / "demo-output/report")
    arguments = parser.parse_args()
    if obstacle := find_tracing_obstacle():
        sys.exit(f"this demo needs to trace what it starts: {obstacle}")
    walk = prepare(arguments.folder, arguments.rows)
    before_anything(walk)
    interrupted(walk)
    running(walk)
    complete(walk)
    damaged(walk)
    replaced(walk)
    out_of_memory(walk)
    load(walk)
    print(f"\nEvery state was as promised. It is all in {arguments.folder}.")


def prepare(folder: Path, rows: int | None) -> Walk:
    title("The data")
    shutil.rmtree(folder, ignore_errors=True)
    count = extract(folder / "in", DAY, rows)
    shutil.copy(EXAMPLE / "report.py", folder)
    say(f"{count:,} flights in in/flights_{DAY}.csv, and the airlines in in/airlines.csv.")
    return Walk(folder)


def before_anything(walk: Walk) -> None:
    title("NEW: nothing ran yet")
    walk.diagnose("NEW", 10)
    walk.batten(*RUN, "--dry-run")


def interrupted(walk: Walk) -> None:
    title("INTERRUPTED: killed while the report is written")
    say("An orphan lies in staging, the report is missing, and there is no traceback.")
    writing = KillBefore(2, kinds=frozenset({CallKind.WRITE}), path="*/staging/file.*")
    walk.kill(writing)
    walk.diagnose("INTERRUPTED", 10)
    title("INTERRUPTED: killed when the report is in its place, before that is recorded")
    walk.kill(KillBefore(1, path="*/staging/COMPLETE.*"))
    walk.diagnose("INTERRUPTED", 10)
    promise((walk.folder / OUTPUT).is_file(), "readers see the whole report")


def running(walk: Walk) -> None:
    title("RUNNING: another one is at work")
    source = walk.folder / "report.py"
    text = source.read_text()
    os.mkfifo(walk.folder / "gate")
    waiting = 'open("begun", "w").close()\n    open("gate").read()\n    named ='
    source.write_text(text.replace("named =", waiting, 1))
    os.mkfifo(walk.folder / "begun")
    words = [BATTEN, *RUN, "--fresh", "--drain-seconds", "1"]
    process = subprocess.Popen(words, cwd=walk.folder, stderr=subprocess.DEVNULL)
    (walk.folder / "begun").open().close()
    walk.diagnose("RUNNING", 0)
    walk.batten(*RUN, expected=6)
    process.send_signal(signal.SIGTERM)
    promise(process.wait(PATIENCE_SECONDS) == 75, "SIGTERM stops it with exit code 75")
    walk.diagnose("INTERRUPTED", 10)
    source.write_text(text)


def complete(walk: Walk) -> None:
    title("COMPLETE: the same command again")
    walk.batten(*RUN)
    walk.diagnose("COMPLETE", 0)
    title("COMPLETE_WITH_ORPHANS: good, and a dead run left a throwaway file")
    say("Running it again would be wrong: the report is good. Cleaning is enough.")
    (walk.folder / OUTPUT).unlink()
    removing = KillBefore(1, kinds=frozenset({CallKind.UNLINK}), path="*/staging/COMPLETE.*")
    walk.kill(removing)
    walk.diagnose("COMPLETE_WITH_ORPHANS", 11)
    walk.batten("clean", OUTPUT)
    walk.diagnose("COMPLETE", 0)


def damaged(walk: Walk) -> None:
    title("INCONSISTENT: somebody changed the report")
    output = walk.folder / OUTPUT
    good = output.read_bytes()
    output.write_bytes(good[: len(good) // 2])
    walk.diagnose("INCONSISTENT", 4)
    output.write_bytes(good)
    walk.diagnose("COMPLETE", 0)
    title("CORRUPT: a record can't be read")
    record = next((walk.control / "deliveries").iterdir())
    kept = record.read_bytes()
    record.write_bytes(kept[:40])
    walk.diagnose("CORRUPT", 4)
    record.write_bytes(kept)
    title("UNKNOWN: a file that batten did not make")
    (walk.folder / "out/by_hand.csv").write_text("a\n1\n")
    walk.batten("diagnose", "out/by_hand.csv", expected=5)
    (walk.folder / "out/by_hand.csv").unlink()


def replaced(walk: Walk) -> None:
    title("Refused: an input has changed, and what to do")
    with (walk.folder / "in/airlines.csv").open("a") as file:
        file.write("ZZ,A new airline\n")
    walk.batten(*RUN, expected=5)
    title("RECOVERY_PENDING: killed while the new one takes the place of the old")
    walk.kill(KillAfter(1, kinds=frozenset({CallKind.LINK}), path="*/REPLACING"), "--fresh")
    walk.diagnose("RECOVERY_PENDING", 12)
    walk.batten("recover", OUTPUT)
    walk.batten(*RUN)
    walk.diagnose("COMPLETE", 0)
    title("Which days are missing?")
    expected = "run_date=2013-12-29..2013-12-31"
    walk.batten("diagnose", "out/report_{run_date}.csv", "--expect", expected, expected=10)


def out_of_memory(walk: Walk) -> None:
    title("Out of memory, told before the kernel kills")
    words = [*RUN, "--fresh", "--memory-max", "40MB"]
    walk.batten(*words, expected=1)
    walk.diagnose("INTERRUPTED", 10)
    walk.batten(*RUN)


def load(walk: Walk) -> None:
    title("The report in a file and in a database")
    words = ("run", "report.py:load", "--param", f"run_date={DAY}", "--quiet")
    walk.batten(*words)
    walk.batten(*words)
    rows = sum(1 for _ in (walk.folder / OUTPUT).open("rb")) - 1
    promise(count_loaded(walk) == (rows, 0), f"{rows:,} rows, each once")
    title("A correction: one command loads the day anew")
    airlines = walk.folder / "in/airlines.csv"
    airlines.write_text(airlines.read_text().replace("JetBlue Airways", "jetBlue"))
    walk.batten(*words, expected=5)
    walk.batten(*words, "--fresh")
    found, corrected = count_loaded(walk)
    promise(found == rows and corrected > 0, f"{rows:,} rows, {corrected:,} of them corrected")


def count_loaded(walk: Walk) -> tuple[int, int]:
    """How many rows the database has, and how many of them bear the corrected name."""
    with closing(sqlite3.connect(walk.folder / "reports.db")) as base:
        query = "SELECT count(*), total(airline = 'jetBlue') FROM report WHERE run_date = ?"
        found, corrected = base.execute(query, (DAY,)).fetchone()
        return int(found), int(corrected)


def title(text: str) -> None:
    print(f"\n=== {text} {'=' * max(0, 74 - len(text))}\n", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(text, 78), flush=True)


def promise(is_kept: bool, text: str) -> None:
    """Say that it is as promised, or end the demo where it is not."""
    if not is_kept:
        sys.exit(f"[NOT AS PROMISED] {text}")
    print(f"[ok] {text}", flush=True)


if __name__ == "__main__":
    main()
