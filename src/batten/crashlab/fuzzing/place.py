"""Where odd folders are laid out, called on, and what lies beside them is watched."""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batten.cli.main import guard, main
from batten.crashlab.fuzzing.bases import Base, make_canary
from batten.crashlab.fuzzing.jobs import lay_job
from batten.crashlab.odd.mutations import mutate
from batten.crashlab.odd.records import Folder, Node
from batten.model.telling.sizes import show_bytes

SECONDS_MAX = 5.0
"""Of processor time for a call, which a busy machine does not stretch."""
WAITING_SECONDS_MAX = 60.0
"""For a call that waits and uses none."""
MEMORY_BYTES_MAX = 1 << 30
"""A process of calls may take so much at its peak."""

_NOBODY = 65534
_AGES = (0.0, 0.0, 0.0, -86_400.0, 120.0, 7_200.0, 4_000_000.0)
"""In seconds, of what lies in a folder: caches look at the time of the last change."""
_PAGE = "out.report.html"
_CODES = frozenset({0, 2, 3, 4, 5, 6, 7, 10, 11, 12, 75})


class TookTooLong(BaseException):
    """A call that was ended."""


@dataclass
class Tally:
    """What was done. `failures` are pairs of a case and what went wrong."""

    cases: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    seconds_max: float = 0.0
    memory_max: int = 0

    def add(self, other: Tally) -> None:
        self.cases += other.cases
        self.calls += other.calls
        self.codes += other.codes
        self.kinds += other.kinds
        self.failures += other.failures
        self.seconds_max = max(self.seconds_max, other.seconds_max)
        self.memory_max = max(self.memory_max, other.memory_max)

    def encode(self) -> bytes:
        return json.dumps(vars(self)).encode()

    @staticmethod
    def decode(data: bytes) -> Tally:
        found = json.loads(data)
        for name in ("calls", "codes", "kinds"):
            found[name] = Counter(found[name])
        found["failures"] = [(case, told) for case, told in found["failures"]]
        return Tally(**found)


