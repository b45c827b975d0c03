"""Finds the generators of random numbers that a job can draw from, each with its place.

A place is a name that is the same in every process, and does not depend on what the job file is
called (decision 0072).

It looks into what the function of a step holds, into the module that it is of, and into the job's
other modules. The search is bounded. A generator that it does not reach keeps its numbers.
"""

from __future__ import annotations

import functools
import gc
import itertools
import random
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import (
    CellType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any

from batten.fingerprint.ownership import is_own_namespace, namespace_of_class, namespace_of_module
from batten.model.value_class import value_class

SEED_BITS = 128
DEPTH_MAX = 12
OBJECTS_MAX = 20_000
ITEMS_MAX = 10_000
"""How deep it looks, at how many objects in all, at how many of one container."""

_TORCH_BITS = 63
_WORD_BITS = 32
_NAME_CHARACTERS_MAX = 100

_CLOSED = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray, range, CellType, CodeType),
    *(FrameType, TracebackType),
)
_BUILT_IN = (list, tuple, dict, set, frozenset, deque, MappingProxyType)

Reseed = Callable[[int], object]
"""Begins a generator anew from a number of `SEED_BITS` bits."""

Named = tuple[str, Any]

_Take = Callable[[Any], tuple[Any, Reseed]]
"""Gives the state of a generator, and how to begin it anew."""


@value_class
class FoundGenerator:
    """`state` is what two names for one generator share."""

    place: str
    state: Any
    reseed: Reseed


def find_generators(function: Any = None) -> list[FoundGenerator]:
    """Those of all modules of now, and those that `function` holds; nothing is imported for it."""
    return _GeneratorSearch().run(function)


def find_home(function: Any) -> dict[str, Any]:
    """The names of the module that a function of a step is of."""
    for _ in range(DEPTH_MAX):
        if issubclass(type(function), functools.partial):
            function = function.func
        elif type(function) is MethodType:
            function = function.__func__
        elif type(function) is FunctionType:
            if "__wrapped__" not in vars(function):
                names: dict[str, Any] = function.__globals__
                return names
            function = vars(function)["__wrapped__"]
        else:
            kind = function if isinstance(function, type) else type(function)
            call = getattr(kind, "__call__", None)  # noqa: B004 - its module is asked for
            if type(call) is FunctionType and function is not None:
                return call.__globals__
            module = sys.modules.get(kind.__module__)
            return vars(module) if type(module) is ModuleType and kind is not type(None) else {}
    return {}


class _GeneratorSearch:
    """Breadth first, so that what lies near is found whatever lies far."""

    def __init__(self) -> None:
        self.found: list[FoundGenerator] = []
        self._numpy: Any = sys.modules.get("numpy.random")
        self._torch: Any = sys.modules.get("torch")
        self._numpy = self._numpy if hasattr(self._numpy, "get_state") else None
        self._torch = self._torch if hasattr(self._torch, "manual_seed") else None
        self._seen: dict[int, Any] = {}
        self._kinds: dict[type[Any], _Take | None] = {}
        self._waiting: deque[tuple[int, str, Any]] = deque()

    def run(self, function: Any) -> list[FoundGenerator]:
        self._take_shared()
        home = find_home(function)
        if function is not None:
            self._waiting.append((0, "step", function))
        self._take_names("", home)
        self._look()
        for label, names in _own_modules():
            self._take_names(f"{label}.", names)
            self._look()
        return self.found

    def _take_shared(self) -> None:
        """The generators that a library has for all."""
        self._add("random", random.seed.__self__, random.seed)  # type: ignore[attr-defined]
        if self._numpy is not None:
            state = self._numpy.get_state.__self__
            self._add("numpy", state._bit_generator, partial(_reseed_legacy, state))
            self._seen[id(state)] = state
        if self._torch is not None:
            shared = getattr(self._torch, "default_generator", self._torch)
            self._add("torch", shared, partial(_reseed_torch, self._torch))

    def _add(self, place: str, state: Any, reseed: Reseed) -> None:
        if not any(each.state is state for each in self.found):
            self._seen[id(state)] = state
            self.found.append(FoundGenerator(place=place, state=state, reseed=reseed))

    def _take_names(self, prefix: str, names: dict[str, Any]) -> None:
        if id(names) not in self._seen:
            self._seen[id(names)] = names
            for name, value in list(names.items()):
                self._waiting.append((1, f"{prefix}{name}", value))

    def _look(self) -> None:
        waiting, seen = self._waiting, self._seen
        while waiting and len(seen) < OBJECTS_MAX:
            depth, place, value = waiting.popleft()
            if id(value) in seen or type(value) in _CLOSED:
                continue
            seen[id(value)] = value
            reseed = self._find_reseed(type(value))
            if reseed is not None:
                self._add(place, *reseed(value))
            elif issubclass(type(value), ModuleType):
                names = object.__getattribute__(value, "__dict__")
                if is_own_namespace(names):
                    self._take_names(f"{namespace_of_module(value).label}.", names)
            elif depth < DEPTH_MAX:
                # An object of the job's may have code of its own to list what is in it.
                with suppress(Exception):
                    for name, child in _list_held(value):
                        if type(child) not in _CLOSED:
                            waiting.append((depth + 1, f"{place}{name}", child))
        waiting.clear()

    def _find_reseed(self, kind: type[Any]) -> _Take | None:
        if kind not in self._kinds:
            known: list[tuple[type[Any], _Take]] = [(random.Random, _take_random)]
            if self._numpy is not None:
                known += [
                    (self._numpy.Generator, lambda each: _take_bits(each.bit_generator)),
                    (self._numpy.RandomState, _take_legacy),
                    (self._numpy.BitGenerator, _take_bits),
                    (
                        self._numpy.SeedSequence,
                        lambda each: (each, partial(_reseed_sequence, each)),
                    ),
                ]
            if self._torch is not None:
                own = self._torch.Generator
                known.append((own, lambda each: (each, partial(_reseed_torch, each))))
            take = (take for base, take in known if issubclass(kind, base))
            self._kinds[kind] = None if issubclass(kind, random.SystemRandom) else next(take, None)
        return self._kinds[kind]


