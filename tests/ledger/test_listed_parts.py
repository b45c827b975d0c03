"""Parts of a listing are read like a dict, in whatever order they were listed."""

from __future__ import annotations

from random import Random

import pytest

from batten.ledger.facts.batches.listed_parts import list_parts


@pytest.mark.parametrize("batches", [[], [0], [0, 1, 2], [2, 0, 1], [7, 3], [0, 2, 3], [10**17, 1]])
def test_it_is_as_a_dict(batches: list[int]) -> None:
    sizes = {batch: batch % 89 for batch in batches}
    versions = {batch: "" if batch % 3 == 0 else f'"ä{batch}"' for batch in batches}
    found_sizes, found_versions = list_parts((b, sizes[b], versions[b]) for b in batches)
    assert found_sizes == sizes
    assert found_versions == versions
    assert list(found_sizes) == list(found_versions) == sorted(batches)
    assert list(found_versions.in_order()) == [versions[batch] for batch in sorted(batches)]
    for absent in (-1, 1 << 80, 5, "0", None):
        assert absent not in found_sizes
        assert found_versions.get(absent) is None  # type: ignore[arg-type]
    left = found_sizes.without(frozenset(batches[:1]))
    assert left == {batch: sizes[batch] for batch in batches[1:]}


def test_many_are_put_in_order(seeded: Random) -> None:
    batches = list(range(10_000))
    seeded.shuffle(batches)
    sizes, versions = list_parts((batch, batch + 7, f"v{batch}") for batch in batches)
    assert sizes.are([batch + 7 for batch in range(10_000)])
    assert [*versions.values()] == [f"v{batch}" for batch in range(10_000)]


@pytest.mark.parametrize("batches", [[0, 1, 3], [1, 2, 3], [0, 1], [0, 1, 2, 3]])
def test_only_all_from_the_first_on_are_those_sizes(batches: list[int]) -> None:
    sizes, _ = list_parts((batch, 5, "") for batch in batches)
    assert not sizes.are([5, 5, 5])
    sizes, _ = list_parts((batch, 5, "") for batch in range(3))
    assert sizes.are([5, 5, 5])
    assert not sizes.are([5, 5, 6])


@pytest.mark.parametrize(
    "batches", [[], [4], [3, 4, 5], [2, 3, 4, 5, 6], [3, 5, 6], [0, 3, 4, 6, 7]]
)
@pytest.mark.parametrize("span", [range(3, 6), range(4, 5), range(3)])
def test_all_of_a_span_are_had_at_once(batches: list[int], span: range) -> None:
    sizes, versions = list_parts((batch, batch + 7, f"v{batch}") for batch in batches)
    assert list(sizes.values()) == [batch + 7 for batch in batches]
    found = sizes.of_all(span)
    if not {*span} <= {*batches}:
        assert found is None
        assert not sizes.has_all(span)
        with pytest.raises(KeyError):
            versions.of_all(span)
        return
    assert sizes.has_all(span)
    assert found is not None
    assert list(found) == [batch + 7 for batch in span]
    assert versions.of_all(span) == [f"v{batch}" for batch in span]
