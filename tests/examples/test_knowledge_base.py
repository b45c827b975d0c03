"""The knowledge base: what a reader finds agrees, whatever was added, removed or killed."""

from __future__ import annotations

import errno
import random
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import Fail, KillAfter, KillBefore
from batten.crashlab.points import MakeFault
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.crashlab.tracing.system_calls import TAKING_SPACE

EXAMPLE = Path(__file__).parents[2] / "examples" / "knowledge_base"
PROGRAM = EXAMPLE / "knowledge_base.py"
EXIT_FAILED = 1
EXIT_QUARANTINED = 3
EXIT_USAGE = 2
KILLS: list[MakeFault] = [KillBefore, KillAfter]
MODULES = ("convert", "documents", "entities", "knowledge_base", "library", "make_pdf")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shelf").mkdir()
    return Base(tmp_path)


class Base:
    """A knowledge base beside a folder `shelf`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "knowledge"
        self.shelf = folder / "shelf"

    @property
    def program(self) -> ModuleType:
        import knowledge_base

        return knowledge_base

    def ingest(self, folder: Path | None = None, *, should_retry: bool = False) -> int:
        code: int = self.program.ingest(
            self.root, folder or self.shelf, 1, should_retry=should_retry
        )
        assert_agreement(self.root)
        return code

    def names(self) -> dict[str, str]:
        """The source of each document, by its name."""
        documents = self.program.Library(self.root).read_registry().documents
        return {name: entry.source for name, entry in documents.items()}

    def find(self, *words: str) -> list[str]:
        return sorted(name for name, _, _ in self.program.Library(self.root).search(words))


def assert_agreement(root: Path) -> None:
    from library import find_disagreements

    assert list(find_disagreements(root)) == []


def test_the_sample_is_found_by_its_words(base: Base) -> None:
    shutil.copytree(EXAMPLE / "sample", base.shelf, dirs_exist_ok=True)
    assert base.ingest() == 0
    by_source = {source: name for name, source in base.names().items()}
    assert set(by_source) == {
        "shelf/guides/moorings.html",
        "shelf/guides/tides.md",
        "shelf/notes/pilot.pdf",
        "shelf/notes/tides.md",
    }
    assert base.find("Gannet", "rock") == [by_source["shelf/notes/pilot.pdf"]]
    assert base.find("VHF channel") == [by_source["shelf/guides/moorings.html"]]
    assert base.find("nothing of it") == []
    linked = (base.root / "entities" / "harbour-office.md").read_text()
    assert set(by_source.values()) == {name for name in by_source.values() if name in linked}


def test_what_is_known_is_skipped_what_changed_is_taken_in_again(
    base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = base.shelf / "a" / "notes.md", base.shelf / "b" / "notes.md"
    for path in (one, two):
        path.parent.mkdir()
        path.write_text(f"# Notes {path.parent.name}\n\nThe Harbour Office.\n")
    (base.shelf / "copy.md").write_bytes(one.read_bytes())
    assert base.ingest() == 0
    names = base.names()
    assert sorted(names.values()) == ["shelf/a/notes.md", "shelf/b/notes.md"]

    first = one.read_text()
    for text in ("# Notes\n\nThe Gannet Rock.\n", first, "# Notes\n\nThe Gannet Rock.\n"):
        assert base.find("Gannet") == (
            [] if text != first else [names_of(base)["shelf/a/notes.md"]]
        )
        one.write_text(text)
        assert base.ingest() == 0
        assert (base.root / "pages" / f"{names_of(base)['shelf/a/notes.md']}.md").exists()
    # Its content is no longer known, so the copy of it comes in.
    assert base.ingest() == 0
    assert set(base.names().values()) == {"shelf/a/notes.md", "shelf/b/notes.md", "shelf/copy.md"}
    assert set(names) <= set(base.names())

    name = names_of(base)["shelf/b/notes.md"]
    assert base.program.let_go(base.root, name) == 0
    assert base.program.let_go(base.root, name) == EXIT_USAGE
    assert_agreement(base.root)
    assert name not in base.names()
    assert base.ingest() == 0
    assert name in base.names()
    capsys.readouterr()


def names_of(base: Base) -> dict[str, str]:
    return {source: name for name, source in base.names().items()}


def test_folders_of_one_name_are_two(base: Base, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "shelf"
    elsewhere.mkdir(parents=True)
    for folder in (base.shelf, elsewhere):
        (folder / "notes.md").write_text(f"# Notes\n\nOf {folder.parent.name}\n")
    assert base.ingest() == base.ingest(elsewhere) == 0
    assert set(base.names().values()) == {"shelf/notes.md", "elsewhere/shelf/notes.md"}


def test_a_folder_with_the_tree_in_it_is_refused(base: Base, tmp_path: Path) -> None:
    assert base.ingest(tmp_path) == EXIT_USAGE
    assert not base.root.exists()


def test_one_that_fails_leaves_no_trace_and_stops_no_other(base: Base) -> None:
    (base.shelf / "a.pdf").write_bytes(b"no pdf")
    (base.shelf / "b.md").write_text("# Good\n\nNarrow Sound")
    assert base.ingest() == EXIT_QUARANTINED
    assert "shelf/b.md" in base.names().values()
    assert "shelf/a.pdf" not in base.names().values()
    from make_pdf import make_pdf

    (base.shelf / "a.pdf").write_bytes(make_pdf(["Gannet Rock"], title="Mended"))
    assert base.ingest(should_retry=True) == 0
    assert "shelf/a.pdf" in base.names().values()

    (base.shelf / "empty.md").touch()
    assert base.ingest() == EXIT_QUARANTINED
    (base.shelf / "empty.md").unlink()
    assert base.ingest(should_retry=True) == 0


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(PROGRAM), "--root", str(folder / "knowledge"), *arguments]


def folders(folder: Path) -> list[Path]:
    return [folder / name for name in ("knowledge", "knowledge.batten", "knowledge.prepared")]


def fill_shelf(folder: Path) -> None:
    shelf = folder / "shelf"
    shelf.mkdir(parents=True)
    (shelf / "one.md").write_text("# One\n\nOf the Harbour Office and the Gannet Rock.\n")
    (shelf / "two.html").write_text("<title>Two</title><p>Of the Harbour Office.</p>")


def check_any(folder: Path, trail: Trail) -> None:
    last = trail.last
    assert last.returncode == 0 or (last.returncode < 0 and last.fault is not None), last.stderr
    assert_agreement(folder / "knowledge")


def check_ingested(folder: Path, trail: Trail) -> None:
    with closing(sqlite3.connect(folder / "knowledge" / "index.sqlite")) as index:
        assert index.execute("select count(*) from documents").fetchone() == (2,)
    assert len((folder / "knowledge" / "log.md").read_text().splitlines()) == 2


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(40, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, True])
def test_ingest_is_killed(
    sample: int, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = Experiment(
        prepare=fill_shelf,
        command=lambda folder: command(folder, "ingest", "shelf", "--jobs", "1"),
        folders=folders,
        check=check_ingested,
        check_always=check_any,
        is_forked=True,
    )
    disturb(
        experiment,
        tmp_path,
        seeded=seeded,
        faults=KILLS,
        sample=sample,
        is_twice=is_twice,
    )


@needs_tracing
@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
def test_the_disk_is_full(sample: int | None, tmp_path: Path, seeded: random.Random) -> None:
    """From some call on, for good; then there is room again."""

    def check_full(folder: Path, trail: Trail) -> None:
        last = trail.last
        assert last.returncode in (0, EXIT_FAILED), last.stderr
        assert "Traceback" not in last.stderr, last.stderr
        assert_agreement(folder / "knowledge")

    experiment = Experiment(
        prepare=fill_shelf,
        command=lambda folder: command(folder, "ingest", "shelf", "--jobs", "1"),
        folders=folders,
        check=check_ingested,
        check_always=check_full,
        is_forked=True,
    )
    full = partial(Fail, error=errno.ENOSPC, times=None, kinds=TAKING_SPACE)
    disturb(experiment, tmp_path, seeded=seeded, faults=[full], sample=sample)


@needs_tracing
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, True])
def test_remove_is_killed(
    sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    """Killed again in the rerun, that is also in recovery."""
    import batten

    fill_shelf(tmp_path / "made")
    ingested = command(tmp_path / "made", "ingest", "made/shelf", "--jobs", "1")
    subprocess.run(ingested, cwd=tmp_path, check=True, capture_output=True)
    from documents import make_name

    name = make_name("shelf/one.md")

    def prepare(folder: Path) -> None:
        shutil.copytree(tmp_path / "made", folder, dirs_exist_ok=True)

    def check_removed(folder: Path, trail: Trail) -> None:
        with batten.read_lock(folder / "knowledge"):
            pages = sorted((folder / "knowledge" / "pages").iterdir())
        assert [path.name for path in pages] == [f"{make_name('shelf/two.html')}.md"]

    experiment = Experiment(
        prepare=prepare,
        command=lambda folder: command(folder, "remove", name),
        folders=folders,
        check=check_removed,
        check_always=check_any_removal,
        done_codes=frozenset({0, EXIT_USAGE}),
        is_forked=True,
    )
    disturb(
        experiment,
        tmp_path,
        seeded=seeded,
        faults=KILLS,
        sample=sample,
        is_twice=is_twice,
        twice_max=150,
    )


def check_any_removal(folder: Path, trail: Trail) -> None:
    """Who is killed after the commit finds nothing to remove when it comes again."""
    last = trail.last
    assert last.returncode in (0, EXIT_USAGE) or last.fault is not None, last.stderr
    assert_agreement(folder / "knowledge")


@pytest.mark.parametrize("processes", [3, pytest.param(10, marks=pytest.mark.crash)])
def test_processes_add_and_remove_at_once(processes: int, tmp_path: Path) -> None:
    def work(number: int) -> None:
        shelf = tmp_path / f"shelf-{number}"
        shelf.mkdir()
        for name in ("one", "two"):
            text = f"# {name} {number}\n\nOf the Harbour Office and of Rock {number}.\n"
            (shelf / f"{name}.md").write_text(text)
        run = {"cwd": tmp_path, "check": True, "capture_output": True}
        subprocess.run(command(tmp_path, "ingest", shelf.name, "--jobs", "1"), **run)
        name = make_name(f"{shelf.name}/one.md")
        subprocess.run(command(tmp_path, "remove", name), **run)

    from documents import make_name

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(work, range(processes)))
    assert_agreement(tmp_path / "knowledge")
    pages = {path.stem for path in (tmp_path / "knowledge" / "pages").iterdir()}
    assert pages == {make_name(f"shelf-{number}/two.md") for number in range(processes)}
