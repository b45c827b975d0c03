"""Where a delivery says that its file lies, and what it may not say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import batten
from batten.cli.main import main
from batten.model.disk.records import open_record, seal_record

TARGETS = ["\0", "a\0b", "", ".", "..", "/", "//", "../../../../../../../../../..", "a/../.."]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("word", ["diagnose", "verify", "show"])
def test_a_place_that_no_file_can_have_ends_in_no_traceback(
    tmp_path: Path, word: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "rows.csv"
    batten.from_range(3).map(lambda n: {"n": n}).write_csv(output).run(
        executor="serial", progress=False
    )
    (record,) = (tmp_path / "rows.csv.batten" / "deliveries").iterdir()
    told = json.loads(open_record(record.read_bytes())) | {"target": target}
    record.write_bytes(seal_record(json.dumps(told).encode()))

    assert main([word, str(output)]) in (0, 4)
    assert "Traceback" not in capsys.readouterr().err
