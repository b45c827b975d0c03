"""Items that the job file makes itself."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from batten.errors import BattenError, FailedRunError
from batten.sources.base import SCAN_BLOCK_ITEMS, ItemsWanted, ScanBlock, Unavailable
from batten.sources.blocks import cut_blocks, wanted_ordinals
from batten.sources.frames import find_rows, find_rows_of_all, spread
from batten.sources.identity.digests import digest_items
from batten.sources.identity.keys import NoKey, check_key, make_field_key, make_key
from batten.sources.identity.versions import check_changed
from batten.sources.paths import SAFE, source_error

PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
"""A block is cut early when its payloads reach this, so that a scan of large items stays small."""

Key = Callable[[Any], object] | str
KeyFunction = Callable[[Any], str]


class ItemSource:
    """The items of a sequence, of any other iterable, or of a function that returns one.

    A sequence is read by index, in the worker that needs the item. What another iterable gives is
    kept in the plan, since it cannot be had again by number; so those are plain values, as in
    `fingerprint.plain`. `key` is a function of the item,
    or the name of its field or attribute; without it, the ordinal is the key.
    """

    inputs = ()
    is_counted = False
    has_kinds = False

    def __init__(
        self,
        items: Iterable[Any] | Callable[[], Iterable[Any]],
        *,
        key: Key | None = None,
        changed: str = "content",
        removed: str = "keep",
    ) -> None:
        check_changed("from_items", changed, removed, has_key=key is not None)
        self._keeps_digests = key is None or changed == "content"
        self.drops_gone = removed == "drop"
        self.key = key
        self._key_of = _make_key_function(key)
        items = _as_rows(items, key)
        self._sequence = items if isinstance(items, Sequence) else None
        self._list = _make_lister(items)
        self.is_read_once = isinstance(items, Iterator)
        self._spent: Iterator[Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs: items by index, or none if the plan holds them."""
        return {
            "key": self.key,
            "sequence": self._sequence,
            "keeps_digests": self._keeps_digests,
            "drops_gone": self.drops_gone,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.key = state["key"]
        self._key_of = _make_key_function(self.key)
        self._sequence = state["sequence"]
        self._keeps_digests = state["keeps_digests"]
        self.drops_gone = state["drops_gone"]
        self._list = lambda: self._sequence if self._sequence is not None else ()
        self.is_read_once = False
        self._spent = None

    @property
    def identity(self) -> dict[str, str]:
        identity = {"source": "items"}
        if self.key is not None:
            identity["key"] = self.key if isinstance(self.key, str) else _name_function(self.key)
        return identity

    @property
    def is_keyed(self) -> bool:
        return self.key is not None

    def count_items(self) -> int | None:
        return None if self.is_keyed or self._sequence is None else len(self._sequence)

    def scan(self) -> Iterator[ScanBlock]:
        if self._sequence is None:
            return self._scan_payloads()
        if self._key_of is None:
            return self._scan_ordinals()
        return self._scan_keys(self._key_of)

    def open(self) -> SequenceReader | PayloadReader:
        if self._sequence is None:
            return PayloadReader()
        return SequenceReader(self._sequence, self._key_of)

    def _scan_ordinals(self) -> Iterator[ScanBlock]:
        for items in cut_blocks(self._iterate()):
            yield ScanBlock(count=len(items), digests=digest_items(items))

    def _scan_keys(self, key_of: KeyFunction) -> Iterator[ScanBlock]:
        start = 0
        for items in cut_blocks(self._iterate()):
            keys = [_require_key(key_of, start + index, item) for index, item in enumerate(items)]
            positions = range(start, start + len(items))
            digests = digest_items(items) if self._keeps_digests else None
            yield ScanBlock(count=len(items), keys=keys, positions=positions, digests=digests)
            start += len(items)

    def _scan_payloads(self) -> Iterator[ScanBlock]:
        keys: list[str] = []
        payloads: list[bytes] = []
        digests: list[bytes] = []
        size = 0
        for number, item in enumerate(self._iterate()):
            if self._key_of is not None:
                keys.append(_require_key(self._key_of, number, item))
            if self._keeps_digests:
                digests.append(digest_items([item]))
            payloads.append(_encode(number, item))
            size += len(payloads[-1])
            if len(payloads) == SCAN_BLOCK_ITEMS or size >= PAYLOAD_BYTES_MAX:
                yield self._payload_block(keys, payloads, digests)
                keys, payloads, digests, size = [], [], [], 0
        if payloads:
            yield self._payload_block(keys, payloads, digests)

    def _payload_block(
        self, keys: list[str], payloads: list[bytes], digests: list[bytes]
    ) -> ScanBlock:
        return ScanBlock(
            count=len(payloads),
            keys=keys if self.is_keyed else None,
            payloads=payloads,
            digests=b"".join(digests) if self._keeps_digests else None,
        )

    def _iterate(self) -> Iterator[Any]:
        """The items, with what the user's code raises as `FailedRunError`."""
        count = 0
        try:
            items = self._begin()
            for item in spread(items, self.key) if self.is_keyed else items:
                yield item
                count += 1
        except BattenError:
            raise
        except Exception as error:
            raise FailedRunError(
                f"Listing the items failed after {count} of them: {_describe(error)}.",
                safe=SAFE,
                next="Correct what from_items was given, then run again.",
                trace=traceback.format_exc(),
            ) from error

    def _begin(self) -> Iterator[Any]:
        items = _as_rows(self._list(), self.key)
        _require_items(items)
        iterator: Iterator[Any] = iter(items)
        if iterator is self._spent:
            raise source_error(
                "from_items was given an iterator, which can be read only once, and it was.",
                "Give a function that makes a new one, or a list of the items.",
            )
        if iterator is items:
            self._spent = iterator
        return iterator


class SequenceReader:
    """Gives items of a sequence by index."""

    def __init__(self, items: Sequence[Any], key_of: KeyFunction | None) -> None:
        self._items = items
        self._key_of = key_of

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        positions = wanted_ordinals(wanted) if wanted.positions is None else wanted.positions
        for index, position in enumerate(positions):
            try:
                item = self._items[position]
                if wanted.keys is not None and self._key_of is not None:
                    check_key(self._key_of(item), wanted.keys[index])
            except Exception as error:  # noqa: BLE001 (the user's code)
                yield Unavailable(error)
            else:
                yield item


class PayloadReader:
    """Gives items that the plan holds."""

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        from batten.fingerprint.plain.decoding import decode_plain

        planned: Sequence[bytes]
        if wanted.payloads is not None:
            decode: Callable[[bytes], Any] = decode_plain
            planned = wanted.payloads
        elif wanted.pickles is not None:
            decode, planned = pickle.loads, wanted.pickles()
        else:
            raise ValueError("items of an iterable are read from the plan")
        for place, payload in enumerate(planned):
            later = wanted.later_payloads.get(place)
            yield _decode(decode, payload) if later is None else _decode(decode_plain, later)


def _decode(decode: Callable[[bytes], Any], payload: bytes) -> Any | Unavailable:
    try:
        return decode(payload)
    except Exception as error:  # noqa: BLE001 (of 0.1: the user's code)
        return Unavailable(error)


def _make_key_function(key: object) -> KeyFunction | None:
    if key is None:
        return None
    if callable(key):
        return lambda item: make_key(key(item))
    if isinstance(key, str) and key:
        return lambda item: _make_named_key(item, key)
    raise source_error(
        f"from_items(key={key!r}): neither a function nor the name of a field.",
        "Give a function that takes an item and returns its key, or a field's name.",
    )


def _make_named_key(item: Any, name: str) -> str:
    if isinstance(item, Mapping):
        return make_field_key(item, name)
    if not hasattr(item, name):
        raise NoKey(f"a {type(item).__name__} has no attribute {name!r}")
    return make_key(getattr(item, name))


def _require_key(key_of: KeyFunction, number: int, item: Any) -> str:
    try:
        return key_of(item)
    except NoKey as error:
        raise source_error(
            f"Item {number + 1} of from_items has no usable key: {error}.",
            "Every item needs a str or an int as its key. Correct it, or leave key= out.",
        ) from error
    except Exception as error:
        raise FailedRunError(
            f"The key function of from_items failed on item {number + 1}: {_describe(error)}.",
            safe=SAFE,
            next="Correct the function, then run again.",
            trace=traceback.format_exc(),
        ) from error


def _as_rows(items: Any, key: Key | None) -> Any:
    """A data frame as its rows, and with a key a list of such; anything else as it is."""
    if isinstance(items, range | str):
        return items
    if isinstance(items, list | tuple):
        return (None if key is None else find_rows_of_all(items, key)) or items
    rows = find_rows(items, has_key=key is not None, key=key)
    return items if rows is None else rows


def _make_lister(items: object) -> Callable[[], Any]:
    """What gives the items at each scan: the function, or one that returns the iterable."""
    if callable(items) and not isinstance(items, Iterable):
        return items
    _require_items(items)
    return lambda: items


def _require_items(items: object) -> None:
    """Raises `UsageError` for what is surely a mistake."""
    if isinstance(items, str | bytes | bytearray | memoryview):
        problem, advice = f"a {type(items).__name__}", "Give a list of items, or from_files a path."
    elif isinstance(items, Mapping):
        problem, advice = "a mapping", "Give mapping.items() or mapping.values()."
    elif isinstance(items, set | frozenset):
        problem, advice = "a set, which has no order", "Give sorted(…) of it."
    elif not isinstance(items, Iterable):
        problem = f"a {type(items).__name__}, which is not iterable"
        advice = "Give a list, an iterable, or a function that returns one."
    else:
        return
    raise source_error(f"from_items was given {problem}.", advice)


def _encode(number: int, item: Any) -> bytes:
    from batten.fingerprint.plain.encoding import encode_plain
    from batten.fingerprint.plain.letters import NotPlain

    try:
        return encode_plain(item)
    except NotPlain as error:
        raise source_error(
            f"Item {number + 1} of from_items can't be kept in the plan: it is, or holds, {error}.",
            "Give a list of the items, from_items(list(...)): those are not kept. Or give "
            "plain values (texts, numbers, dicts, ...), and make the objects in the function.",
        ) from error


def _name_function(function: Callable[..., object]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
