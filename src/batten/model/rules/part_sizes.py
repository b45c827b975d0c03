"""How many items a part should hold, by what the first parts hold (decision 0129).

Each look at a dataset lists its parts, and in a store each record is a request. So many small parts
cost time for ever. One that is very large takes memory, and a store takes it in one request.
"""

from __future__ import annotations

PART_BYTES_MIN = 64_000_000
PART_BYTES_MAX = 512_000_000
_PART_BYTES = 128_000_000
"""What is aimed at."""
_LARGE_PART_BYTES = 256_000_000
_PARTS_MANY = 10_000
_PARTS_MANY_IN_STORE = 1_000
_PARTS_LEAST = 25
"""Workers share the work of so many parts well."""


def advise_batch_size(
    *, batch_size: int, planned_items: int, seen_items: int, seen_bytes: int, is_in_store: bool
) -> int | None:
    """The number of items that a batch should have; None if it is as good as it is. `seen_bytes`
    are those of the parts of `seen_items` items."""
    if not seen_items or not seen_bytes:
        return None
    item_bytes = seen_bytes / seen_items
    part_bytes = item_bytes * batch_size
    if part_bytes > PART_BYTES_MAX:
        wanted = _round(_LARGE_PART_BYTES / item_bytes)
        return wanted if wanted < batch_size else None
    many = _PARTS_MANY_IN_STORE if is_in_store else _PARTS_MANY
    if part_bytes >= PART_BYTES_MIN or planned_items <= many * batch_size:
        return None
    wanted = _round(min(_PART_BYTES / item_bytes, planned_items / _PARTS_LEAST))
    return wanted if wanted >= 2 * batch_size else None


def _round(count: float) -> int:
    """1, 2 or 5 with zeros, not above the count; at least 1."""
    power: int = 10 ** (len(str(max(1, int(count)))) - 1)
    return power * max(step for step in (1, 2, 5) if step * power <= max(count, 1))
