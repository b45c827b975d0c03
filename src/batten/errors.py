"""Every error that batten raises on purpose.

    BattenError
    ├── UsageError            bad arguments, a job that cannot be loaded        exit 2
    ├── InconsistentError     what is recorded and what is there do not add up  exit 4
    │   └── CorruptError      something cannot be read, or its digest differs   exit 4
    ├── RefusedError          going on could mix or replace results             exit 5
    ├── BusyError             a live process holds the lock                     exit 6
    ├── StorageError          disk full, no permission, read or write error     exit 7
    │   └── MisplacedError    a link, a pipe, a folder lies in a file's place   exit 4
    ├── InterruptedRunError   stopped by a signal; safe to run again            exit 75
    ├── FailedRunError        the user's function failed for good               exit 1
    ├── QuarantinedError      done, but items are quarantined; `run(check=True)` exit 3
    └── OutdatedError         raised by users: prepare the item again           exit 1

Each says what happened, what is safe, and what to run next. All of them pickle.
"""

from __future__ import annotations

from typing import Any

from batten.printable import blot, commands_in_cells, escape, without_modules

UNTOUCHED = "Nothing was read or written."
FINISHED_KEPT = "Everything that was finished is kept."
BATCHES_KEPT = "every batch is kept in the ledger."
"""What is safe, where many errors say the same; the last ends a sentence of a sink."""


class BattenError(Exception):
    """An expected failure, told in three sentences: what happened, what is safe, what to do next.

    Args:
        what: What happened.
        safe: The state of the data after it; empty by default.
        next: What to run or do next; empty by default.

    Attributes:
        report: Of an error that ended a run: the `Report` of that run. Otherwise None.
    """

    report: Any = None

    def __init__(self, what: str, *, safe: str = "", next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.safe = safe
        self.next = next

    def to_json(self) -> dict[str, str]:
        """Make the object that the commands' JSON has under "error".

        Returns:
            The three sentences by name.
        """
        return {"what": self.what, "safe": self.safe, "next": self.next}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))

    def __str__(self) -> str:
        lines = (self.what, self.safe, self.next)
        return "\n".join(escape(line) for line in lines if line)

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows of it, in a notebook for instance: the places in batten's
        code tell nobody anything (decision 0105). Commands can be pasted into a cell."""
        what, *rest = commands_in_cells(blot(str(self))).split("\n")
        return [f"{type(self).__name__}: {what}", *rest]


def _rebuild(kind: type[BattenError], fields: dict[str, Any]) -> BattenError:
    error = kind.__new__(kind)
    Exception.__init__(error, fields.get("what", ""))
    error.__dict__.update(fields)
    return error


class UsageError(BattenError):
    """Bad arguments, or a job that can't be loaded; exit code 2. Nothing was read or written."""


def usage_error(what: str, next: str) -> UsageError:
    """Of what is refused before anything is touched."""
    return UsageError(what, safe=UNTOUCHED, next=next)


class InconsistentError(BattenError):
    """What is recorded and what is there do not add up; exit code 4. Nothing was deleted.

    Args:
        what: What happened.
        safe: The state of the data after it; empty by default.
        next: What to run or do next; empty by default.
        missing: Keys of items whose rows are gone, or paths that are; by default none.
    """

    def __init__(
        self, what: str, *, safe: str = "", next: str = "", missing: tuple[str, ...] = ()
    ) -> None:
        super().__init__(what, safe=safe, next=next)
        self.missing = missing


class CorruptError(InconsistentError):
    """Something can't be read, or its digest differs; exit code 4. Nothing was deleted."""


class RefusedError(BattenError):
    """Going on could mix, replace or lose results, so nothing was done; exit code 5."""


def refused_there(what: str, next: str) -> RefusedError:
    """Of what a destination, or a service, can't take: refused before it is changed."""
    return RefusedError(what, safe="Nothing was changed there.", next=next)


class BusyError(BattenError):
    """A live process holds the lock, so nothing was changed; exit code 6."""


class StorageError(BattenError):
    """The disk is full, a permission is missing, or reading or writing failed; exit code 7.

    What was committed before stays.

    Args:
        what: What happened.
        safe: The state of the data after it; empty by default.
        next: What to run or do next; empty by default.
        errno: The operating system's number of the error; None if there is none.
    """

    def __init__(
        self, what: str, *, safe: str = "", next: str = "", errno: int | None = None
    ) -> None:
        super().__init__(what, safe=safe, next=next)
        self.errno = errno


class MisplacedError(StorageError):
    """Where batten keeps its files lies something that it never makes: a link, a pipe, a folder in
    a file's place, a file larger than any of its kind. Nothing was followed, and nothing read."""


class InterruptedRunError(BattenError):
    """A signal or the budget stopped the run; exit code 75. What was finished is kept."""


class FailedRunError(BattenError):
    """The job's own code failed in a way that ends the run; exit code 1. What was finished is kept.

    Such failures are an item with `on_error="raise"`, too many quarantined items, most items
    failing, and a class that can't be constructed.

    Args:
        what: What happened.
        safe: The state of the data after it; empty by default.
        next: What to run or do next; empty by default.
        trace: The traceback of the job's code, if there is one; empty by default.
    """

    def __init__(self, what: str, *, safe: str = "", next: str = "", trace: str = "") -> None:
        super().__init__(what, safe=safe, next=next)
        self.trace = without_modules(trace)

    def _render_traceback_(self) -> list[str]:
        trace = blot(self.trace).rstrip("\n").split("\n") if self.trace else []
        return [*map(escape, trace), *super()._render_traceback_()]


class QuarantinedError(BattenError):
    """The run is done and the accounts are closed, but items are quarantined; exit code 3.

    Raised by `run(check=True)` alone. The report is that of the run that ended.
    """


class QuarantinedWarning(UserWarning):
    """A run that was started from Python is done, but items are quarantined."""


class OutdatedError(BattenError):
    """Raised by the function of `write_tree`: what was prepared does not fit the item any more.

    Nothing of the item is in the tree, and the item is prepared again.
    """
