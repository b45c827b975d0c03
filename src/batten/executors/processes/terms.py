"""What worker processes may use, and how they begin."""

from __future__ import annotations

from batten.model.value_class import value_class


@value_class
class WorkerLimits:
    """`timeout_seconds` is for each item; where items have limits of their own, it is the shortest.
    `memory_bytes_max` is how much a worker may use, with all that it starts; one that uses more is
    killed, which is a death like any other."""

    timeout_seconds: float | None = None
    memory_bytes_max: int | None = None


@value_class
class WorkerBirth:
    """With `is_fresh` workers begin in a fresh interpreter, for which the work is pickled, too; it
    imports `modules` before there are workers. Else they are forked. They have the open files
    `handles` of the driver, under the same numbers. With `stdout_to_stderr` what they print goes to
    standard error."""

    is_fresh: bool = False
    modules: tuple[str, ...] = ()
    handles: tuple[int, ...] = ()
    stdout_to_stderr: bool = False
