"""A guided tour: a knowledge base that is killed while it grows (`make demo-knowledge-base`)."""

from __future__ import annotations

import contextlib
import filecmp
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from make_pdf import make_pdf

EXAMPLE = Path(__file__).resolve().parent
OUTPUT = EXAMPLE.parents[1] / "demo-output" / "knowledge_base"
WORK = OUTPUT / "killed"
UNDISTURBED = OUTPUT / "undisturbed"
PROGRAM = EXAMPLE / "knowledge_base.py"
INGEST = ("ingest", "shelf")

LOGBOOKS = 30
LOGBOOK_LINES = 500
KILLED_AT_PAGES = 10
POLL_SECONDS = 0.01


def main() -> None:
    started = time.monotonic()
    fill_shelves()
    ingest_and_kill()
    look()
    resume()
    search()
    remove()
    compare_with_undisturbed()
    seconds = time.monotonic() - started
    print(f"\nAll as promised, in {seconds:.0f} seconds. It is all in demo-output/knowledge_base/.")


def fill_shelves() -> None:
    title("A shelf of documents")
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for folder in (WORK, UNDISTURBED):
        shutil.copytree(EXAMPLE / "sample", folder / "shelf")
        for number in range(1, LOGBOOKS + 1):
            lines = [
                f"{entry}: {entry * number % 97} boats, says the Harbour Office, at Buoy {number}."
                for entry in range(1, LOGBOOK_LINES + 1)
            ]
            data = make_pdf(lines, title=f"Logbook {number}")
            (folder / "shelf" / f"logbook-{number:02}.pdf").write_bytes(data)
    say(
        f"Four documents about a harbour (PDF, HTML, Markdown) and {LOGBOOKS} logbooks. Each "
        "becomes a page of Markdown, linked with others by the names in it. With it change a "
        "full-text index, a registry, a log and the pages of names: all of that, or nothing."
    )


def ingest_and_kill() -> None:
    title("Take them in, and kill it in the middle")
    print_command(INGEST)
    process = subprocess.Popen(command(INGEST), cwd=WORK)
    try:
        while process.poll() is None and count_pages(WORK) < KILLED_AT_PAGES:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
    promise(process.returncode == -signal.SIGKILL, "SIGKILL, without a warning")


def look() -> None:
    title("Does it agree with itself?")
    run("check")
    pages = count_pages(WORK)
    promise(0 < pages < LOGBOOKS, f"{pages} documents are there, each of them whole")


def resume() -> None:
    title("The same command again")
    run(*INGEST)
    run("check")
    log = (WORK / "knowledge" / "log.md").read_text().splitlines()
    promise(len(log) == len(set(log)) == count_pages(WORK), "each document came in once")
    run(*INGEST)
    promise(count_pages(WORK) == len(log), "what is known is not even converted")


def search() -> None:
    title("What does it know?")
    found = run("search", "Gannet", "Rock")
    promise("Gannet" in found, "it is found")
    linked = (WORK / "knowledge" / "entities" / "narrow-sound.md").read_text()
    print(textwrap.indent(linked, "  "))


def remove() -> None:
    title("And let go of a document")
    (page,) = (WORK / "knowledge" / "pages").glob("pilot-*.md")
    run("remove", page.stem)
    run("check")
    promise("nothing found" in run("search", "Gannet", "Rock"), "nothing speaks of it any more")


def compare_with_undisturbed() -> None:
    title("And had it never been killed?")
    run(*INGEST, folder=UNDISTURBED)
    (page,) = (UNDISTURBED / "knowledge" / "pages").glob("pilot-*.md")
    run("remove", page.stem, folder=UNDISTURBED)
    trees = (WORK / "knowledge", UNDISTURBED / "knowledge")
    names = {
        str(path.relative_to(tree))
        for tree in trees
        for path in tree.rglob("*")
        if path.is_file() and path.suffix != ".sqlite"
    }
    same, different, missing = filecmp.cmpfiles(trees[0], trees[1], names, shallow=False)
    promise(
        bool(same) and not different and not missing,
        f"a run in another folder made the same {len(same)} files, byte for byte",
    )


def count_pages(folder: Path) -> int:
    return len(list((folder / "knowledge" / "pages").glob("*.md")))


def run(*arguments: str, folder: Path = WORK) -> str:
    """Run a command of the program; gives what it prints, which is on the screen as well."""
    print_command(arguments)
    done = subprocess.run(
        command(arguments), cwd=folder, check=False, text=True, stdout=subprocess.PIPE
    )
    print(textwrap.indent(done.stdout, "  "), end="", flush=True)
    promise(done.returncode == 0, f"{arguments[0]} ends with exit 0")
    return done.stdout


def command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, str(PROGRAM), *arguments]


def title(text: str) -> None:
    print(f"\n=== {text} {'=' * (74 - len(text))}\n", flush=True)


def say(text: str) -> None:
    print(textwrap.fill(text, 78), flush=True)


def print_command(arguments: tuple[str, ...]) -> None:
    print(f"$ python knowledge_base.py {' '.join(arguments)}", flush=True)


def promise(is_kept: bool, text: str) -> None:
    """Say that it is as promised, or end the demo where it is not."""
    if not is_kept:
        sys.exit(f"[NOT AS PROMISED] {text}")
    print(f"[ok] {text}", flush=True)


if __name__ == "__main__":
    main()
