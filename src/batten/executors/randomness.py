"""Workers do not share a state of random numbers.

A fork has its parent's state, and what a job seeds when it is loaded is the same in each fresh
interpreter. So each worker seeds, when it begins, what is there: the generators of `random`, of
NumPy and of torch that all share, and those that the job's own modules hold by a name.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Callable
from functools import partial
from secrets import randbits
from types import ModuleType
from typing import Any

from batten.fingerprint.ownership import is_own_namespace, namespace_of_module

SEED_BITS = 128
_TORCH_BITS = 63
_WORD_BITS = 32

Reseed = Callable[[int], object]
"""Begins a generator anew from a number of `SEED_BITS` bits."""


def seed_afresh() -> None:
    """Give each generator numbers that no other process has."""
    for _, reseed in find_generators():
        reseed(randbits(SEED_BITS))


class Seeding:
    """Gives the generators of this process the numbers that `seed` has for an item, a call of a
    function for it, and for each try of that call the same."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._item = ""
        self._calls = 0
        self._modules = 0
        self._generators: list[tuple[int, Reseed]] = []

    def begin_item(self, name: object) -> None:
        self._item = str(name)
        self._calls = 0

    def begin_call(self) -> None:
        self._calls += 1

    def begin_try(self) -> None:
        if self._modules != len(sys.modules):
            # Something was imported: perhaps a generator.
            self._modules = len(sys.modules)
            self._generators = [(_digest(name), reseed) for name, reseed in find_generators()]
        number = _digest(f"{self._seed} {self._calls} {self._item}")
        for offset, reseed in self._generators:
            reseed(number ^ offset)


def _digest(text: str) -> int:
    data = text.encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=SEED_BITS // 8).digest(), "big")


def find_generators() -> list[tuple[str, Reseed]]:
    """The generators of what is imported now, by name; nothing is imported for it."""
    numpy_random: Any = sys.modules.get("numpy.random")
    torch: Any = sys.modules.get("torch")
    found: list[tuple[str, Reseed]] = [("random", random.seed)]
    if hasattr(numpy_random, "get_state"):
        state = numpy_random.get_state.__self__
        found.append(("numpy", partial(_reseed_legacy, state)))
    if hasattr(torch, "manual_seed"):
        found.append(("torch", partial(_reseed_torch, torch)))
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        # Without asking the module, which some load themselves upon.
        is_module = issubclass(type(module), ModuleType)
        names = object.__getattribute__(module, "__dict__") if is_module else {}
        if is_own_namespace(names):
            label = namespace_of_module(module).label
            for name, value in list(names.items()):
                reseed = _find_reseed(value, numpy_random, torch)
                if reseed is not None and id(value) not in seen:
                    seen.add(id(value))
                    found.append((f"{label}.{name}", reseed))
    return found


def _find_reseed(value: Any, numpy_random: Any, torch: Any) -> Reseed | None:
    if isinstance(value, random.Random):
        return None if isinstance(value, random.SystemRandom) else value.seed
    if numpy_random is not None and isinstance(value, numpy_random.Generator):
        return partial(_reseed_bits, value.bit_generator)
    if numpy_random is not None and isinstance(value, numpy_random.RandomState):
        return partial(_reseed_legacy, value)
    if torch is not None and isinstance(value, torch.Generator):
        return partial(_reseed_torch, value)
    return None


def _reseed_bits(bits: Any, seed: int) -> None:
    bits.state = type(bits)(seed).state


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
