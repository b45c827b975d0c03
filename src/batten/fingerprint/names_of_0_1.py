"""What batten 0.1 called in fingerprints what batten gives: by the modules where it lay then.

Its fingerprints are compared with those of now, so that finished work counts (decision 0121).
"""

from __future__ import annotations

import re

_MODULES = {
    "cache.cache": ("Cache",),
    "cache.entry": ("CacheEntry",),
    "engine.from_sources": (
        *("from_csv", "from_files", "from_items", "from_jsonl", "from_parquet", "from_range"),
    ),
    "engine.landing": ("Landed", "from_landed", "land"),
    "engine.pipeline": ("Pipeline",),
    "engine.tables": ("from_tables",),
    "errors": (
        *("BattenError", "BusyError", "CorruptError", "FailedRunError", "InconsistentError"),
        *("InterruptedRunError", "OutdatedError", "RefusedError", "StorageError", "UsageError"),
    ),
    "executors.limits": ("Limits",),
    "inspect.diagnose": ("Diagnosis", "diagnose"),
    "inspect.reading": ("Dataset", "open"),
    "storage.atomic": ("publish_directory", "publish_file"),
    "transactions.entry": ("has_token", "read_lock", "transaction"),
    "transactions.transaction": ("Transaction",),
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names}
# A name alone is an instance. Within other values it could be a word of somebody's text.
_NAME = re.compile(r"(?:(?<=function )|(?<=class )|\A)batten\.(\w+)(?![\w.])")


def name_as_0_1(text: str) -> str:
    """The text of a value, as batten 0.1 wrote it."""

    def place(found: re.Match[str]) -> str:
        name = found[1]
        return f"batten.{_PLACES[name]}.{name}" if name in _PLACES else found[0]

    return _NAME.sub(place, text)
