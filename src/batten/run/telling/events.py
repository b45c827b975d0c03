"""What is told of a run: it began, a batch was published, an item was quarantined, it ended.

It is told to those who watch the run, and to `logging`. There each record has fields beside its
text (`extra=`), for a handler that writes JSON. Nobody is made to listen: without a handler nothing
is printed, and nothing is read to be told (decision 0105).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError
from batten.ledger.files.quarantine_file import read_quarantine
from batten.model.rules.accounting import tally_outcomes
from batten.model.rules.exit_codes import find_ending
from batten.model.telling.counts import count_of
from batten.model.telling.hiding import redact
from batten.model.words import RunStatus
from batten.printable import blot, escape
from batten.run.clock import now_ns
from batten.run.telling.watching import LOGGER, BatchPublished, RunBegan, RunEnded

if TYPE_CHECKING:
    from batten.run.context import Context
    from batten.run.report import Report

_logger = logging.getLogger(LOGGER)
# Otherwise what is told of each item would be printed where the program has set up no logging.
_logger.addHandler(logging.NullHandler())


def tell_events(
    context: Context,
    run: Callable[[Context], Report],
    conclude: Callable[[BaseException], Report | None],
) -> Report:
    """Do the run, and tell of its beginning and its end, however that comes. Where an error ends
    it, `conclude` gives the report of what was reached."""
    is_told = context.options.is_told and not context.options.is_dry_run
    events = RunEvents(context)
    if is_told:
        events.tell_began()
    try:
        report = run(context)
    except BaseException as error:
        reached = conclude(error)
        if is_told:
            events.tell_failed(error, reached)
        raise
    if is_told:
        events.tell_ended(report)
    return report


class RunEvents:
    """Tells of one run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def tell_began(self) -> None:
        context, options = self._context, self._context.options
        began = RunBegan(output=context.place, run=context.run, jobs=options.jobs, time_ns=now_ns())
        context.watchers.tell(lambda watcher: watcher.begin(began))
        self._tell(
            logging.INFO, "run_began", "began", jobs=options.jobs, command=options.next_command
        )

    def tell_published(
        self,
        batch: int,
        *,
        items: int,
        rows: int,
        size: int,
        outcomes: str,
        digest: str,
        began_ns: int | None,
    ) -> None:
        """A batch was published, and its quarantined items. `size`, in bytes, and `digest` are
        those of its part. It `began_ns` where functions were called for it."""
        counts = tally_outcomes(outcomes)
        if self._context.watchers:
            time_ns = now_ns()
            published = BatchPublished(
                batch=batch,
                rows=rows,
                size=size,
                counts=counts,
                began_ns=began_ns if began_ns is not None else time_ns,
                time_ns=time_ns,
            )
            self._context.watchers.tell(lambda watcher: watcher.publish(published))
        if not (_is_heard() and self._context.options.is_told):
            return
        quarantined = counts.quarantined
        self._tell(
            logging.INFO,
            "batch_published",
            f"batch {batch} published: {count_of(items, 'item')}, {count_of(rows, 'row')}",
            batch=batch,
            items=items,
            rows=rows,
            quarantined=quarantined,
        )
        if quarantined:
            self._tell_quarantined(batch, digest)

    def _tell_quarantined(self, batch: int, digest: str) -> None:
        name = self._context.layout.quarantined(batch, digest)
        try:
            found = read_quarantine(self._context.storage, name, batch)
        except Exception as error:  # noqa: BLE001 - what can't be told ends no run
            self._context.log.debug("%s can't be read: %s", name, error)
            return
        for each in found:
            told = _first_line(each.error)
            self._tell(
                logging.WARNING,
                "item_quarantined",
                f"{each.key!r} is quarantined: {told}",
                batch=batch,
                key=each.key,
                error=told,
                attempts=each.attempts,
            )

    def tell_ended(self, report: Report) -> None:
        self._tell_watchers(report.status, report, None)
        self._tell(
            logging.INFO,
            "run_ended",
            f"{report.status}: {count_of(report.source, 'item')}, {report.quarantined:,} "
            f"quarantined, {count_of(report.rows, 'row')}",
            status=report.status.value,
            items=report.source,
            quarantined=report.quarantined,
            rows=report.rows,
            **self._measure(),
        )

    def tell_failed(self, failure: BaseException, reached: Report | None) -> None:
        """The run ended otherwise, and that is what it had reached."""
        status = find_ending(failure).status
        self._tell_watchers(status, reached, failure)
        told = failure.what if isinstance(failure, BattenError) else str(failure)
        self._tell(
            logging.WARNING if status is RunStatus.INTERRUPTED else logging.ERROR,
            "run_ended",
            f"{status}: {_first_line(told)}",
            status=status.value,
            error=_first_line(told),
            kind=type(failure).__name__,
            **self._measure(),
        )

    def _tell_watchers(
        self, status: RunStatus, reached: Report | None, error: BaseException | None
    ) -> None:
        context = self._context
        ended = RunEnded(
            status=status,
            accounts=reached.accounts if reached is not None else None,
            rows=reached.rows if reached is not None else 0,
            error=error,
            executed=context.executed_items,
            adopted=context.adopted_items,
            seconds=dict(context.seconds),
            time_ns=now_ns(),
            usage=reached.usage if reached is not None else None,
        )
        context.watchers.tell(lambda watcher: watcher.end(ended))

    def _measure(self) -> dict[str, Any]:
        context = self._context
        return {
            "executed_items": context.executed_items,
            "adopted_items": context.adopted_items,
            "seconds": context.rounded_seconds(),
        }

    def _tell(self, level: int, event: str, text: str, **fields: Any) -> None:
        path, run = self._context.path, self._context.run
        self._context.log.log(
            level,
            "%s: %s",
            escape(path),
            escape(blot(text)),
            extra={"event": event, "path": path, "run": run, **fields},
        )


def _is_heard() -> bool:
    """Whether somebody has a handler for these."""
    logger: logging.Logger | None = _logger
    while logger is not None:
        if any(not isinstance(each, logging.NullHandler) for each in logger.handlers):
            return _logger.isEnabledFor(logging.WARNING)
        logger = logger.parent if logger.propagate else None
    return False


def _first_line(text: str) -> str:
    return redact(blot(text.partition("\n")[0]))
