"""What a package needs that brings a sink, a source or an executor. These names stay.

`docs/guides/extending.md` goes through one of each. `batten.testing` has the contracts that they
are tried with.
"""

from __future__ import annotations

from batten.errors import (
    BusyError,
    InconsistentError,
    RefusedError,
    StorageError,
    UsageError,
)
from batten.executors.base import (
    Died,
    Event,
    Executor,
    Finished,
    Mark,
    Raised,
    TimedOut,
    Told,
    Work,
)
from batten.fingerprint.secret import Secret
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.words import Takes
from batten.sinks.base import Destination, LedgerPlace, RejectedError, Sink, Staged
from batten.sinks.rows.revisions import select_lacking
from batten.sources.base import ItemsWanted, Reader, ScanBlock, Source, Unavailable

__all__ = [
    "BusyError",
    "Delivery",
    "Destination",
    "Died",
    "Event",
    "Executor",
    "Finished",
    "InconsistentError",
    "ItemsWanted",
    "LedgerPlace",
    "Mark",
    "PublishEnd",
    "Raised",
    "Reader",
    "RefusedError",
    "RejectedError",
    "ScanBlock",
    "Secret",
    "Sink",
    "Source",
    "Staged",
    "StorageError",
    "Takes",
    "TimedOut",
    "Token",
    "TokenState",
    "Told",
    "Unavailable",
    "UsageError",
    "Work",
    "select_lacking",
]
