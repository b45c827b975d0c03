"""Sinks, sources and stores that other packages bring, as entry points of installed packages.

Entry points are read when a name is asked for, and never before: who asks for none pays for none.
One package is read at a time, so what is broken in one costs only what that one brings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from batten.errors import BattenError, usage_error
from batten.printable import escape

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_NEAR_MAX = 3


class PluginGroup(Enum):
    """What a package can bring. The value is the name of the group of entry points."""

    SINK = "batten.sinks"
    SOURCE = "batten.sources"
    STORE = "batten.stores"

    @property
    def noun(self) -> str:
        return self.name.lower()


class Plugin(NamedTuple):
    """What an entry point names, and the package (without its version) that brings it."""

    name: str
    package: str
    made: Any


class PluginError(Exception):
    """Why a name can't be had; `next` says what to do. `is_unknown`: nobody brings it."""

    def __init__(self, what: str, next: str, *, is_unknown: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.next = next
        self.is_unknown = is_unknown


def load_plugin(group: PluginGroup, name: str, *, own: Mapping[str, str]) -> Plugin:
    """What a package brings under that name, which can `declare` what is wanted of it.

    `own` says how batten's own are written, by name. Raises `UsageError`, with near names, where
    there is none, and where the package is broken."""
    try:
        return find_plugin(group, name, needs=["declare"], own=own)
    except PluginError as error:
        raise usage_error(error.what, error.next) from error.__cause__


def find_plugin(
    group: PluginGroup,
    name: str,
    *,
    needs: Sequence[str] = (),
    own: Mapping[str, str] | None = None,
) -> Plugin:
    """As `load_plugin`; raises `PluginError`."""
    own = own or {}
    if name in own:
        raise PluginError(f"The {group.noun} {name!r} is batten's own.", f"Write {own[name]}.")
    found, broken = _list_brought(group)
    fitting = [(package, point) for package, point in found if point.name == name]
    if not fitting:
        raise _unknown(group, name, [point.name for _, point in found], own, broken)
    packages = sorted({package for package, _ in fitting})
    if len(fitting) > 1:
        raise PluginError(
            f"The {group.noun} {name!r} is brought more than once: by {' and '.join(packages)}.",
            f"Uninstall all but one: pip uninstall {packages[-1]}",
        )
    ((package, point),) = fitting
    return Plugin(name=name, package=package, made=_load(group, package, point, needs))


def declare(
    group: PluginGroup,
    plugin: Plugin,
    folder: Path,
    arguments: Sequence[Any],
    options: dict[str, Any],
) -> Any:
    """What the plugin makes of these. Raises `UsageError` where it makes nothing of them."""
    try:
        return plugin.made.declare(folder, *arguments, **options)
    except BattenError:
        raise
    except Exception as error:
        raise usage_error(
            f"The {group.noun} {plugin.name!r} of the package {plugin.package} can't be made of "
            f"what it was given: {type(error).__name__}: {error}",
            f"See what it takes: python -m pydoc {_module_of(plugin.made)}",
        ) from error


def _module_of(made: Any) -> str:
    return str(getattr(made, "__module__", None) or getattr(made, "__name__", ""))


def _load(group: PluginGroup, package: str, point: EntryPoint, needs: Sequence[str]) -> Any:
    told = f"The package {package} brings the {group.noun} {point.name!r}"
    advice = f"Repair the package, or bring it up to date: pip install --upgrade {package}"
    try:
        made = point.load()
    except (Exception, SystemExit) as error:
        why = escape(f"{type(error).__name__}: {error}".splitlines()[0])
        raise PluginError(f"{told}, which can't be loaded: {why}", advice) from error
    lacking = [method for method in needs if not callable(getattr(made, method, None))]
    if lacking:
        raise PluginError(f"{told}, which has no {lacking[0]}().", advice)
    return made


def _unknown(
    group: PluginGroup,
    name: str,
    names: Sequence[str],
    own: Mapping[str, str],
    broken: Sequence[str],
) -> PluginError:
    from difflib import get_close_matches

    near = get_close_matches(name, [*names, *own], n=_NEAR_MAX)
    shown = [own.get(each, repr(each)) for each in near]
    advice = f"Did you mean {' or '.join(shown)}?" if near else "Install the package that brings it"
    if not near:
        have = ", ".join(repr(each) for each in sorted(set(names)))
        advice += f"; those that are here bring {have}." if have else "; none here brings any."
    what = f"There is no {group.noun} {name!r}: no package that is installed brings it."
    if broken:
        what += f" What these bring can't be read: {', '.join(broken)}."
    return PluginError(what, advice, is_unknown=True)


def _list_brought(group: PluginGroup) -> tuple[list[tuple[str, EntryPoint]], list[str]]:
    """Each entry point with its package, and the packages of which they can't be read."""
    found: list[tuple[str, EntryPoint]] = []
    broken: list[str] = []
    for package, distribution in _list_packages():
        try:
            points = list(distribution.entry_points.select(group=group.value))
        except Exception:  # noqa: BLE001  Whatever its files make the parser raise.
            broken.append(package)
            continue
        found += [(package, point) for point in points]
    return found, broken


def _list_packages() -> Iterator[tuple[str, Any]]:
    """Each once: the first on the path is the one that is imported."""
    from importlib.metadata import distributions

    seen = set()
    for distribution in distributions():
        try:
            package = distribution.metadata["Name"]
        except Exception:  # noqa: BLE001  A damaged one brings nothing.
            continue
        plain = (package or "").lower().replace("_", "-").replace(".", "-")
        if plain and plain not in seen:
            seen.add(plain)
            yield package, distribution
