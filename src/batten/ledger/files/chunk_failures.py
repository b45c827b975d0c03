"""What failed of a staged chunk, as the chunk itself says; for who looks at a run at work.

Nothing is taken over by it, so its digest is not asked.
"""

from __future__ import annotations

from batten.errors import StorageError
from batten.ledger.facts.unpacked import refuse_unpacked
from batten.model.json_text import parse_json
from batten.storage.base import Store

CHUNK_KEY = b"batten.chunk"
"""In the metadata of a chunk's table: what the chunk says of itself, as JSON."""


def read_chunk_failures(storage: Store, name: str) -> list[tuple[int, str]]:
    """The items that failed, by their numbers in the batch, and their errors; none if the file is
    gone, too large, or no chunk."""
    import pyarrow as pa

    try:
        data = storage.read(name)
        refuse_unpacked(data)
        metadata = pa.ipc.open_file(pa.py_buffer(data)).schema.metadata
        failures = parse_json(metadata[CHUNK_KEY])["failures"]
        return [(int(each["item"]), str(each["error"])) for each in failures]
    except (StorageError, OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return []
