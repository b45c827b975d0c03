"""What `batten clean` removes has been replaced by what is durable."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import batten
from batten.inspect.clean import clean_output
from batten.inspect.output_path import locate_output
from batten.model.disk.names import DIGEST_CHARACTERS, Layout
from batten.storage import steps


def test_what_is_staged_goes_when_the_part_made_of_it_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed before it synced the part: a power cut would take both."""
    made = batten.from_range(6).map(lambda n: {"square": n * n}, version="1")
    made.options(batch_size=3).write_parquet(tmp_path / "out").run(executor="serial")
    layout = Layout("out")
    for name in (layout.complete, layout.commit(1)):
        (tmp_path / name).unlink()
    part = (tmp_path / layout.part(1)).read_bytes()
    digest = hashlib.sha256(part).hexdigest()[:DIGEST_CHARACTERS]
    staged = layout.staged_file(1, "sealed", digest)
    (tmp_path / staged).write_bytes(part)
    done = []

    def observe(moment: str, step: str, name: str) -> None:
        if moment == "after":
            done.append((step, name))

    monkeypatch.setattr(steps, "observer", observe)
    place = locate_output(tmp_path / "out")
    assert len(clean_output(place, older_than_seconds=0, is_dry_run=False).removed) == 1
    before = done[: done.index(("delete", staged))]
    assert ("sync_names", layout.data) in before
