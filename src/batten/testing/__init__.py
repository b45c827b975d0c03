"""The contracts of sinks, sources, storages and executors, and crashes, for tests in pytest.

    from batten.testing import SinkContract

    class TestDrawer(SinkContract):
        def make_sink(self, folder): ...
        def read_rows(self, folder): ...

batten's own pass exactly these. Nothing else in batten imports this, or pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from batten.crashlab.servers.relay import Mishap, Relay
    from batten.crashlab.staging import SCHEMA, stage_batch
    from batten.testing.executors import ExecutorContract
    from batten.testing.kills import (
        ClientCall,
        kill_at_call,
        kill_at_line,
        kill_at_step,
        list_calls,
    )
    from batten.testing.opening import open_sink
    from batten.testing.planning import SourcePlan, plan_source, read_source
    from batten.testing.sinks import SinkContract
    from batten.testing.sources import SourceContract
    from batten.testing.stores import StoreContract

__all__ = [
    "SCHEMA",
    "ClientCall",
    "ExecutorContract",
    "Mishap",
    "Relay",
    "SinkContract",
    "SourceContract",
    "SourcePlan",
    "StoreContract",
    "kill_at_call",
    "kill_at_line",
    "kill_at_step",
    "list_calls",
    "open_sink",
    "plan_source",
    "read_source",
    "stage_batch",
]

_MODULES = {
    "batten.crashlab.servers.relay": ("Mishap", "Relay"),
    "batten.crashlab.staging": ("SCHEMA", "stage_batch"),
    "batten.testing.kills": (
        "ClientCall",
        "kill_at_call",
        "kill_at_line",
        "kill_at_step",
        "list_calls",
    ),
    "batten.testing.opening": ("open_sink",),
    "batten.testing.planning": ("SourcePlan", "plan_source", "read_source"),
    "batten.testing.executors": ("ExecutorContract",),
    "batten.testing.sinks": ("SinkContract",),
    "batten.testing.sources": ("SourceContract",),
    "batten.testing.stores": ("StoreContract",),
}

pytest.register_assert_rewrite(*(name for name in _MODULES if name.startswith("batten.testing.")))


def __getattr__(name: str) -> Any:
    """A contract is imported when it is first used: its asserts are rewritten then."""
    from importlib import import_module

    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
