"""What all tests share: one seed for everything random, no deadlines, and sweeps that go on where
they were stopped."""

from __future__ import annotations

import compileall
import dataclasses
import gc
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.kept_templates import ForkedCommands, execute
from batten.crashlab.servers.broker import OTHER
from batten.storage.beneath import Beneath
from batten.storage.changing.removing import remove_tree

SEED = "BATTEN_SEED"
USUAL_SEED = "1"
"""Each run of the tests is the same, unless another seed is given."""

ROOT = Path(__file__).parents[1]
PASSED = ROOT / ".crash-passed"
"""A line for each complete sweep that passed: a digest of what it passed on, its name."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--go-on",
        action="store_true",
        help="leave out the complete sweeps that have passed on these very sources",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed where none is given. The workers of xdist inherit it. A shell that starts
    the tests in the background has them ignore Ctrl-C, and `nohup` a hang-up. What they start
    would, too. The thousands of processes of a sweep find batten compiled, also where Python is
    told to write no bytecode: otherwise each would spend most of its time on that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    seed = os.environ.setdefault(SEED, USUAL_SEED)
    hypothesis.settings.register_profile(
        "batten", deadline=None, print_blob=True, derandomize=seed == USUAL_SEED
    )
    hypothesis.settings.load_profile("batten")
    compileall.compile_dir(Path(batten.__file__).parent, quiet=1)
    if config.getoption("--go-on"):
        config.pluginmanager.register(GoingOn(is_worker=hasattr(config, "workerinput")))


def pytest_report_header() -> list[str]:
    return [f"{SEED}={os.environ[SEED]}", f"Kafka is {OTHER or 'noida-db'}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "seeded" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.by_chance)
    leave_out(find_smaller_samples(items), config, items)


def leave_out(
    found: Collection[pytest.Item], config: pytest.Config, items: list[pytest.Item]
) -> None:
    config.hook.pytest_deselected(items=found)
    items[:] = [item for item in items if item not in found]


def find_smaller_samples(items: list[pytest.Item]) -> set[pytest.Item]:
    """Of complete sweeps that differ in their sample alone, all but the largest. Where another
    parameter makes a sweep a complete one, that of few points shows nothing more."""
    sweeps = [(item, *_find_sweep(item)) for item in items]
    largest: dict[object, float] = {}
    for _, subject, size in sweeps:
        largest[subject] = max(size, largest.get(subject, size))
    return {item for item, subject, size in sweeps if size < largest[subject]}


def _find_sweep(item: pytest.Item) -> tuple[object, float]:
    """What a complete sweep is of, whatever its sample, and how large that is. Any other test is
    of itself."""
    call = getattr(item, "callspec", None)
    if call is None or "sample" not in call.params or not item.get_closest_marker("crash"):
        return item.nodeid, 0.0
    sample = call.params["sample"]
    others = frozenset((name, id(v)) for name, v in call.params.items() if name != "sample")
    return (item.nodeid.partition("[")[0], others), math.inf if sample is None else float(sample)


class GoingOn:
    """Remembers which complete sweeps passed, and leaves these out the next time. What other files
    of tests hold does not count."""

    def __init__(self, *, is_worker: bool) -> None:
        self._is_worker = is_worker
        self._shared = hashlib.sha256()
        for folder in ("src", "tests", "examples"):
            for path in sorted((ROOT / folder).rglob("*.py")):
                if folder != "tests" or not path.name.startswith("test_"):
                    self._shared.update(
                        f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode()
                    )
                    self._shared.update(path.read_bytes())

    def _line_of(self, nodeid: str) -> str:
        digest = self._shared.copy()
        digest.update((ROOT / nodeid.partition("::")[0]).read_bytes())
        return f"{digest.hexdigest()[:16]} {nodeid}"

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        passed = set(PASSED.read_text().splitlines()) if PASSED.exists() else set()
        leave_out({item for item in items if self._line_of(item.nodeid) in passed}, config, items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        is_sweep = "crash" in report.keywords
        if is_sweep and report.when == "call" and report.passed and not self._is_worker:
            with PASSED.open("a") as file:
                file.write(f"{self._line_of(report.nodeid)}\n")


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own folder is the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of runs in this process are forked: the threads of xdist survive that, and functions
    within tests can be had in no other way."""
    monkeypatch.setattr("batten.work.workforce.find_foreign_threads", list)


