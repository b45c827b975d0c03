"""The errors of a job or source that differs: the next run would be refused for them again."""

from __future__ import annotations

from typing import ClassVar

from batten.errors import RefusedError
from batten.model.disk.runs.refusals import Cause, Way


class DiffersError(RefusedError):
    """The job or its source is not what the dataset was made of. `ways` are the options by which a
    run would be let begin."""

    cause: ClassVar[Cause]

    def __init__(self, what: str, *, safe: str, next: str, ways: tuple[Way, ...]) -> None:
        super().__init__(what, safe=safe, next=next)
        self.ways = ways


class ChangedJobError(DiffersError):
    """The dataset was made by other code or settings."""

    cause = Cause.JOB


class SourceDiffersError(DiffersError):
    """The source has changed in other ways than by growing since it was planned."""

    cause = Cause.SOURCE
