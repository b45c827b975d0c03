"""Odd folders against every command, by the thousand: `python -m batten.crashlab.fuzz --help`.

A case is a folder that real jobs made, changed by `mutations`, and a few calls on it. Its number
and the seed tell all of it, so one that failed is repeated with `--only`. Calls run in one process,
which is quick; a process does a block of cases and ends, and one that dies or hangs costs that case
alone.

A call fails in any of these cases (decision 0037). It raises something that is no error of batten.
It ends with the code 1, which is for what was not expected. It takes too long or too much memory.
It shows a control character. It changes anything outside the folder, or runs code that lay in it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from batten.cli.output import emit_object, tell
from batten.crashlab.fuzzing.bases import Base, build_bases, import_all
from batten.crashlab.fuzzing.blocks import Block, wait_for
from batten.crashlab.fuzzing.place import Tally, Workplace
from batten.crashlab.odd.bombs import prepare_bombs

BLOCK_CASES = 500


def fuzz(
    *,
    calls: int,
    seed: int,
    jobs: int = 2,
    first: int = 0,
    only: int | None = None,
    block: int = BLOCK_CASES,
    bases_named: str = "",
    progress: Callable[[int, Tally], None] = lambda case, tally: None,
) -> Tally:
    """Do so many calls; gives what was done. `first` is the case to begin with, `only` the one to
    do. `block` is how many cases a process does.
    `progress` is told up to which case all is done, and what was done since it was last told.
    `bases_named` is a pattern of names of folders: only these are taken, which makes other cases of
    the same numbers."""
    holder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="batten-fuzz-", dir=holder) as root:
        os.chmod(root, 0o755)
        built = build_bases(Path(root) / "bases")
        bases = [each for each in built if re.search(bases_named, each.name)]
        prepare_bombs(Path(root) / "bombs")
        import_all()
        total = Tally()
        todo = [] if only is None else [(only, only + 1)]
        following = first
        blocks: list[Block] = []
        while True:
            is_enough = only is not None or total.calls.total() >= calls
            while len(blocks) < jobs and (todo or not is_enough):
                if not todo:
                    todo.append((following, following + block))
                    following += block
                taken = {each.root for each in blocks}
                places = (Path(root) / f"place{number}" for number in range(jobs))
                own = next(each for each in places if each not in taken)
                blocks.append(Block(own, partial(_make_place, own, bases, seed), *todo.pop()))
            if not blocks:
                return total
            ended, status = wait_for(blocks)
            blocks.remove(ended)
            reached, tally = ended.finish(status)
            total.add(tally)
            if reached < ended.stop:
                todo.append((reached, ended.stop))
            starts = [each.start for each in blocks] + [start for start, _ in todo]
            progress(min(starts, default=following), tally)


def _make_place(root: Path, bases: Sequence[Base], seed: int) -> Workplace:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return Workplace(root, bases, seed)


def _command(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m batten.crashlab.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="calls (default: 20,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--only", type=int, metavar="CASE", help="one case alone")
    parser.add_argument("--bases", default="", metavar="PATTERN", help="folders of such names only")
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
        bases_named=arguments.bases,
        progress=progress,
    )
    emit_object({**vars(total), "failures": len(total.failures)})
    return 1 if total.failures else 0


if __name__ == "__main__":
    raise SystemExit(_command(sys.argv[1:]))
