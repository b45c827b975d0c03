"""A part's own description is read from the bytes of its footer alone."""

from __future__ import annotations

import pyarrow as pa
import pytest

from batten.model.disk.footer import TAIL_SIZE, decode_footer, find_footer_size
from batten.model.disk.records import PART_KEY, PartDescription, Unreadable
from batten.sinks.parquet import encode_part


def describe(outcomes: str, fingerprint: str = "ü{}\"'") -> PartDescription:
    return PartDescription(
        batch=3, items=4, rows=2, outcomes=outcomes, keys="ordinals:0-4", fingerprint=fingerprint
    )


def encode(description: PartDescription, **columns: object) -> bytes:
    return encode_part(pa.table(columns or {"key": [1, 2]}), description).to_pybytes()


def read(data: bytes) -> PartDescription:
    size = find_footer_size(data[-TAIL_SIZE:])
    return decode_footer(data[-(size + TAIL_SIZE) : -TAIL_SIZE])


@pytest.mark.parametrize("length", [*range(200), 16_200, 16_384])
def test_a_description_of_any_length(length: int) -> None:
    """Also where a byte of its length looks like the brace that the description begins with."""
    described = describe("1c" * (length // 2), fingerprint="ü{}\"'" + "f" * (length % 2))
    assert read(encode(described)) == described


def test_columns_and_values_named_like_the_description_do_not_mislead() -> None:
    described = describe("4c")
    decoy = f'{PART_KEY}{{"batch": 9}}'
    assert read(encode(described, **{PART_KEY: [decoy, decoy], "key": [1, 2]})) == described


def test_what_is_no_footer_is_unreadable() -> None:
    data = encode(describe("4c"))
    size = find_footer_size(data[-TAIL_SIZE:])
    footer = data[-(size + TAIL_SIZE) : -TAIL_SIZE]
    for tail in (b"", b"PAR1", b"\0" * TAIL_SIZE, data[:TAIL_SIZE]):
        with pytest.raises(Unreadable):
            find_footer_size(tail)
    place = footer.rfind(PART_KEY.encode())
    for torn in (b"", footer[: place + 5], footer[: place + 12], footer[: place + 40]):
        with pytest.raises(Unreadable):
            decode_footer(torn)
    for at in range(place, place + len(PART_KEY)):
        with pytest.raises(Unreadable):
            decode_footer(footer[:at] + b"?" + footer[at + 1 :])
