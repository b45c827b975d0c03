"""What `logging` gets of a run: it began, a batch was published, an item was quarantined, it ended.

Each record has fields beside its text (`extra=`), for a handler that writes JSON. Nobody is made to
listen: without a handler nothing is printed, and nothing is read to be told (decision 0105).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from batten.errors import BattenError, InterruptedRunError
from batten.ledger.quarantine_file import read_quarantine
from batten.model.rules.accounting import tally_outcomes
from batten.model.telling.counts import count_of
from batten.model.telling.hiding import redact
from batten.model.words import RunStatus
from batten.printable import blot, escape

if TYPE_CHECKING:
    from batten.run.context import Context
    from batten.run.report import Report

_log = logging.getLogger("batten.run")
# Otherwise what is told of each item would be printed where the program has set up no logging.
_log.addHandler(logging.NullHandler())


def tell_logging(context: Context, run: Callable[[Context], Report]) -> Report:
    """Do the run, and tell of its beginning and its end, however that comes."""
    if context.options.is_dry_run:
        return run(context)
    events = RunEvents(context)
    events.tell_began()
    try:
        report = run(context)
    except BaseException as error:
        events.tell_failed(error)
        raise
    events.tell_ended(report)
    return report


class RunEvents:
    """Tells of one run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def tell_began(self) -> None:
        options = self._context.options
        self._tell(
            logging.INFO, "run_began", "began", jobs=options.jobs, command=options.next_command
        )

    def tell_published(
        self, batch: int, *, items: int, rows: int, outcomes: str, digest: str
    ) -> None:
        """A batch was published, and its quarantined items; `digest` is that of its part."""
        if not _is_heard():
            return
        quarantined = tally_outcomes(outcomes)[2]
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
            _log.debug("%s can't be read: %s", name, error)
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

    def tell_failed(self, failure: BaseException) -> None:
        """The run ended otherwise."""
        is_interrupted = isinstance(failure, InterruptedRunError)
        status = RunStatus.INTERRUPTED if is_interrupted else RunStatus.FAILED
        told = failure.what if isinstance(failure, BattenError) else str(failure)
        self._tell(
            logging.WARNING if is_interrupted else logging.ERROR,
            "run_ended",
            f"{status}: {_first_line(told)}",
            status=status.value,
            error=_first_line(told),
            kind=type(failure).__name__,
            **self._measure(),
        )

    def _measure(self) -> dict[str, Any]:
        context = self._context
        return {
            "executed_items": context.executed_items,
            "adopted_items": context.adopted_items,
            "seconds": context.rounded_seconds(),
        }

    def _tell(self, level: int, event: str, text: str, **fields: Any) -> None:
        path, run = self._context.path, self._context.run
        _log.log(
            level,
            "%s: %s",
            escape(path),
            escape(blot(text)),
            extra={"event": event, "path": path, "run": run, **fields},
        )


def _is_heard() -> bool:
    """Whether somebody has a handler for these."""
    logger: logging.Logger | None = _log
    while logger is not None:
        if any(not isinstance(each, logging.NullHandler) for each in logger.handlers):
            return _log.isEnabledFor(logging.WARNING)
        logger = logger.parent if logger.propagate else None
    return False


def _first_line(text: str) -> str:
    return redact(blot(text.partition("\n")[0]))
