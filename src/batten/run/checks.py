"""Looks before the work begins at inputs, output and memory.

So what can't end well is told at once.

A check reads only. If a bad end is certain, the run is refused. If it is only likely, a doubt is
told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from batten.errors import BattenError, RefusedError, StorageError
from batten.jobs.loading.job_folder import show_path
from batten.ledger.history.runs import list_runs, read_run
from batten.model.disk.names import Layout
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes
from batten.model.value_class import value_class
from batten.run.context import Context
from batten.run.run_options import RunOptions
from batten.sources.base import is_batched
from batten.storage.addresses import find_scheme
from batten.storage.base import Store
from batten.storage.machine import Machine, MemoryRoom, is_read_only

if TYPE_CHECKING:
    from batten.sources.inputs import Input

_SAFE = "Nothing was started; what was committed before is untouched."


@value_class
class Check:
    """One thing that was looked at: `told` is what was found. With a `refusal` no run starts;
    what `is_doubtful` may end badly, and may not."""

    name: str
    told: str
    is_doubtful: bool = False
    refusal: BattenError | None = None

    @property
    def verdict(self) -> str:
        """ok, doubtful or refused."""
        if self.refusal is not None:
            return "refused"
        return "doubtful" if self.is_doubtful else "ok"


def list_checks(context: Context) -> Iterator[Check]:
    """What can be checked before the dataset is looked at."""
    yield from _check_inputs(context)
    if context.storage.local is not None:
        yield _check_place(context)
    earlier = _find_earlier_memory(context.storage, context.layout)
    yield check_memory(Machine().observe_memory(), context.options, earlier, context.again)


def _check_inputs(context: Context) -> Iterator[Check]:
    source = context.pipeline.source
    for path in source.inputs:
        if not is_batched(source):
            from batten.sources.inputs import look_at_input

            yield check_input(look_at_input(path), context.again)
            continue
        shown = show_path(path)
        try:
            source.refuse_unready()
        except BattenError as error:
            yield Check(name="input", told=error.what, refusal=error)
        else:
            yield Check(name="input", told=f"{shown}: complete")


def refuse_unfit(context: Context, checks: Iterable[Check]) -> None:
    """Raise the first refusal, and note what is doubtful; with `skips_checks` all is noted."""
    for check in checks:
        if check.refusal is not None and not context.options.skips_checks:
            raise check.refusal
        if check.verdict != "ok":
            context.progress.note(f"{check.name}: {check.told}")


def check_input(found: Input, again: str) -> Check:
    """Whether a source's file or folder can be read; if not, it is the environment's (decision
    0028)."""
    is_address = bool(find_scheme(found.path))
    shown = show_path(found.path if is_address else Path(found.path))
    if found.is_readable:
        size = f", {show_bytes(found.bytes)}" if found.bytes is not None else ""
        return Check(name="input", told=f"{shown}: readable{size}")
    return Check(
        name="input",
        told=f"{shown}: {found.problem}",
        refusal=StorageError(
            f"The input {shown} can't be read: {found.problem}.",
            safe=_SAFE,
            next=f"When it can be, or its path is put right: {again}",
        ),
    )


def _check_place(context: Context) -> Check:
    folder = find_folder(context)
    shown = show_path(Path(folder))
    if os.access(folder, os.W_OK | os.X_OK):
        return Check(name="output", told=f"{shown} can be written to")
    reason, remedy = f"this user may not write in {shown!r}", "Give it permission"
    if is_read_only(folder):
        reason = f"the filesystem of {shown!r} is read-only"
        remedy = "Mount it for writing (a disk error can have made it read-only)"
    return Check(
        name="output",
        told=f"{shown} can't be written to",
        refusal=StorageError(
            f"{context.path} can't be written: {reason}.",
            safe=_SAFE,
            next=f"{remedy}, or write elsewhere; then: {context.again}",
        ),
    )


def find_folder(context: Context) -> str:
    """The folder of the output, or the nearest above it that is there."""
    folder = os.path.abspath(context.storage.place)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def check_memory(
    room: MemoryRoom | None, options: RunOptions, earlier_bytes: int | None, again: str
) -> Check:
    """Whether as many workers as asked for have room: by `memory_max`, which bounds each, else by
    what the largest took in an earlier run."""
    if room is None:
        return Check(name="memory", told="how much there is can't be found out")
    bounded = options.memory_bytes_max
    each = bounded or earlier_bytes
    whose = "this container's" if room.is_container else "this machine's"
    there = f"{show_bytes(room.available_bytes)} of {whose} {show_bytes(room.limit_bytes)} are free"
    if each is None:
        return Check(name="memory", told=f"{there}; how much a worker takes is not known yet")
    workers = count_of(options.jobs, "worker")
    needed = options.jobs * each
    told = (
        f"{workers} may use {show_bytes(each)} each"
        if bounded
        else f"{workers}, and one took up to {show_bytes(each)} the last time"
    )
    refusal = RefusedError(
        f"{told}, {show_bytes(needed)} in all; {whose} memory is {show_bytes(room.limit_bytes)}.",
        safe=_SAFE,
        next=f"With fewer jobs, or a smaller memory_max: {again}",
    )
    return Check(
        name="memory",
        told=f"{there}; {told}",
        is_doubtful=needed > room.available_bytes,
        refusal=refusal if bounded and needed > room.limit_bytes else None,
    )


def _find_earlier_memory(storage: Store, layout: Layout) -> int | None:
    """What the largest worker of the last run that told it took, in bytes."""
    for run in reversed(list_runs(storage, layout)):
        stop = read_run(storage, layout, run).stop or {}
        if isinstance(taken := stop.get("worker_memory_bytes"), int) and taken > 0:
            return taken
    return None
