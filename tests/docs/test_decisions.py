"""Each decision is named where it is carried out, and what is named is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b[Dd]ecisions?\s+(\d{4}(?:,\s+\d{4})*)")


def test_decisions_are_named_where_they_are_carried_out() -> None:
    records = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("0*.md")}
    places = [*(ROOT / "src").rglob("*.py"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    named = {
        number
        for place in places
        for found in NAMED.findall(place.read_text())
        for number in re.findall(r"\d{4}", found)
    }

    assert len(records) > 50
    assert sorted(records - named) == []
    assert sorted(named - records) == []
