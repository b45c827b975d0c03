"""Opens a sink as a run does, without a run."""

from __future__ import annotations

from pathlib import Path

from batten.model.disk.names import Layout
from batten.sinks.base import Destination, LedgerPlace, Sink
from batten.sinks.deliveries import DeliveryBook, Receiver
from batten.storage.local.folder import LocalStorage

_LAYOUT = Layout("rows", is_inside=True)


def open_sink(sink: Sink, folder: Path) -> Destination:
    """The destination of a job whose output is `rows` in that folder.

    Args:
        sink: As a job declares it.
        folder: Where the job's output lies; a destination may lie there too.

    Returns:
        The open destination. The caller closes it.

    Raises:
        StorageError: It can't be reached. Nothing was changed.
    """
    storage = LocalStorage(folder)
    book = DeliveryBook(
        storage,
        _LAYOUT,
        Receiver(kind=sink.kind, target=sink.describe(folder)),
        run="run",
        now=lambda: "2026-11-21T08:00:00Z",
    )
    return sink.open(LedgerPlace(storage=storage, layout=_LAYOUT, folder=folder, book=book))