def _own_modules() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for module in list(sys.modules.values()):
        # The module itself is not asked: some load themselves when asked.
        if issubclass(type(module), ModuleType):
            names = object.__getattribute__(module, "__dict__")
            if is_own_namespace(names):
                found.append((namespace_of_module(module).label, names))
    return sorted(found, key=lambda each: each[0])


def _list_held(value: Any) -> Iterator[Named]:
    """What an object holds on to, each by a name that it has there."""
    kind = type(value)
    if kind is FunctionType:
        yield from _held_by_function(value)
    elif kind is GeneratorType:
        yield from _attributes(value.gi_frame.f_locals if value.gi_frame is not None else {})
    elif issubclass(kind, type):
        if namespace_of_class(value).is_own:
            yield from _attributes(vars(value))
            yield from (("", each) for each in value.__bases__)
    elif not kind.__module__.startswith("batten."):
        yield from _held_by_object(value, kind)


def _held_by_function(function: FunctionType) -> Iterator[Named]:
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        try:
            yield f"<{name}>", cell.cell_contents
        except ValueError:
            continue
    for number, value in enumerate(function.__defaults__ or ()):
        yield f"({number})", value
    yield from ((f"({name})", each) for name, each in (function.__kwdefaults__ or {}).items())
    yield from _attributes(vars(function))
    module = sys.modules.get(function.__module__ or "")
    if module is not None:
        yield "", module


def _held_by_object(value: Any, kind: type[Any]) -> Iterator[Named]:
    if issubclass(kind, dict | MappingProxyType):
        if "__builtins__" not in value:  # the names of a module
            pairs = itertools.islice(
                dict.items(value) if issubclass(kind, dict) else value.items(), ITEMS_MAX
            )
            yield from ((_name_key(key, number), each) for number, (key, each) in enumerate(pairs))
    elif issubclass(kind, list | tuple | deque):
        items = itertools.islice(kind.__iter__(value), ITEMS_MAX)
        yield from ((f"[{number}]", each) for number, each in enumerate(items))
    elif issubclass(kind, set | frozenset):
        # Their order differs between processes, so all have one place.
        yield from (("{}", each) for each in itertools.islice(value, ITEMS_MAX))
    elif issubclass(kind, ContextVar):
        yield "()", value.get(None)
    elif issubclass(kind, weakref.ref):
        yield "()", value()
    if issubclass(kind, threading.local):
        yield from _attributes(value.__dict__)
    if kind not in _BUILT_IN:
        yield from _held_by_instance(value, kind)


def _held_by_instance(value: Any, kind: type[Any]) -> Iterator[Named]:
    named: Any = None
    with suppress(AttributeError, TypeError):
        named = object.__getattribute__(value, "__dict__")
    if type(named) is dict:
        yield from _attributes(named)
    for each in kind.__mro__:
        for name in _slots(each):
            try:
                yield f".{name}", object.__getattribute__(value, name)
            except AttributeError:
                continue
    yield "", kind
    if issubclass(kind, dict | list | tuple | set | frozenset):
        return
    # What C code holds: bound methods, partials, iterators.
    for number, each in enumerate(itertools.islice(gc.get_referents(value), ITEMS_MAX)):
        if each is not named:
            yield f"<{number}>", each


def _slots(kind: type[Any]) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(
        f"_{kind.__name__.lstrip('_')}{name}"
        if name.startswith("__") and not name.endswith("__")
        else name
        for name in names
        if name not in ("__dict__", "__weakref__")
    )


def _attributes(names: Any) -> Iterator[Named]:
    return ((f".{name}", value) for name, value in list(names.items()))


def _name_key(key: object, number: int) -> str:
    is_plain = type(key) in (str, int, bytes, float, bool, type(None))
    return f"[{key!r:.{_NAME_CHARACTERS_MAX}}]" if is_plain else f"[#{number}]"


def _take_random(generator: Any) -> tuple[Any, Reseed]:
    return generator, generator.seed


def _take_bits(bits: Any) -> tuple[Any, Reseed]:
    return bits, partial(_reseed_bits, bits)


def _take_legacy(state: Any) -> tuple[Any, Reseed]:
    return state._bit_generator, partial(_reseed_legacy, state)


def _reseed_bits(bits: Any, seed: int) -> None:
    bits.state = type(bits)(seed).state


def _reseed_sequence(sequence: Any, seed: int) -> None:
    """Which also forgets how many it has spawned."""
    sequence.__init__(seed)


def _reseed_torch(generator: Any, seed: int) -> None:
    generator.manual_seed(seed % (1 << _TORCH_BITS))


def _reseed_legacy(state: Any, seed: int) -> None:
    """Of NumPy's older interface, the module's own state or a `RandomState`."""
    try:
        state.seed([seed >> shift & 0xFFFFFFFF for shift in range(0, SEED_BITS, _WORD_BITS)])
    except TypeError:
        # It was given other bits than its own.
        kind = getattr(sys.modules["numpy.random"], state.get_state(legacy=False)["bit_generator"])
        state.set_state({**kind(seed).state, "has_gauss": 0, "gauss": 0.0})
