"""Odd folders against every command, by the thousand: `python -m batten.crashlab.fuzz --help`.

A case is a folder that real jobs made, changed by `mutations`, and a few calls on it. Its number
and the seed tell all of it, so one that failed is repeated with `--only`. Calls run in one process,
which is quick; a process does a block of cases and ends, and one that dies or hangs costs that case
alone.

A call fails when it raises what is no error of batten, ends with the code 1 (which is for what was
not expected), takes too long or too much memory, shows a control character, changes anything
outside the folder, or runs code that lay in it.
"""

from __future__ import annotations

import argparse
import io
import json
import mmap
import os
import pickle
import random
import resource
import shutil
import signal
import stat
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from batten.cli.main import guard, main
from batten.cli.output import emit_object, tell
from batten.crashlab.fuzz_bases import Base, build_bases, import_all, make_canary
from batten.crashlab.mutations import Folder, Special, mutate

SECONDS_MAX = 5.0
"""Of processor time for a call, which a busy machine does not stretch."""
WAITING_SECONDS_MAX = 60.0
"""For a call that waits and uses none."""
"""A call may take so long."""
MEMORY_BYTES_MAX = 1 << 30
"""A process of calls may take so much at its peak."""
BLOCK_CASES = 500
_HUNG_SECONDS = 30.0
_NOBODY = 65534
_NO_CASE = -1
_SLOT = struct.Struct("=qqd")

_CODES = frozenset({0, 2, 3, 4, 5, 6, 7, 10, 11, 12, 75})


class TookTooLong(BaseException):
    """A call that was ended."""


class Unpickled(BaseException):
    """Something was about to be unpickled that others may have written."""


def _refuse_pickle(*_: object, **__: object) -> NoReturn:
    raise Unpickled


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
        for name in ("precious", "000001.json", "part-000000.parquet", "deep/precious"):
            (victim / name).parent.mkdir(parents=True, exist_ok=True)
            (victim / name).write_text("precious")
        (root / "job.py").write_text(bases[0].job)
        self._kept = {"victim", "job.py", "__pycache__"}
        self._before = self._observe_victim()
        self._pipelines: dict[str, Any] = {}

    def run_case(self, case: int, tally: Tally, begin: Callable[[int], None]) -> None:
        begin(case)
        dice = random.Random(f"{self.seed} {case}")
        base = dice.choices(self.bases, [each.weight for each in self.bases])[0]
        folder = dict(base.folder)
        done = mutate(folder, dice, self._pickle)
        tally.cases += 1
        tally.kinds.update(each.partition(" ")[0] for each in done)
        self._lay_out(folder, owner=_NOBODY if dice.random() < 0.2 else None)
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
            return f"{memory:,} bytes of memory"
        return self._find_harm()

    def _do(self, name: str, base: Base) -> int:
        if name in base.functions:
            return guard(lambda: base.functions[name](self.root) or 0, is_json=False)
        verb, *words = name.split()
        if verb == "run":
            return guard(lambda: self._run(base, words), is_json=False)
        if verb == "export":
            words = [*words, "out.export.jsonl"]
        return main([verb, *words])

    def _run(self, base: Base, words: list[str]) -> int:
        from batten.jobs.job_file import load_job
        from batten.pipeline.pipeline import Pipeline

        if base.pipeline not in self._pipelines:
            job = load_job(f"job.py:{base.pipeline}", {}, Pipeline)
            self._pipelines[base.pipeline] = job.pipeline
        options = {word.removeprefix("--").replace("-", "_"): True for word in words}
        report = self._pipelines[base.pipeline].run(executor="serial", **options)
        return 3 if report.quarantined else 0

    def _find_harm(self) -> str:
        if self.canary.exists():
            return "code that lay in the folder was run"
        if self._observe_victim() != self._before:
            return "something outside was changed"
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
                found.append((name, status.st_mode, status.st_mtime_ns, status.st_size))
        return sorted(found)

    def _lay_out(self, folder: Folder, *, owner: int | None) -> None:
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


def _put(path: Path, node: bytes | Special) -> None:
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


# --- blocks of cases, in processes ---------------------------------------------------------------


