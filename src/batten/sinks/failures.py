"""What others' errors say of a step that was tried at a destination: what is safe, what to run."""

from __future__ import annotations

from collections.abc import Iterable

from batten.errors import BATCHES_KEPT, RefusedError, StorageError
from batten.fingerprint.secret import blot
from batten.model.telling.hiding import PLACEHOLDER, redact
from batten.sinks.rows.rejecting import tell_reason

ALL_OR_NOTHING = (
    "Nothing of this batch is there, or all of it: the next run asks. Every batch is kept in the "
    "ledger."
)


def unreached(
    action: str,
    target: str,
    error: Exception,
    *,
    remedy: str,
    safe: str = ALL_OR_NOTHING,
    hidden: Iterable[str] = (),
) -> StorageError:
    """It did not answer, or could not do it now: whether it did is looked up. `remedy` is what to
    do before the run, `hidden` what is taken out of the error."""
    return StorageError(
        f"{action} {target} failed: {_tell(error, hidden)}.",
        safe=safe,
        next=f"{remedy}, then run the same command again.",
    )


def refused(
    action: str,
    target: str,
    error: Exception,
    *,
    remedy: str = "Correct the table, or write to another one",
    safe: str = f"Nothing of this batch is there; {BATCHES_KEPT}",
    hidden: Iterable[str] = (),
) -> RefusedError:
    """The destination will never take it, however often it is asked."""
    return RefusedError(
        f"{action} {target} failed: {_tell(error, hidden)}.",
        safe=safe,
        next=f"{remedy}, then run the same command again.",
    )


def _tell(error: Exception, hidden: Iterable[str]) -> str:
    text = blot(tell_reason(error))
    for each in hidden:
        text = text.replace(each, PLACEHOLDER)
    return redact(text)
