"""The first parts say whether a batch should hold more items, or fewer."""

from __future__ import annotations

from pathlib import Path

import pytest

import batten
from batten.drive.publishing import waiting
from batten.model.rules.part_sizes import advise_batch_size

MB = 1_000_000


@pytest.mark.parametrize(
    ("batch_size", "planned", "item_bytes", "is_in_store", "wanted"),
    [
        (1_000, 1_000_000_000, 1_000, False, 100_000),  # parts of 1 MB, a million of them
        (1_000, 1_000_000_000, 1_000, True, 100_000),
        (1_000, 5_000_000, 1_000, False, None),  # 5,000 parts: in a folder that is quick
        (1_000, 5_000_000, 1_000, True, 100_000),
        (1_000, 900_000, 1_000, True, None),
        (100, 1_000_000, 1, True, 20_000),  # so that workers share the work
        (100_000, 1_000_000_000, 1_000, True, None),  # 100 MB
        (1_000, 1_000_000_000, 64_000, True, None),
        (1_000, 3_000, 600_000, False, 200),  # 600 MB
        (10, 1_000, 100 * MB, True, 2),
        (1, 1_000, 600 * MB, True, None),
    ],
)
def test_the_rule(
    batch_size: int, planned: int, item_bytes: int, is_in_store: bool, wanted: int | None
) -> None:
    advised = advise_batch_size(
        batch_size=batch_size,
        planned_items=planned,
        seen_items=batch_size,
        seen_bytes=item_bytes * batch_size,
        is_in_store=is_in_store,
    )
    assert advised == wanted


def test_nothing_is_known_of_parts_without_items() -> None:
    for items, size in ((0, 0), (1, 0)):
        assert (
            advise_batch_size(
                batch_size=1, planned_items=10, seen_items=items, seen_bytes=size, is_in_store=True
            )
            is None
        )


class Noted:
    """Implements `Progress`."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def show(self, status: object) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        pass


def square(number: int) -> dict[str, int]:
    if number >= 200:
        raise ValueError("it is enough")
    return {"square": number * number}


def test_it_is_said_once_and_as_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 0.0)
    made = batten.from_range(20_000).map(square).options(batch_size=1, on_error="raise")
    made = made.write_parquet(tmp_path / "squares")
    said = []
    for _ in range(2):
        noted = Noted()
        with pytest.raises(batten.BattenError):
            made.run(executor="serial", progress=noted)
        said.append([note for note in noted.notes if "batch_size" in note])
    (told,), again = said
    assert ".options(batch_size=500)" in told
    assert "20,000 parts" in told
    assert "--fresh" in told
    assert again == []


def test_of_a_few_parts_nothing_is_said(tmp_path: Path) -> None:
    made = batten.from_range(6).map(square).options(batch_size=1)
    noted = Noted()
    made.write_parquet(tmp_path / "squares").run(executor="serial", progress=noted)
    assert noted.notes == []
