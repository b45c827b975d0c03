"""Run a function over everything, get a dataset you can trust. Kill it anywhere, run it again."""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from batten.cache.cache import Cache
    from batten.cache.entry import CacheEntry
    from batten.errors import (
        BattenError,
        BusyError,
        CorruptError,
        FailedRunError,
        InconsistentError,
        InterruptedRunError,
        OutdatedError,
        QuarantinedError,
        QuarantinedWarning,
        RefusedError,
        StorageError,
        UsageError,
    )
    from batten.executors.call_rates import Limits
    from batten.fingerprint.secret import Secret
    from batten.inspect.diagnose import diagnose
    from batten.inspect.diagnosis import Diagnosis
    from batten.inspect.reading import Dataset, open
    from batten.jobs.devices import Worker
    from batten.jobs.model_server import ModelServer
    from batten.model.rules.usage import Usage
    from batten.pipeline.from_sources import (
        from_csv,
        from_dataset,
        from_files,
        from_items,
        from_jsonl,
        from_parquet,
        from_range,
        from_source,
    )
    from batten.pipeline.landing import Landed, from_landed, land
    from batten.pipeline.pipeline import Pipeline
    from batten.pipeline.topics.source import from_kafka
    from batten.pipeline.whole_tables import from_tables
    from batten.run.progress import Progress, Status
    from batten.run.report import Report
    from batten.storage.local.stand_alone import publish_directory, publish_file
    from batten.transactions.entry import has_token, read_lock, transaction
    from batten.transactions.transaction import Transaction
    from batten.work.calling.structured import structured
    from batten.work.usage import usage

__all__ = [
    "BattenError",
    "BusyError",
    "Cache",
    "CacheEntry",
    "CorruptError",
    "Dataset",
    "Diagnosis",
    "FailedRunError",
    "InconsistentError",
    "InterruptedRunError",
    "Landed",
    "Limits",
    "ModelServer",
    "OutdatedError",
    "Pipeline",
    "Progress",
    "QuarantinedError",
    "QuarantinedWarning",
    "RefusedError",
    "Report",
    "Secret",
    "Status",
    "StorageError",
    "Transaction",
    "Usage",
    "UsageError",
    "Worker",
    "diagnose",
    "from_csv",
    "from_dataset",
    "from_files",
    "from_items",
    "from_jsonl",
    "from_kafka",
    "from_landed",
    "from_parquet",
    "from_range",
    "from_source",
    "from_tables",
    "has_token",
    "land",
    "open",
    "publish_directory",
    "publish_file",
    "read_lock",
    "structured",
    "transaction",
    "usage",
]

_MODULES = {
    "batten.cache.cache": ("Cache",),
    "batten.cache.entry": ("CacheEntry",),
    "batten.pipeline.from_sources": (
        "from_csv",
        "from_dataset",
        "from_files",
        "from_items",
        "from_jsonl",
        "from_parquet",
        "from_range",
        "from_source",
    ),
    "batten.jobs.devices": ("Worker",),
    "batten.jobs.model_server": ("ModelServer",),
    "batten.model.rules.usage": ("Usage",),
    "batten.pipeline.landing": ("Landed", "from_landed", "land"),
    "batten.pipeline.pipeline": ("Pipeline",),
    "batten.pipeline.topics.source": ("from_kafka",),
    "batten.pipeline.whole_tables": ("from_tables",),
    "batten.errors": (
        "BattenError",
        "BusyError",
        "CorruptError",
        "FailedRunError",
        "InconsistentError",
        "InterruptedRunError",
        "OutdatedError",
        "QuarantinedError",
        "QuarantinedWarning",
        "RefusedError",
        "StorageError",
        "UsageError",
    ),
    "batten.executors.call_rates": ("Limits",),
    "batten.fingerprint.secret": ("Secret",),
    "batten.inspect.diagnose": ("diagnose",),
    "batten.inspect.diagnosis": ("Diagnosis",),
    "batten.inspect.reading": ("Dataset", "open"),
    "batten.run.progress": ("Progress", "Status"),
    "batten.run.report": ("Report",),
    "batten.storage.local.stand_alone": ("publish_directory", "publish_file"),
    "batten.transactions.entry": ("has_token", "read_lock", "transaction"),
    "batten.transactions.transaction": ("Transaction",),
    "batten.work.calling.structured": ("structured",),
    "batten.work.usage": ("usage",),
}


def __getattr__(name: str) -> Any:
    """Names are imported when they are first used, so that `import batten` costs nothing."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