@pytest.fixture(autouse=True)
def in_sight() -> Iterator[None]:
    """A command that a test calls leaves all that is there out of the sight of the collector, as
    if the process were its own. Hypothesis asks the collector who holds its random numbers. From
    Python 3.14 on nobody else would know."""
    yield
    gc.unfreeze()


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """Randomness that depends on the seed and on the test, not on the order of tests."""
    return random.Random(f"{os.environ[SEED]} {request.node.nodeid}")


@dataclasses.dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> list[str]:
        """The three lines of an expected error: what happened, what is safe, what to do next."""
        assert "Traceback" not in self.err, self.err
        return self.told_last

    @property
    def told_last(self) -> list[str]:
        """These lines, where the traceback of a user's own function comes before."""
        lines = self.err.rstrip("\n").split("\n")
        assert len(lines) >= 3, self.err
        return lines[-3:]

    @property
    def json(self) -> Any:
        """The one object that was printed, and nothing else."""
        return json.loads(self.out)


_forked = ForkedCommands()


@dataclasses.dataclass
class JobFolder:
    """A folder with `job.py` in it, which the finished command runs as users run it. It is forked
    from a process that has imported batten, unless `is_executed`."""

    path: Path
    is_executed: bool = False
    commands: int = 0

    def write(self, text: str, file: str = "job.py") -> JobFolder:
        (self.path / file).write_text("import batten\n" + textwrap.dedent(text))
        return self

    def run(self, *words: str, job: str = "job.py", cwd: Path | None = None, **env: str) -> Ended:
        return self.batten("run", job, *words, cwd=cwd, **env)

    def batten(self, *words: str, cwd: Path | None = None, **env: str) -> Ended:
        command = [sys.executable, "-m", "batten", *words]
        if self.is_executed:
            ended = execute(command, cwd or self.path, **env)
        else:
            # No two in a row have their sets in the same order.
            self.commands += 1
            seed = 2 * int(os.environ[SEED]) + self.commands % 2
            ended = _forked.run(command, cwd or self.path, hash_seed=1 + seed % 2**31, **env)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def parts(self, output: str = "out") -> dict[str, bytes]:
        """The bytes of the published parts."""
        return {path.name: path.read_bytes() for path in sorted((self.path / output).iterdir())}

    def rows(self, output: str = "out") -> list[dict[str, Any]]:
        files = sorted((self.path / output).iterdir())
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def quarantined(self, output: str = "out") -> dict[str, tuple[str, int]]:
        """What failed, by key: the error and the attempts."""
        folder = self.path / f"{output}.batten" / "quarantine"
        return {
            row["key"]: (row["error"], row["attempts"])
            for file in sorted(folder.iterdir())
            for row in pq.read_table(file).to_pylist()
        }

    def snapshot(self) -> dict[str, tuple[int, str]]:
        """Every file below the folder but locks and logs, with its time and a digest."""
        return {
            str(path.relative_to(self.path)): (
                path.stat().st_mtime_ns,
                hashlib.sha256(path.read_bytes()).hexdigest(),
            )
            for path in self.path.rglob("*")
            if path.is_file() and path.name != "lock" and path.parent.name != "runs"
        }

    def calls(self) -> list[str]:
        """What the job's function noted in `calls`, a line each."""
        path = self.path / "calls"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path)


@pytest.fixture
def nobody() -> list[str]:
    """The words before a command that run it as a user without rights. An interpreter in a home
    folder may be out of that user's reach."""
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.getuid() != 0 or shutil.which(words[0]) is None:
        pytest.skip("only root can become another user")
    tried = subprocess.run([*words, sys.executable, "-c", ""], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"another user may not run {sys.executable}")
    return words


@pytest.fixture
def make_deep(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Makes a folder that is deeper than any path can name, which pytest itself could not remove,
    and in each of its folders a file."""

    def make(folder: Path, depth: int = 3000) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        inner = os.open(folder, os.O_RDONLY)
        for _ in range(depth):
            os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=inner))
            os.mkdir("d", dir_fd=inner)
            below = os.open("d", os.O_RDONLY, dir_fd=inner)
            os.close(inner)
            inner = below
        os.close(inner)

    yield make
    for each in tmp_path.iterdir():
        remove_tree(Beneath(str(tmp_path)), each.name)


WithoutPermission = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture
def without_permission(tmp_path: Path) -> WithoutPermission:
    """`with without_permission(path)`: this process may do nothing there. Permissions don't hold
    back root, as which tests may run, so it is another user meanwhile."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)

    @contextmanager
    def forbid(path: Path) -> Iterator[None]:
        mode, is_root = path.stat().st_mode, os.geteuid() == 0
        path.chmod(0)
        if is_root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if is_root:
                os.seteuid(0)
            path.chmod(mode)

    return forbid