class _Worker:
    """A process at work on cases from `start` to `stop`. What it is about stands in shared memory,
    what it did in a file when it ends."""

    def __init__(self, root: Path, place: Callable[[], Workplace], start: int, stop: int) -> None:
        self.root, self.start, self.stop = root, start, stop
        self._slot = mmap.mmap(-1, mmap.PAGESIZE)
        self._tell(_NO_CASE)
        self._result = root.with_suffix(".result")
        self._result.unlink(missing_ok=True)
        self.pid = os.fork()
        if not self.pid:
            self._work(place)

    def _tell(self, case: int) -> None:
        self._slot[: _SLOT.size] = _SLOT.pack(case, 0, time.monotonic())

    def _work(self, make_place: Callable[[], Workplace]) -> None:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (2 * MEMORY_BYTES_MAX, 2 * MEMORY_BYTES_MAX))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            place = make_place()
            os.chdir(place.root)
            # Others may write to every folder here, so that no pickle may be used.
            pickle.loads = pickle.load = _refuse_pickle
            tally = Tally()
            for case in range(self.start, self.stop):
                place.run_case(case, tally, self._tell)
                if tally.failures and "memory" in tally.failures[-1][1]:
                    self.stop = case + 1  # its peak stays, so the rest is for another process
                    break
            data = json.dumps([self.stop, tally.encode().decode()]).encode()
            self._result.write_bytes(data)
            status = 0
        except BaseException:  # noqa: BLE001 - told, and the process ends
            traceback.print_exc()
        finally:
            os._exit(status)

    def is_hung(self) -> bool:
        case, _, since = _SLOT.unpack(self._slot[: _SLOT.size])
        return bool(case != _NO_CASE and time.monotonic() - since > _HUNG_SECONDS)

    def finish(self, status: int) -> tuple[int, Tally]:
        """From where to go on, and what was done."""
        if status == 0:
            stop, encoded = json.loads(self._result.read_bytes())
            return stop, Tally.decode(encoded.encode())
        case, _, _ = _SLOT.unpack(self._slot[: _SLOT.size])
        why = "it hung" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9 else "it ended"
        case = max(case, self.start)
        return case + 1, Tally(cases=1, failures=[(case, f"{why}: the process, with {status}")])


def fuzz(
    *,
    calls: int,
    seed: int,
    jobs: int = 2,
    first: int = 0,
    only: int | None = None,
    folder: str | None = None,
    block: int = BLOCK_CASES,
    progress: Callable[[int, Tally], None] = lambda case, tally: None,
) -> Tally:
    """Do so many calls; gives what was done. `first` is the case to begin with, `only` the one to
    do. `folder` is where to do it, best in memory; `block` is how many cases a process does.
    `progress` is told up to which case all is done, and what was done since it was last told."""
    holder = "/dev/shm" if folder is None and os.path.isdir("/dev/shm") else folder
    with tempfile.TemporaryDirectory(prefix="batten-fuzz-", dir=holder) as root:
        os.chmod(root, 0o755)
        bases = build_bases(Path(root) / "bases")
        import_all()
        total = Tally()
        todo: list[tuple[int, int]] = []
        following = first if only is None else only
        workers: dict[int, _Worker] = {}
        places = [Path(root) / f"place{number}" for number in range(jobs)]
        while True:
            is_enough = total.calls.total() >= calls or (only is not None and following > only)
            while len(workers) < jobs and (todo or not is_enough):
                start, stop = todo.pop() if todo else (following, following + block)
                if only is not None:
                    stop = start + 1
                following = max(following, stop)
                is_enough = is_enough or only is not None
                taken = {worker.root for worker in workers.values()}
                own = next(each for each in places if each not in taken)
                worker = _Worker(own, partial(_make_place, own, bases, seed), start, stop)
                workers[worker.pid] = worker
            if not workers:
                return total
            pid, status = _wait(workers)
            worker = workers.pop(pid)
            reached, tally = worker.finish(status)
            total.add(tally)
            if reached < worker.stop and only is None:
                todo.append((reached, worker.stop))
            starts = [each.start for each in workers.values()] + [each[0] for each in todo]
            progress(min(starts, default=following), tally)


def _make_place(root: Path, bases: Sequence[Base], seed: int) -> Workplace:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return Workplace(root, bases, seed)


def _wait(workers: dict[int, _Worker]) -> tuple[int, int]:
    while True:
        for pid, worker in workers.items():
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return pid, status
            if worker.is_hung():
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


# --- the command ------------------------------------------------------------------------------


def _command(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m batten.crashlab.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="calls (default: 20,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--only", type=int, metavar="CASE", help="one case alone")
    parser.add_argument("--state", metavar="FILE", help="go on where it was stopped, by this file")
    arguments = parser.parse_args(words)
    state = Path(arguments.state) if arguments.state else None
    total, first = Tally(), 0
    if state is not None and state.exists():
        kept = json.loads(state.read_text())
        if kept["seed"] == arguments.seed:
            total, first = Tally.decode(kept["tally"].encode()), kept["first"]
    begun, before = time.monotonic(), total.calls.total()

    def progress(case: int, tally: Tally) -> None:
        total.add(tally)
        for failed, told in tally.failures:
            tell(f"--only {failed}: {told}")
        speed = (total.calls.total() - before) / (time.monotonic() - begun)
        tell(
            f"{total.calls.total():,} calls of {total.cases:,} cases, {speed:.0f} a second, "
            f"{len(total.failures)} failed"
        )
        if state is not None:
            kept = {"seed": arguments.seed, "first": case, "tally": total.encode().decode()}
            draft = state.with_name(state.name + ".new")
            draft.write_text(json.dumps(kept))
            draft.replace(state)

    fuzz(
        calls=arguments.count - before,
        seed=arguments.seed,
        jobs=arguments.jobs,
        first=first,
        only=arguments.only,
        progress=progress,
    )
    emit_object({**vars(total), "failures": len(total.failures)})
    return 1 if total.failures else 0


if __name__ == "__main__":
    raise SystemExit(_command(sys.argv[1:]))
