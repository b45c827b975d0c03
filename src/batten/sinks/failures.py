"""What others' errors say of a step that was tried at a destination: what is safe, what to run."""

from __future__ import annotations

from batten.errors import RefusedError, StorageError


def unreached(action: str, target: str, error: Exception, *, remedy: str) -> StorageError:
    """It did not answer, or could not do it now: whether it did is looked up. `remedy` is what to
    do before the run."""
    return StorageError(
        f"{action} {target} failed: {_first_line(error)}.",
        safe="Nothing of this batch is there, or all of it: the next run asks. Every batch is kept "
        "in the ledger.",
        next=f"{remedy}, then run the same command again.",
    )


def refused(action: str, target: str, error: Exception) -> RefusedError:
    """It will not take it, however often it is asked."""
    return RefusedError(
        f"{action} {target} failed: {_first_line(error)}.",
        safe="Nothing of this batch is there; every batch is kept in the ledger.",
        next="Correct the table, or write to another one, then run the same command again.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
