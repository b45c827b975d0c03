"""Lines of run logs whose fields make no sense are left out and counted, and end no command."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batten.cli.main import main
from batten.ledger.history.runs import read_run
from batten.storage.local.folder import LocalStorage

RUN = "20261121T090000Z-0001"
STOP = {"event": "stop", "status": "failed", "executed_items": 3, "adopted_items": 0, "error": "e"}

ODD: list[dict[str, Any]] = [
    {"executed_items": "many"},
    {"executed_items": -1},
    {"executed_items": 2**80},
    {"executed_items": [1]},
    {"adopted_items": {}},
    {"status": ["complete"]},
    {"status": 7},
    {"seconds": {"plan": "long"}},
    {"seconds": {"plan": float("nan")}},
    {"time": 5},
    {"time": "x" * 100_000},
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: json.dumps(odd)[:40])
@pytest.mark.parametrize("command", ["show", "diagnose", "verify", "report"])
def test_a_line_with_odd_fields(
    build: Any, odd: dict[str, Any], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(published=1)
    lines = [{"event": "start", "time": "2026-11-21T09:00:00Z", "jobs": 2}, STOP | odd]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    built.file(built.layout.run_log(RUN)).write_text(text)
    own = ["-o", str(built.root / "page.html")] if command == "report" else []
    for flags in (own, [*own, "--json"]):
        assert main([command, str(built.path), *flags]) not in (1, 7)
        assert "Traceback" not in capsys.readouterr().err
    log = read_run(LocalStorage(built.root), built.layout, RUN)
    assert (log.stop, log.damaged_lines) == (None, 1)


def test_an_error_may_be_anything_that_json_holds(build: Any) -> None:
    built = build(published=1)
    for error in (None, "a\nb", {"what": 5}, {"what": "w"}, [1], 7):
        text = "".join(
            json.dumps(each) + "\n" for each in ({"event": "start"}, STOP | {"error": error})
        )
        built.file(built.layout.run_log(RUN)).write_text(text)
        page = ["-o", str(built.root / "page.html")]
        for command, *flags in (["show"], ["diagnose"], ["report", *page]):
            assert main([command, str(built.path), *flags]) not in (1, 7)


@pytest.mark.parametrize("name", sorted({*STOP} - {"event"} | {"seconds", "time", "cause", "ways"}))
def test_a_field_of_null_is_as_one_that_is_not_there(
    build: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(published=1)
    stops = [STOP | {name: None}, {key: value for key, value in STOP.items() if key != name}]
    shown = []
    for stop in stops:
        text = "".join(json.dumps(each) + "\n" for each in ({"event": "start"}, stop))
        built.file(built.layout.run_log(RUN)).write_text(text)
        assert main(["show", str(built.path)]) not in (1, 7)
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