class Workplace:
    """Where a process lays out its folders: beside them lies what must stay as it is."""

    def __init__(self, root: Path, bases: Sequence[Base], seed: int) -> None:
        self.root = root
        self.bases = bases
        self.seed = seed
        self.canary = root / "code-was-run"
        self._pickle = make_canary(self.canary)
        victim = root / "victim"
        temporary = root / "temporary"
        temporary.mkdir()
        temporary.chmod(0o1777)  # other users do calls, too
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        for name in ("precious", "000001.json", "part-000000.parquet", "deep/precious"):
            (victim / name).parent.mkdir(parents=True, exist_ok=True)
            (victim / name).write_text("precious")
        lay_job(root)
        self._kept = {"victim", "temporary", "job.py", "job.csv", "job.jsonl", "__pycache__"}
        for above, _, files in os.walk(victim, topdown=False):
            for name in (*files, "."):
                _make_older(os.path.join(above, name), _AGES[-1])
        self._before = self._observe_victim()
        self.is_spoilt = False
        """Whether what was done is seen in whatever is done next."""
        self._pipelines: dict[str, Any] = {}

    def run_case(self, case: int, tally: Tally, begin: Callable[[int], None]) -> None:
        begin(case)
        dice = random.Random(f"{self.seed} {case}")
        base = dice.choices(self.bases, [each.weight for each in self.bases])[0]
        folder = dict(base.folder)
        done = mutate(folder, dice, self._pickle)
        tally.cases += 1
        tally.kinds.update(each.partition(" ")[0] for each in done)
        owner = _NOBODY if dice.random() < 0.2 else None
        self._lay_out(folder, owner=owner, age_seconds=dice.choice(_AGES))
        user = _NOBODY if os.geteuid() == 0 and dice.random() < 0.1 else None
        for name in base.choose_calls(dice):
            begin(case)
            problem = self._call(name, base, tally, user)
            if problem:
                tally.failures.append((case, f"{base.name}: {', '.join(done)}: {name}: {problem}"))
                return

    def _call(self, name: str, base: Base, tally: Tally, user: int | None) -> str:
        tally.calls[name.partition(" ")[0]] += 1
        out, err = io.StringIO(), io.StringIO()
        begun = time.monotonic()
        try:
            with _limited(user), redirect_stdout(out), redirect_stderr(err):
                code = self._do(name, base)
        except TookTooLong:
            return f"took more than {SECONDS_MAX} seconds\n{traceback.format_exc()}"
        except BaseException:  # noqa: BLE001 - whatever it is, it is told
            return traceback.format_exc()
        tally.codes[str(code)] += 1
        tally.seconds_max = max(tally.seconds_max, time.monotonic() - begun)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        tally.memory_max = max(tally.memory_max, memory)
        told = out.getvalue() + err.getvalue()
        if code not in _CODES or "Traceback (most" in err.getvalue():
            return f"exit code {code}\n{err.getvalue()[-3000:]}"
        if "\x1b" in told or "\x07" in told:
            return f"a control character was shown: {told[-500:]!r}"
        if memory > MEMORY_BYTES_MAX:
            self.is_spoilt = True  # its peak stays
            return f"{show_bytes(memory)} of memory"
        return self._find_harm()

    def _do(self, name: str, base: Base) -> int:
        if name in base.functions:
            return guard(lambda: base.functions[name](self.root) or 0, is_json=False)
        verb, *words = name.split()
        if verb == "run":
            return guard(lambda: self._run(base, words), is_json=False)
        if verb == "export":
            words = [*words, "out.export.jsonl"]
        if verb == "report":
            words = [*words, "-o", _PAGE]
        code = main([verb, *words])
        if verb == "report" and code == 0:
            # What a page shows is held against the same rule as what is printed.
            sys.stdout.write((self.root / _PAGE).read_text())
        return code

    def _run(self, base: Base, words: list[str]) -> int:
        from batten.jobs.loading.job_file import load_job
        from batten.pipeline.pipeline import Pipeline

        if base.pipeline not in self._pipelines:
            job = load_job(f"job.py:{base.pipeline}", {}, Pipeline)
            self._pipelines[base.pipeline] = job.pipeline
        options = {word.removeprefix("--").replace("-", "_"): True for word in words}
        report = self._pipelines[base.pipeline].run(executor="serial", progress=False, **options)
        return 3 if report.quarantined else 0

    def _find_harm(self) -> str:
        if self.canary.exists():
            self.is_spoilt = True
            return "code that lay in the folder was run"
        if (found := self._observe_victim()) != self._before:
            self.is_spoilt = True
            return f"something outside was changed: {sorted({*found} ^ {*self._before})}"
        others = set(os.listdir(self.root)) - self._kept
        # The place that is named may itself be a link; its control folder lies where that leads.
        linked = "victim.batten" if (self.root / "out").is_symlink() else "out"
        strangers = {name for name in others if not name.startswith(("out", linked))}
        return f"made beside the output: {strangers}" if strangers else ""

    def _observe_victim(self) -> list[tuple[str, int, int, int]]:
        found = []
        for folder, folders, files in os.walk(self.root / "victim"):
            for name in (".", *folders, *files):
                status = os.lstat(os.path.join(folder, name))
                about = (status.st_mode, status.st_mtime_ns, status.st_size)
                found.append((os.path.join(folder, name), *about))
        return sorted(found)

    def _lay_out(self, folder: Folder, *, owner: int | None, age_seconds: float) -> None:
        for name in set(os.listdir(self.root)) - self._kept:
            _remove(self.root / name)
        made = set()
        for name, node in folder.items():
            path = self.root / name
            parent = name.rpartition("/")[0]
            with suppress(FileExistsError, NotADirectoryError, OSError):
                if parent and parent not in made:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    made.add(parent)
                _put(path, node)
                if age_seconds:
                    _make_older(path, age_seconds)
        control = self.root / "out.batten"
        for path in (control, self.root / "out"):
            if path.is_dir() and not path.is_symlink():
                # So the owner rule never holds, and no pickle may be used.
                path.chmod(0o777)
        if owner is not None and os.geteuid() == 0:
            for above, folders, files in os.walk(self.root):
                folders[:] = [each for each in folders if each not in self._kept]
                if above != str(self.root):
                    for name in (*folders, *files):
                        os.lchown(os.path.join(above, name), owner, owner)


def _make_older(path: str | Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)


def _put(path: Path, node: Node) -> None:
    if isinstance(node, bytes):
        path.write_bytes(node)
    elif node.kind == "folder":
        path.mkdir()
    elif node.kind == "pipe":
        os.mkfifo(path)
    elif node.kind == "link":
        path.symlink_to(node.target)
    else:
        path.touch()
        os.truncate(path, node.size)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    for folder, _, _ in os.walk(path):
        if stat.S_IMODE(os.lstat(folder).st_mode) & 0o700 != 0o700:
            os.chmod(folder, 0o755)
    shutil.rmtree(path)


@contextmanager
def _limited(user: int | None) -> Any:
    def end(*_: object) -> None:
        raise TookTooLong

    before = [(each, signal.signal(each, end)) for each in (signal.SIGALRM, signal.SIGPROF)]
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
    signal.setitimer(signal.ITIMER_REAL, WAITING_SECONDS_MAX)
    try:
        if user is not None:
            os.setegid(user)
            os.seteuid(user)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if user is not None:
            os.seteuid(0)
            os.setegid(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before:
            signal.signal(number, handler)
