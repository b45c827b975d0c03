"""What OpenTelemetry's own SDK gets of a run, and that nothing is imported for who has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from batten.run.telling.watching import RunBegan, Watchers

SETTING_UP = """
import json
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
"""

RUNNING = """
import batten

def do(n):
    if n == WRONG:
        raise ValueError("no " + str(n))
    return {"n": n}

pipeline = batten.from_range(5).map(do).options(batch_size=2, on_error=ON_ERROR)
with trace.get_tracer("test").start_as_current_span("outer"):
    try:
        pipeline.write_parquet(INTO).run(executor="serial", progress=False)
    except batten.BattenError:
        pass

points = {}
for resource in reader.get_metrics_data().resource_metrics:
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            for point in metric.data.data_points:
                state = dict(point.attributes).get("batten.state", "")
                value = point.value if hasattr(point, "value") else point.count
                points[f"{metric.name} {state}".strip()] = value
print(json.dumps({"spans": [json.loads(each.to_json()) for each in spans.get_finished_spans()],
                  "points": points}))
"""


def observe(
    folder: Path, *, wrong: int = -1, on_error: str = "quarantine", into: str = "out"
) -> tuple[Any, Any]:
    script = folder / "script.py"
    said = f"WRONG, ON_ERROR, INTO = {wrong}, {on_error!r}, {into!a}\n"
    script.write_text(SETTING_UP + said + RUNNING)
    words = [sys.executable, "-W", "ignore", str(script)]
    ended = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    return told["spans"], told["points"]


def test_a_run_and_its_batches_are_spans(tmp_path: Path) -> None:
    spans, points = observe(tmp_path, wrong=1)
    *batches, run, outer = spans
    assert [each["name"] for each in spans] == [*["batten.batch"] * 3, "batten.run", "outer"]
    assert {each["parent_id"] for each in batches} == {run["context"]["span_id"]}
    assert run["parent_id"] == outer["context"]["span_id"]
    assert [each["attributes"]["batten.batch"] for each in batches] == [0, 1, 2]
    assert [each["attributes"]["batten.items.quarantined"] for each in batches] == [1, 0, 0]
    for each in batches:
        assert run["start_time"] <= each["start_time"] <= each["end_time"] <= run["end_time"]
    attributes = run["attributes"]
    assert attributes["batten.output"] == str(tmp_path.resolve() / "out")
    assert attributes["batten.status"] == "complete"
    assert (attributes["batten.rows"], attributes["batten.items.quarantined"]) == (4, 1)
    assert run["status"]["status_code"] == "UNSET"
    assert points["batten.items committed"] == points["batten.rows"] == 4
    assert points["batten.items quarantined"] == 1
    assert points["batten.batch.duration"] == 3
    assert points["batten.run.duration"] == 1
    size = sum(each.stat().st_size for each in (tmp_path / "out").glob("*.parquet"))
    assert points["batten.output"] == size


def test_a_failed_run_is_a_span_with_the_error(tmp_path: Path) -> None:
    spans, _ = observe(tmp_path, wrong=3, on_error="raise")
    run = next(each for each in spans if each["name"] == "batten.run")
    assert run["attributes"]["batten.status"] == "failed"
    assert run["status"]["status_code"] == "ERROR"
    (event,) = run["events"]
    assert event["attributes"]["exception.type"] == "FailedRunError"
    assert "ValueError: no 3" in event["attributes"]["exception.message"]


def test_who_has_set_it_up_badly_has_a_run_all_the_same(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import logging, batten, opentelemetry.trace\n"
        "logging.basicConfig()\n"
        "pipeline = batten.from_range(2).map(lambda n: {'n': n}).write_parquet('out')\n"
        "print(pipeline.run(executor='serial', progress=False).rows)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OTEL_PYTHON_TRACER_PROVIDER": "nosuch"},
    )
    assert done.stdout == "2\n"
    assert "OpenTelemetry is told nothing of this run" in done.stderr


def test_a_provider_that_the_environment_names_is_told(tmp_path: Path) -> None:
    """The program does not import OpenTelemetry; whoever starts it has set it up."""
    script = tmp_path / "script.py"
    script.write_text(
        "import batten\n"
        "pipeline = batten.from_range(2).map(lambda n: {'n': n}).write_parquet('out')\n"
        "pipeline.run(executor='serial', progress=False)\n"
        "from opentelemetry import trace\n"
        "print(type(trace.get_tracer_provider()).__module__)\n"
        "from opentelemetry.trace import _TRACER_PROVIDER\n"
        "print(_TRACER_PROVIDER is not None)\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"},
    )
    assert done.stdout == "opentelemetry.sdk.trace\nTrue\n"


def test_hostile_names_are_told_as_they_can_be_sent(tmp_path: Path) -> None:
    name = 'a"b\\n\n\x1b[31m\u202e\udce9'
    spans, _ = observe(tmp_path, into=name)
    (run,) = [each for each in spans if each["name"] == "batten.run"]
    shown = name.encode(errors="backslashreplace").decode()
    assert run["attributes"]["batten.output"] == f"{tmp_path.resolve()}/{shown}"


def test_nothing_is_imported_for_who_has_not(tmp_path: Path) -> None:
    script = (
        "import sys, batten\n"
        "def do(n): return {'n': n}\n"
        "batten.from_range(2).map(do).write_parquet('out').run(executor='serial', progress=False)\n"
        "print([each for each in sys.modules if each.startswith('opentelemetry')])\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    words = [sys.executable, str(path)]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


class Broken:
    """Fails at its first call."""

    def begin(self, began: RunBegan) -> None:
        raise ValueError("no\nmore")


def test_who_fails_is_left_out() -> None:
    notes: list[str] = []
    watchers = Watchers([Broken()], notes.append)  # type: ignore[list-item]  # it fails before
    began = RunBegan(output="out", run="run", jobs=1, time_ns=0)
    for _ in range(2):
        watchers.tell(lambda watcher: watcher.begin(began))
    assert notes == ["Broken raised ValueError: no. The run goes on without it."]
    assert not watchers
