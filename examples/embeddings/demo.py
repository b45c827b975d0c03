"""A guided tour: documents are embedded, killed in the middle, resumed, changed and searched
(`make demo-embeddings`)."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parent
ROOT = EXAMPLE.parents[1]
WORK = ROOT / "demo-output" / "embeddings"
BATTEN = str(Path(sys.executable).with_name("batten"))
RUN = ("run", "embeddings.py")
QUESTION = "What happens when the disk is full?"


def main() -> None:
    started = time.monotonic()
    prepare()
    run_and_kill()
    title("What happened? Is it safe to run again?")
    batten("diagnose", "vectors", expected=10)
    resume()
    change_one()
    title(QUESTION)
    subprocess.run([sys.executable, "search.py", QUESTION], cwd=WORK, check=True)
    print(f"\nAll as promised, in {time.monotonic() - started:.0f} seconds.")
    print("It is all in demo-output/embeddings/; open search.ipynb there in a notebook.")


def prepare() -> None:
    title("Documents: the records of batten's own decisions")
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(EXAMPLE, WORK, ignore=shutil.ignore_patterns("demo.py", "__pycache__"))
    (WORK / "documents").mkdir()
    for path in sorted((ROOT / "docs" / "decisions").glob("0*.md"))[:32]:
        shutil.copy(path, WORK / "documents")
    print(f"  {len(list((WORK / 'documents').iterdir()))} documents")


def run_and_kill() -> None:
    title("Embed them, and kill it in the middle")
    process = subprocess.Popen([BATTEN, *RUN], cwd=WORK)
    while process.poll() is None and diagnose_items() < 8:
        time.sleep(0.1)
    process.kill()
    process.wait()
    promise(process.returncode == -signal.SIGKILL, "SIGKILL, without a warning")


def resume() -> None:
    title("The same command again")
    report = json.loads(batten(*RUN, "--json", "--quiet").stdout)
    executed, items = report["executed_items"], report["items"]["source"]
    promise(executed < items, f"{executed} of {items} documents were embedded now")
    promise(report["items"]["committed"] == items, "and all are in the dataset")
    batten("verify", "vectors")


def change_one() -> None:
    title("A document changes")
    path = min((WORK / "documents").iterdir())
    path.write_text(path.read_text().replace("\n\n", "\n\nThis is new. ", 1))
    report = json.loads(batten(*RUN, "--json", "--quiet").stdout)
    promise(report["executed_items"] <= 4, f"{report['executed_items']} embedded anew")


def diagnose_items() -> int:
    """How many items are finished, committed or staged."""
    done = subprocess.run(
        [BATTEN, "diagnose", "vectors", "--json"], cwd=WORK, capture_output=True, check=False
    )
    if done.returncode not in (0, 10):
        return 0
    items: dict[str, Any] = json.loads(done.stdout).get("items") or {}
    return int(items.get("committed", 0)) + int(items.get("staged", 0))


def batten(*words: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    print(f"  $ batten {' '.join(words)}")
    done = subprocess.run([BATTEN, *words], cwd=WORK, capture_output=True, text=True, check=False)
    if "--json" not in words:
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="")
    promise(done.returncode == expected, f"exit code {done.returncode}{done.stderr[-500:]}")
    return done


def title(text: str) -> None:
    print(f"\n== {text} ==", flush=True)


def promise(is_kept: bool, text: str) -> None:
    if not is_kept:
        sys.exit(f"  BROKEN: {text}")
    print(f"  kept: {text}", flush=True)


if __name__ == "__main__":
    main()
