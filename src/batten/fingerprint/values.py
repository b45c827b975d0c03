"""Values as canonical text: equal text means equal content, in any process, on any machine.

Functions, classes and modules are not values here: a callback says how they are referred to.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    UnionType,
)
from typing import Any, get_args, get_origin

from batten.fingerprint.code import describe_literal
from batten.fingerprint.ownership import namespace_of_class, namespace_of_module, public_name
from batten.fingerprint.secret import Secret, secret_values
from batten.model.annotations import annotated_names
from batten.model.telling.hiding import is_secret_name

SHORT_CHARACTERS = 60
"""Texts up to this long are kept as they are, so that a difference can show them."""

_LITERALS = {type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)}
_SEQUENCES: dict[type[Any], str] = {tuple: "()", list: "[]"}
_SETS: dict[type[Any], str] = {set: "set", frozenset: "frozenset"}

_WRAPPERS: dict[type[Any], tuple[str, ...]] = {
    classmethod: ("__func__",),
    functools._lru_cache_wrapper: ("__wrapped__",),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
}
"""Callables and descriptors around functions, and what they hold."""

_KNOWN_BY_TEXT = {
    "datetime.date",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "ipaddress.IPv4Address",
    "ipaddress.IPv4Network",
    "ipaddress.IPv6Address",
    "ipaddress.IPv6Network",
    "range",
    "slice",
    "uuid.UUID",
}
"""Installed classes that `str` tells all of."""

_KNOWN_BY_CONTENT = {
    "array.array",
    "bytearray",
    "collections.Counter",
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.deque",
    "datetime.datetime",
    "datetime.time",
    "operator.attrgetter",
    "operator.itemgetter",
    "operator.methodcaller",
    "string.Template",
    "types.SimpleNamespace",
    "zoneinfo.ZoneInfo",
}
"""Installed classes whose content is what pickling an instance keeps."""

_WITHOUT_CONTENT = {
    "_thread",
    "asyncio.locks",
    "logging",
    "multiprocessing.synchronize",
    "threading",
}
"""Modules whose instances hold nothing that results come from: loggers and locks."""

_STANDARD_STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")


class Opaque(Exception):
    """A value that has no content to compare."""

    def __init__(self, value: object) -> None:
        super().__init__(type(value).__qualname__)
        self.kind = public_name(type(value).__module__, type(value).__qualname__)


class ValueText:
    """Makes the text of one value. `refer` names a function, class or module, or gives None for
    other values; `own_within` names the user's own code that an installed callable holds. Paths
    under `folder` are told relative to it, so that a job can be moved. `has_version`: a value
    without content is told as such, since a version stands for it.

    Afterwards `secrets` are the names of the secrets within, and `is_secret` says that a field
    holds one by its name, which the text may not tell."""

    def __init__(
        self,
        refer: Callable[[Any], str | None],
        own_within: Callable[[Any], list[str]],
        folder: str | None,
        *,
        has_version: bool = False,
    ) -> None:
        self.secrets: list[str] = []
        self.is_secret = False
        self._secret_values = secret_values()
        self._has_version = has_version
        self._refer = refer
        self._own_within = own_within
        self._folder = folder if folder and folder != os.sep else None
        self._within: list[int] = []

    def describe(self, value: Any) -> str:
        """Raises `Opaque` if there is no content to compare, also deep within."""
        kind = type(value)
        if kind is str:
            if value in self._secret_values:
                return self._secret(self._secret_values[value])
            return self._place(value) or describe_literal(value)
        if kind in _LITERALS:
            return describe_literal(value)
        if id(value) in self._within:
            return f"<{len(self._within) - self._within.index(id(value))} up>"
        self._within.append(id(value))
        try:
            return self._describe_compound(value, kind)
        except RecursionError as error:
            raise Opaque(value) from error
        except Opaque as error:
            if not self._has_version:
                raise
            return f"{error.kind}, by its version"
        finally:
            self._within.pop()

    def _secret(self, name: str) -> str:
        self.secrets.append(name)
        return f"batten.Secret({name!r})"

    def _describe_compound(self, value: Any, kind: type[Any]) -> str:
        if kind in _SEQUENCES:
            brackets = _SEQUENCES[kind]
            self._look_at_words(value)
            return f"{brackets[0]}{', '.join(map(self.describe, value))}{brackets[1]}"
        if kind is dict or kind is MappingProxyType:
            return self._mapping(value.items())
        if kind in _SETS:
            return f"{_SETS[kind]}({', '.join(sorted(map(self.describe, value)))})"
        if isinstance(value, PurePath):
            return f"Path({self._place(str(value)) or ascii(value.as_posix())})"
        reference = self._refer(value)
        if reference is not None:
            return reference
        if isinstance(value, Enum):
            return f"{self.describe(kind)}.{value.name}({self.describe(value.value)})"
        if isinstance(value, re.Pattern):
            return f"re.Pattern({self.describe(value.pattern)}, {value.flags})"
        if isinstance(value, MethodType):
            return f"method {self.describe(value.__func__)} of {self.describe(value.__self__)}"
        if isinstance(value, BuiltinFunctionType):
            return f"method {value.__qualname__} of {self.describe(value.__self__)}"
        if kind in _WRAPPERS:
            wrapped = tuple(getattr(value, name) for name in _WRAPPERS[kind])
            if kind is functools.partial and isinstance(value.func, FunctionType):
                self._look_at_named(zip(value.func.__code__.co_varnames, value.args, strict=False))
            return f"{kind.__name__}{self.describe(wrapped)}"
        return self._describe_other(value, kind)

    def _describe_other(self, value: Any, kind: type[Any]) -> str:
        name = public_name(kind.__module__, kind.__qualname__)
        package = kind.__module__.partition(".")[0]
        if isinstance(value, GenericAlias | UnionType) or get_origin(value) is not None:
            return f"type({self.describe(get_origin(value))}, {self.describe(get_args(value))})"
        if package == "typing":
            return f"typing({value!r})"
        if any(value is getattr(sys, each, None) for each in _STANDARD_STREAMS):
            return name
        if isinstance(value, Secret):
            return self._secret(value.name)
        if kind.__module__ in _WITHOUT_CONTENT or package == "batten":
            return name
        if any(each.__module__ == "numpy" for each in kind.__mro__) and hasattr(value, "dtype"):
            return self._numpy(value)
        if name.startswith("numpy.dtype"):
            return f"numpy.dtype({value.descr!r})"
        if package == "pyarrow":
            return _arrow(value)
        if package == "pandera":
            # Their types are told by their text, and all else by its content (decision 0104).
            is_type = any(each.__qualname__ == "DataType" for each in kind.__mro__)
            return f"{name}({value})" if is_type else self._instance(value, kind)
        if name in _KNOWN_BY_TEXT:
            return f"{name}({value})"
        if name in _KNOWN_BY_CONTENT or namespace_of_class(kind).is_own:
            return self._instance(value, kind)
        return self._installed_callable(value, name)

    def _installed_callable(self, value: Any, name: str) -> str:
        """An object that presents itself as a function, as decorators make them."""
        if not callable(value) or not isinstance(getattr(value, "__name__", None), str):
            raise Opaque(value)
        if own := self._own_within(value):
            return f"{name}({', '.join(own)})"
        made_in = getattr(value, "__module__", None)
        module = sys.modules.get(made_in) if isinstance(made_in, str) else None
        if module is None:
            return f"{name} {value.__name__}"
        if namespace_of_module(module).is_own:
            raise Opaque(value)
        return f"{name} {public_name(made_in, value.__name__)}"

    def _instance(self, value: Any, kind: type[Any]) -> str:
        """What pickling keeps; a class may say so itself by `__getstate__`."""
        model = next((each for each in kind.__mro__ if each.__module__ == "pydantic.main"), None)
        if model is not None:
            extra = getattr(value, "__pydantic_extra__", None)
            private = getattr(value, "__pydantic_private__", None)
            return f"{self.describe(kind)}{self.describe((vars(value), extra, private))}"
        try:
            reduced = value.__reduce_ex__(2)
        except (TypeError, AttributeError) as error:
            raise Opaque(value) from error
        if isinstance(reduced, str):
            return f"{self.describe(kind)}.{reduced}"
        self._look_at_fields(value, kind)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        content = [self.describe((make, arguments, state, list(items or ())))]
        content.append(self._mapping(pairs or ()))
        return f"{self.describe(kind)}[{', '.join(content)}]"

    def _look_at_fields(self, value: Any, kind: type[Any]) -> None:
        """Tuples, classes with slots, and those that say themselves what is kept of them, are
        described without the names of their fields."""
        names = [*getattr(kind, "_fields", ()), *getattr(kind, "__struct_fields__", ())]
        for each in kind.__mro__:
            names += [*_slots(each), *annotated_names(each)]
        named = {name: getattr(value, name, None) for name in names if isinstance(name, str)}
        held = getattr(value, "__dict__", {})
        self._look_at_named([*named.items(), *(held.items() if isinstance(held, dict) else ())])

    def _look_at_words(self, values: Sequence[Any]) -> None:
        """`("password", "…")`, and the words of a command: `["--password", "…"]`."""
        if len(values) == 2:
            self._look_at_named([(_as_name(values[0]), values[1])])
        words = zip(map(_as_name, values), values[1:], strict=False)
        self._look_at_named((name, value) for name, value in words if name.startswith("-"))

    def _look_at_named(self, pairs: Iterable[tuple[str, Any]]) -> None:
        for name, value in pairs:
            is_held = bool(value) if isinstance(value, _CONTENTS) else _is_number(value)
            if is_held and is_secret_name(name):
                self.is_secret = True

    def _mapping(self, pairs: Iterable[tuple[Any, Any]]) -> str:
        pairs = list(pairs)
        self._look_at_named((_as_name(key), item) for key, item in pairs)
        fields = {key.lower(): item for key, item in pairs if isinstance(key, str)}
        if "value" in fields:
            # A header, a variable, a cookie as an object of its own.
            names = [_as_name(fields.get(each)) for each in ("name", "key", "header", "id")]
            self._look_at_named((name, fields["value"]) for name in names)
        texts = sorted(f"{self.describe(key)}: {self.describe(item)}" for key, item in pairs)
        return f"{{{', '.join(texts)}}}"

    def _place(self, text: str) -> str | None:
        if self._folder is None or not text.startswith(self._folder):
            return None
        rest = text[len(self._folder) :]
        return f"here/{rest[1:]!a}" if rest[:1] in ("", os.sep) else None

    def _numpy(self, value: Any) -> str:
        content = (
            self.describe(value.tolist()) if value.dtype.hasobject else _digest(value.tobytes())
        )
        return f"numpy({value.dtype.descr!r}, {value.shape}, {content})"


_CONTENTS = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_name(value: Any) -> str:
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _slots(kind: type[Any]) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    is_private = [name.startswith("__") and not name.endswith("__") for name in names]
    own = f"_{kind.__name__.lstrip('_')}"
    return [
        own + name if private else name for name, private in zip(names, is_private, strict=True)
    ]


def _arrow(value: Any) -> str:
    import pyarrow

    name = type(value).__name__
    if isinstance(value, pyarrow.Table):
        table = value
    elif isinstance(value, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([value])
    elif isinstance(value, pyarrow.Array | pyarrow.ChunkedArray):
        table = pyarrow.table([value], names=["value"])
    elif isinstance(value, pyarrow.Scalar):
        table = pyarrow.table([pyarrow.array([value.as_py()], value.type)], names=["value"])
    elif isinstance(value, pyarrow.Schema):
        return f"pyarrow.{name}({_digest(value.serialize().to_pybytes())})"
    elif isinstance(value, pyarrow.DataType | pyarrow.Field):
        field = value if isinstance(value, pyarrow.Field) else pyarrow.field("value", value)
        return f"pyarrow.{name}({_digest(pyarrow.schema([field]).serialize().to_pybytes())})"
    else:
        raise Opaque(value)
    # Taking all rows drops what a slice hides, and how chunks were cut.
    table = table.take(pyarrow.array(range(len(table)), pyarrow.int64()))
    table = table.combine_chunks()
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return f"pyarrow.{name}({_digest(sink.getvalue().to_pybytes())})"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_text(text: str) -> str:
    return f"sha256:{_digest(text.encode('utf-8', 'surrogatepass'))}"


def shorten(text: str) -> str:
    """The text itself where it is short, else its digest."""
    return text if len(text) <= SHORT_CHARACTERS else digest_text(text)
