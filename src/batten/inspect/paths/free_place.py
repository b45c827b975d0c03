"""Whether a file may be made somewhere: not within a dataset, and not in an output's place."""

from __future__ import annotations

import os

from batten.errors import UsageError
from batten.ledger.facts.locating import find_dataset_around, is_output
from batten.model.disk.names import CONTROL_SUFFIX
from batten.storage.failures import publishing_failure


def refuse_within_datasets(target: str, what: str, own: str = "") -> None:
    """Raises `UsageError` for a file that is of a dataset. `what` is made, of the output `own`."""
    try:
        around, is_of_job = find_dataset_around(target), is_output(target)
    except OSError as error:
        raise publishing_failure(error, target) from error
    real = os.path.realpath(own) if own else ""
    is_own = around is not None and os.path.realpath(around) in (real, real + CONTROL_SUFFIX)
    told = ""
    if around is not None:
        which = "itself" if is_own else os.path.relpath(around)
        told = f"lies in the dataset {which}, where nothing else may be"
    elif is_of_job:
        told = f"is the output of a job, which {what} would replace"
    if told:
        raise UsageError(
            f"{target!r} {told}.",
            safe="Nothing was written.",
            next="Choose another place.",
        )
