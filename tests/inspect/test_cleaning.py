"""What `batten clean` removes has been replaced by what is durable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

import batten
from batten.inspect.clean import clean_output
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import recover_output
from batten.model.disk.names import Layout
from batten.model.disk.staged_names import DIGEST_CHARACTERS
from batten.storage.changing import steps

Act = Callable[[batten.Pipeline, Path], None]


def clean(made: batten.Pipeline, folder: Path) -> None:
    place = locate_output(folder / "out")
    assert len(clean_output(place, older_than_seconds=0, is_dry_run=False).removed) == 1


def recover(made: batten.Pipeline, folder: Path) -> None:
    recover_output(locate_output(folder / "out"), should_recompute=False, is_dry_run=False)


def run_anew(made: batten.Pipeline, folder: Path) -> None:
    made.run(executor="serial", fresh=True)


@pytest.mark.parametrize("act", [clean, recover, run_anew])
def test_what_is_staged_goes_when_the_part_made_of_it_is_durable(
    act: Act, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed before it synced the part: a power cut would take both."""
    made = batten.from_range(6).map(lambda n: {"square": n * n}, version="1")
    made = made.options(batch_size=3).write_parquet(tmp_path / "out")
    made.run(executor="serial")
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
    act(made, tmp_path)
    before = done[: done.index(("delete", staged))]
    assert ("sync_names", layout.data) in before
