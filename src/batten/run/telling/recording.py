"""What the log of a run gets, however the run ends, and what a run clears away behind itself."""

from __future__ import annotations

import resource
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from batten.errors import (
    BattenError,
    InconsistentError,
    InterruptedRunError,
    RefusedError,
    UsageError,
)
from batten.executors.printing.output import losses
from batten.ledger.history.runs import AT_ONCE, DOUBT, find_last_log
from batten.ledger.history.usage import record_lost_calls
from batten.model.disk.throwaway_names import is_throwaway
from batten.model.words import RunStatus, State
from batten.plan.differs_errors import DiffersError
from batten.plan.storing import delete_segments
from batten.run.context import Context
from batten.run.found.found_dataset import observe_free
from batten.run.telling.run_log import RunLogWriter
from batten.storage.changing.orphans import delete_orphans, find_throwaway
from batten.storage.changing.publishing import delete


class RunRecord:
    """The log of one run. It begins with the work; a run that finds nothing to do leaves none.
    `status` is how the run ends, if it ends well."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._log = RunLogWriter(context.storage, context.layout, context.run)
        self.is_begun = False
        self.status = RunStatus.FAILED
        self._has_signal = False
        self._is_ended = False

    def begin(self) -> None:
        """May be repeated."""
        if self.is_begun:
            return
        self.is_begun = True
        options, source = self._context.options, self._context.pipeline.source
        tables: dict[str, Any] = {}
        if self._context.pipeline.whole is not None:
            from batten.sources.whole_tables import TableSource

            if isinstance(source, TableSource):
                tables = {"tables": source.describe_files()}
        self._log.start(
            jobs=options.jobs,
            command=options.next_command,
            inputs=[str(path) for path in source.inputs],
            **({"adopts": options.call.rows} if options.call.rows else {}),
            **tables,
        )

    def note_signal(self) -> None:
        """Tell which signal asked the run to stop, if one has. May be repeated."""
        name = self._context.signals.received
        if name is not None and not self._has_signal:
            self._has_signal = True
            self._log.write("signal", signal=name)

    def inherit_doubt(self) -> bool:
        """Whether the run before was stopped because the job failed, or had taken over from such a
        run and was ended early. Then what failed is staged, and is to be tried again."""
        context = self._context
        last = find_last_log(context.storage, context.layout, but=context.run)
        if last is None or not last.has_doubt or last.was_completed:
            return False
        self.note_doubt()
        return True

    def note_doubt(self) -> None:
        """What failed is not the items' failure. May be repeated."""
        self._log.write(DOUBT)

    def end_at_once(self, name: str) -> None:
        """A second signal ends the run now. It is no crash, so no item in hand is to blame."""
        context = self._context
        if self._is_ended:
            return
        self.begin()
        with suppress(BattenError):
            # Where that can't be written down, the marks stay, and the next run does it.
            record_lost_calls(context.storage, context.layout, context.run, end=context.run)
            delete(context.storage, context.layout.in_flight(context.run))
        stopped = InterruptedRunError(f"{AT_ONCE}, {name}.", safe="", next="")
        self.end(RunStatus.INTERRUPTED, stopped)

    def end(self, status: RunStatus, failure: BaseException | None) -> None:
        """The last line."""
        context = self._context
        self._is_ended = True
        self.note_signal()
        losses.look()
        self._log.write(
            "stop",
            status=status,
            executed_items=context.executed_items,
            adopted_items=context.adopted_items,
            seconds=context.rounded_seconds(),
            worker_memory_bytes=_largest_worker(),
            error=str(failure).split("\n")[0] if failure is not None else None,
            **(_tell_ways(context, failure) if isinstance(failure, DiffersError) else {}),
            **({"output_lost": losses.reason} if losses.reason else {}),
        )


def _tell_ways(context: Context, failure: DiffersError) -> dict[str, Any]:
    """Why the next run would be refused too, and by which options it would not."""
    return {
        "cause": failure.cause.value,
        "ways": [way.value for way in failure.ways],
        "job": asdict(context.call),
    }


@contextmanager
def recorded(context: Context, *, tells_failure: bool = False) -> Iterator[RunRecord]:
    """For the time that the lock is held and work is done. When it ends, no worker lives; so what
    lies in `staging/` is nobody's. With `tells_failure` a failure is logged though nothing was: it
    is none of a run that did not begin."""
    record = RunRecord(context)
    context.signals.before_end = record.end_at_once
    try:
        yield record
    except BaseException as error:
        is_interrupted = isinstance(error, InterruptedRunError)
        if record.is_begun or is_interrupted or tells_failure:
            record.begin()
            _clear_staging(context)
            record.end(RunStatus.INTERRUPTED if is_interrupted else RunStatus.FAILED, error)
        raise
    if record.is_begun:
        record.end(record.status, None)


@contextmanager
def refusals_logged(context: Context, made: Collection[str]) -> Iterator[None]:
    """For the time that the lock is held: what keeps a run from beginning is logged too, where
    there is a folder for it (decision 0030). What is damaged or of a newer batten tells of itself,
    and is left as it is. A run that `made` the folder leaves none (decision 0123)."""
    try:
        yield
    except BattenError as error:
        with suppress(BattenError):
            if isinstance(error, _REFUSALS) and _is_nothing_done(context, made):
                _undo_beginning(context, made)
            elif not isinstance(error, InterruptedRunError) and _is_untold(context):
                record = RunRecord(context)
                record.begin()
                record.end(RunStatus.REFUSED, error)
        raise


def _is_nothing_done(context: Context, made: Collection[str]) -> bool:
    """Whether this run made the folder, and no run has called a function or adopted a row since."""
    storage, layout = context.storage, context.layout
    if layout.control not in made or storage.folder is None or layout.outer is not None:
        return False
    if context.executed_items or context.adopted_items:
        return False
    found, _ = observe_free(context)
    runs = [name for name in storage.list_names(layout.runs) if not name.startswith(context.run)]
    return not (found.parts or found.claims or found.staged or found.completion or runs)


def _undo_beginning(context: Context, made: Collection[str]) -> None:
    """Killed in between, it leaves a shorter plan, or folders that hold nothing."""
    storage, layout = context.storage.folder, context.layout
    if storage is None:
        return
    found, _ = observe_free(context)
    delete_segments(storage, layout, found.segments)
    storage.delete(layout.config)
    storage.delete_tree(layout.control)
    for folder in made:
        if folder != layout.control:
            # Somebody else's files may have come there meanwhile.
            with suppress(BattenError):
                storage.delete(folder)


def _is_untold(context: Context) -> bool:
    """Whether neither a log nor the state of the output tells of the failure of this run. One with
    `--fresh` logs beside the new dataset."""
    layouts = (context.layout, context.layout.fresh)
    logs = [context.storage.find(each.run_log(context.run)) for each in layouts]
    return logs == [None, None] and observe_free(context)[1].verdict.state in _SOUND


_REFUSALS = (RefusedError, UsageError, InconsistentError)
_SOUND = frozenset({State.INTERRUPTED, State.COMPLETE, State.COMPLETE_WITH_ORPHANS})


def _clear_staging(context: Context) -> None:
    """What can't be deleted stays, for the next run to delete."""
    folder = context.storage.folder
    if folder is None:
        return
    with suppress(BattenError):
        found = find_throwaway(folder, context.layout.staging, is_throwaway)
        delete_orphans(folder, [entry.name for entry in found])


def _largest_worker() -> int:
    """The most memory that one process took of those that have ended, in bytes."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
