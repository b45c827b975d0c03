"""A sink that another package brings, as a job declares it: `.write_to("name", …)`.

An entry point of the group `batten.sinks` names a class (or a module) with these:

    declare(folder, *arguments, **options)   the sink; relative paths are relative to `folder`
    list_held(given, folder)                 optional: the numbers of the batches it has tokens of,
                                             by the record of what it was given
    is_remote                                optional: a server has it, so that only
                                             `verify --ask` looks at it

batten sees the sink through `PluginSink`. So its kind is the name it is registered by, and what a
package does beyond the protocol stays its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from batten.errors import usage_error
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.plugins import PluginGroup, declare, load_plugin
from batten.sinks.base import Destination, LedgerPlace, Sink

OWN_SINKS = {
    name: f".write_{name}(…)"
    for name in (
        "parquet",
        "csv",
        "jsonl",
        "sqlite",
        "postgres",
        "delta",
        "iceberg",
        "kafka",
        "tree",
        "files",
        "hive",
    )
}
_METHODS = ("fill", "describe", "identify", "check", "open")


@value_class
class PluginSink:
    """The `sink` that `package` brings under the name `kind`."""

    kind: str
    package: str
    sink: Any
    is_remote: bool = False
    takes: ClassVar[Takes] = Takes.BATCHES

    @property
    def dataset(self) -> str:
        return str(getattr(self.sink, "dataset", ""))

    @property
    def path(self) -> Path | None:
        """The file or folder that it makes, where it makes one."""
        made = getattr(self.sink, "path", None)
        return Path(made) if made is not None else None

    @property
    def key(self) -> Sequence[str]:
        """The columns by which rows take the place of others; empty where rows are added."""
        return tuple(getattr(self.sink, "key", ()))

    @property
    def secrets(self) -> Sequence[str]:
        """The environment variables that it needs."""
        return tuple(getattr(self.sink, "secrets", ()))

    @property
    def can_be_asked(self) -> bool:
        """Whether it keeps tokens."""
        return bool(getattr(self.sink, "can_be_asked", True))

    @property
    def form(self) -> str:
        """How rows stand there, where readers have to know it."""
        return str(getattr(self.sink, "form", ""))

    def fill(self, fill: Callable[[str], str]) -> Sink:
        return replace(self, sink=self.sink.fill(fill))

    def describe(self, folder: Path) -> str:
        return str(self.sink.describe(folder))

    def identify(self) -> str:
        return f"{self.kind}\n{self.sink.identify()}" if self.path is None else self.sink.identify()

    def check(self) -> None:
        self.sink.check()

    def open(self, ground: LedgerPlace) -> Destination:
        destination: Destination = self.sink.open(ground)
        return destination


def declare_sink(
    name: str, folder: Path, arguments: Sequence[Any], options: dict[str, Any]
) -> PluginSink:
    """Raises `UsageError` where no package brings it, and where it can't be made of these."""
    plugin = load_plugin(PluginGroup.SINK, name, own=OWN_SINKS)
    sink = declare(PluginGroup.SINK, plugin, folder, arguments, options)
    lacking = [method for method in _METHODS if not callable(getattr(sink, method, None))]
    if lacking:
        raise usage_error(
            f"The sink {name!r} of the package {plugin.package} has no {lacking[0]}().",
            f"Bring the package up to date: pip install --upgrade {plugin.package}",
        )
    return PluginSink(
        kind=name,
        package=plugin.package,
        sink=sink,
        is_remote=bool(getattr(plugin.made, "is_remote", False)),
    )
