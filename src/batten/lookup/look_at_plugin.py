"""Looks at a destination of a kind that another package brings.

The package says which batches it has. Without the package nobody can look, and that is told, with
its name.
"""

from __future__ import annotations

from pathlib import Path

from batten.errors import InconsistentError
from batten.lookup.telling_lacks import CannotLookError, Found, tell_batches
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code
from batten.plugins import PluginError, PluginGroup, find_plugin


def look_at_plugin(place: str, given: Delivery) -> Found:
    """Raises `CannotLookError` where the package is not here, is broken, or can't tell."""
    try:
        plugin = find_plugin(PluginGroup.SINK, given.kind)
    except PluginError as error:
        why = error.what.removesuffix(".")
        raise CannotLookError(f"{why}; the package {given.package} brought it") from error
    if plugin.package != given.package:
        raise CannotLookError(
            f"the package {given.package} brought it, and {given.kind!r} is now of {plugin.package}"
        )
    if not callable(getattr(plugin.made, "list_held", None)):
        raise CannotLookError(f"the package {given.package} has no way to look at it")
    try:
        held = set(plugin.made.list_held(given, Path(place)))
    except InconsistentError as error:
        yield Code.UNREADABLE_DESTINATION, f"it can't be read: {error.what.removesuffix('.')}"
        return
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CannotLookError(f"the package {given.package} can't look: {why}") from error
    lacking = tell_batches(held, given)
    if lacking is not None:
        yield lacking
