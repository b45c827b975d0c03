"""`batten show` of many quarantined items: the screen reads what it shows, and tells the way on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import batten
from batten.cli.main import main

JOB = """
import batten

def fail(number):
    raise ValueError(f"no {number}")

job = (
    batten.from_range(30).map(fail).options(batch_size=3, stop_when=None).write_parquet("out")
)
"""


def test_the_screen_reads_what_it_shows_and_the_json_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.py").write_text(JOB)
    assert main(["run", "job.py", "--jobs", "1", "--quiet"]) == 3
    capsys.readouterr()
    last = max(tmp_path.rglob("quarantine/*"))
    last.write_bytes(b"nothing that can be read")
    assert main(["show", "out"]) == 0
    told = capsys.readouterr().out
    assert told.count("  failed   ") == 10
    assert "and 20 more; --json lists them all" in told
    assert str(last.name) not in told.partition("  retry")[0].partition("  failed")[2]
    assert "  retry    batten run job.py --jobs 1 --retry-quarantined\n" in told
    assert main(["show", "out", "--json"]) == 0
    assert last.name in capsys.readouterr().out


def test_whoever_looks_is_told_how_they_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to do, and a person should still see the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("job.py").write_text(JOB)
    assert main(["run", "job.py", "--jobs", "1", "--quiet"]) == 3
    capsys.readouterr()
    again = "batten run job.py --jobs 1 --retry-quarantined"
    for command, code in (("diagnose", 0), ("show", 0)):
        assert main([command, "out"]) == code
        assert f"  retry    {again}\n" in capsys.readouterr().out
        assert main([command, "out", "--json"]) == code
        assert json.loads(capsys.readouterr().out)["retry"] == again
    assert f">!{again}</td>" in batten.diagnose("out")._repr_html_()
    assert main(["report", "out"]) == 0
    assert Path("report.html").read_text().count(f">{again}</code>") == 2
    Path("job.py").write_text(JOB.replace("raise ValueError", 'return {"number": number} or str'))
    capsys.readouterr()
    assert main([*again.split()[1:], "--accept-change", "--quiet"]) == 0
    for command in ("diagnose", "show"):
        assert main([command, "out"]) == 0
        assert "retry" not in capsys.readouterr().out
        assert main([command, "out", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["retry"] is None
